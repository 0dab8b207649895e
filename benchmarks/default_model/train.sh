#!/usr/bin/env bash
# The stages of the shipped model, one after the other: most on a CPU, about five hours on two cores, and one on a GPU.
#   benchmarks/default_model/train.sh DATA ENCODER LARGE_ENCODER OUTPUT
# DATA: folder of data sets (sample_data.py names its files); ENCODER: all-MiniLM-L6-v2, a folder; LARGE_ENCODER:
# all-mpnet-base-v2, a folder; OUTPUT: new folder.
# A stage that is there already is not repeated; one that was interrupted goes on.
set -euo pipefail
data=$1 encoder=$2 large=$3 out=$4
here=$(dirname "${BASH_SOURCE[0]}")
mkdir -p "$out"

# stage NAME ARGUMENTS...: train into $out/NAME.
stage() {
  local name=$1
  shift
  [ -f "$out/$name/model.safetensors" ] && return
  blockskim train --output "$out/$name" --hold-out 0.05 $([ -d "$out/$name/checkpoints" ] && echo --resume) "$@"
}

train() { printf -- '--train %s ' "$@"; }

squad=$data/squad/train-partial-v1.1.json
fairytale=$data/other/fairytaleqa-train.json
nqswap=$data/other/nq-swap-train.json
quoref=$data/other/quoref-superni-train.json
hotpot=$data/hotpotqa/hotpot_train_pseudo_distractor.json
shifts="$data/squadshifts/reddit-v1.0.json $data/squadshifts/amazon_reviews-v1.0.json"
mixture="$squad $shifts $fairytale $nqswap $quoref $hotpot $data/hotpotqa/hotpot_train100.json"
mixture+=" $(echo "$data"/other/subjqa/*train*.json "$data"/mrqa/*-train.json)"

# 1. Question answering and skim loss jointly, on an encoder that answers nothing yet.
stage joint --base "$encoder" --recipe default --set 'skim.inputs=[question, hidden]' --set skim.skim_factor=0.1 \
  --set head_learning_rate=0.001 --set predictor_learning_rate=0.001 $(train $squad $fairytale $quoref $nqswap)
# 2. Everything, with predictors that compare block and question; blocks dropped in a quarter of the steps.
stage mixed --base "$out/joint" --recipe mixed $(train $mixture)
# 3. The predictors alone.
stage predictors --base "$out/mixed" --recipe predictors --set epochs=1 --set head_learning_rate=0.0015 \
  --set label_evidence=false $(train $mixture)
# 4. Blocks dropped in 60 % of the steps; the average of before and after.
stage dropping --base "$out/predictors" --recipe mixed --set drop_share=0.6 --set learning_rate=7e-5 \
  --set head_learning_rate=7e-5 --set predictor_learning_rate=7e-4 --set label_evidence=false $(train $mixture)
[ -d "$out/average" ] || blockskim average --model "$out/predictors" --model "$out/dropping" --output "$out/average"
# 5. The same in 70 % of the steps, taught by the model of stage 4; the average again.
stage robust --base "$out/average" --teacher "$out/average" --recipe robust $(train $mixture)
[ -d "$out/answers" ] || blockskim average --model "$out/average" --model "$out/robust" --output "$out/answers"

