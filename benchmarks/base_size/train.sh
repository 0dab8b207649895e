#!/usr/bin/env bash
# An encoder of BERT-base's size, plain and with Block-Skim, on the shipped model's training data, on one GPU.
#   benchmarks/base_size/train.sh DATA ENCODER OUTPUT
# DATA: what sample_data.py --everything wrote, and the other training sets beside it; ENCODER: what bert_vocabulary.py wrote;
# OUTPUT: new folder. A stage that is there already is not repeated.
set -euo pipefail
data=$1 encoder=$2 out=$3
mkdir -p "$out"
train() { printf -- '--train %s ' "$@"; }

# stage NAME ARGUMENTS...: train into $out/NAME.
stage() {
  local name=$1
  shift
  [ -f "$out/$name/model.safetensors" ] && return
  blockskim train --output "$out/$name" --hold-out 0.05 --cache "$out/windows" $(train "$data"/*.json) \
    --set label_evidence=false --set eval_steps=0 "$@"
}

# Question answering alone; it is the teacher of the shipped model, too.
stage plain --base "$encoder" --recipe qa --set batch_size=64 --set learning_rate=6e-5 --set head_learning_rate=6e-4 \
  --set epochs=1.2
# Question answering and skim loss, blocks dropped in half of the steps.
stage skim --base "$out/plain" --recipe skim --set batch_size=128 --set learning_rate=6e-5 --set head_learning_rate=6e-5 \
  --set predictor_learning_rate=2e-3 --set epochs=0.6
[ -d "$out/model" ] || blockskim calibrate --model "$out/skim" --point exact=0.05 --point balanced=0.5 --point fast=1.5 \
  --default balanced --hold-out 0.05 --output "$out/model" $(printf -- '--data %s ' "$data"/{squad,reddit,amazon,fairytale,quoref}.json \
  "$data"/hotpot_train_pseudo_distractor.json "$data"/subjqa*.json)