# 6. Questions without an answer beside a share of what is known (sample_data.py), at the rates below; a quarter of the model
#    before, three quarters of the model after.
[ -d "$out/data" ] || python "$here/sample_data.py" --data "$data" --output "$out/data"
stage declining --base "$out/answers" --recipe mixed --set learning_rate=0.00007 --set head_learning_rate=0.0001 \
  --set predictor_learning_rate=0.0007 --set label_evidence=false --set eval_steps=300 $(train "$out"/data/*.json) $(train $hotpot)
[ -d "$out/weights" ] || blockskim average --model "$out/answers" --model "$out/declining" --weights 0.25,0.75 --output "$out/weights"

# 7. Everything once more, taught by an encoder of BERT-base's size that learned it first (base_size/train.sh; two minutes on one
#    H200): two runs that differ in their seed, their average, and two more from there (two minutes each pair, side by side).
everything=$out/everything
[ -d "$everything" ] || {
  python "$here/sample_data.py" --everything --data "$data" --output "$everything"
  cp "$hotpot" "$data/hotpotqa/hotpot_train100.json" "$data"/mrqa/*-train.json "$everything"
  for file in "$data"/other/subjqa/*train*.json; do cp "$file" "$everything/subjqa-$(basename "$file")"; done
}
[ -d "$out/large-encoder" ] || python "$here/../base_size/bert_vocabulary.py" --encoder "$large" --tokenizer "$encoder" \
  --output "$out/large-encoder"
"$here/../base_size/train.sh" "$everything" "$out/large-encoder" "$out/base-size"
# taught NAME BASE SEED EPOCHS RATE
taught() {
  stage "$1" --base "$2" --teacher "$out/base-size/plain" --recipe robust --set seed="$3" --set epochs="$4" \
    --set learning_rate="$5" --set head_learning_rate="$5" --set predictor_learning_rate=0.002 --set batch_size=128 \
    --set drop_share=0.6 --set distillation.weight=6 $(train "$everything"/*.json)
}
taught taught-1 "$out/weights" 1 0.7 2e-4
taught taught-2 "$out/weights" 2 0.7 2e-4
[ -d "$out/taught" ] || blockskim average --model "$out/taught-1" --model "$out/taught-2" --output "$out/taught"
taught taught-3 "$out/taught" 3 0.5124 1.5e-4
taught taught-4 "$out/taught" 4 0.5124 1.5e-4
[ -d "$out/final" ] || blockskim average --model "$out/taught-3" --model "$out/taught-4" --output "$out/final"
# 8. Blocks dropped in nine of ten steps, at thresholds as low as those of operating points, taught by the model of stage 7; the
#    average of both.
stage robust-2 --base "$out/final" --teacher "$out/final" --recipe robust --set epochs=0.27 --set batch_size=32 \
  --set learning_rate=1e-4 --set head_learning_rate=5e-5 --set predictor_learning_rate=0.002 --set drop_share=0.9 \
  --set 'drop_thresholds=[0.02,0.3]' --set distillation.label_weight=0.3 $(train "$everything"/*.json)
[ -d "$out/robust-average" ] || blockskim average --model "$out/final" --model "$out/robust-2" --output "$out/robust-average"

# Operating points, then confidence, then the score of evidence, then the graph; all on held-out articles of the training data,
# but for some of HotpotQA's.
held() { printf -- '--data %s ' "$@"; }
[ -d "$out/points" ] || blockskim calibrate --model "$out/robust-average" --point exact=0.1 --point balanced=0.5 --point fast=3 \
  --default balanced --half --hold-out 0.05 --output "$out/points" \
  $(held $squad $shifts $fairytale $quoref $hotpot $(echo "$data"/other/subjqa/*train*.json))
[ -d "$out/confidence" ] || blockskim calibrate-confidence --model "$out/points" --hold-out 0.05 --elsewhere 0.3 \
  --output "$out/confidence" \
  $(held $squad $shifts "$data/more/squad2-train-unanswerable.json.gz")
# Of HotpotQA's questions with their own distractors all, which stages 2 to 5 saw for their answers: only there does the
# data tell sentences that support an answer.
[ -d "$out/model" ] || {
  python "$here/retrieved.py" --squad "$out/data/held-out/squad.json" --hotpotqa "$data/hotpotqa/hotpot_train100.json" \
    --output "$out/data/held-out/retrieved.json"
  blockskim calibrate-evidence --model "$out/confidence" --output "$out/model" $(held "$out/data/held-out/retrieved.json")
}
blockskim export --model "$out/model" --output "$out/model"
