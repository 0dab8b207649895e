#!/usr/bin/env bash
# An encoder of BERT-base's size, plain and with Block-Skim: on the shipped model's training data on one GPU, or on a part of it
# that two cores with AMX read in an hour and a half.
#   benchmarks/base_size/train.sh DATA ENCODER OUTPUT [gpu|cpu]
# DATA: what sample_data.py --everything wrote, and the other training sets beside it; ENCODER: a folder, what bert_vocabulary.py
# wrote where the result is to teach the shipped model; OUTPUT: new folder. A stage that is there already is not repeated.
set -euo pipefail
data=$1 encoder=$2 out=$3 machine=${4:-gpu}
mkdir -p "$out"
files() { local option=$1; shift; printf -- "$option %s " "$@"; }
rates() { echo --set batch_size="$1" --set learning_rate="$2" --set head_learning_rate="$3" --set epochs="$4"; }

case $machine in
  gpu)
    read_by_training=("$data"/*.json)
    held_out=("$data"/{squad,reddit,amazon,fairytale,quoref,hotpot_train_pseudo_distractor}.json "$data"/subjqa*.json)
    plain=$(rates 64 6e-5 6e-4 1.2) skim=$(rates 128 6e-5 6e-5 0.6)
    ;;
  cpu)
    read_by_training=("$data"/{squad,quoref,hotpot_train_pseudo_distractor}.json)
    held_out=("${read_by_training[@]}")
    plain=$(rates 32 5e-5 5e-4 0.75)
    skim="$(rates 32 5e-5 5e-5 0.3) --teacher $out/plain --set distillation.weight=4"
    ;;
  *)
    echo "the machine is $machine; it must be gpu or cpu" >&2
    exit 2
    ;;
esac

# stage NAME ARGUMENTS...: train into $out/NAME.
stage() {
  local name=$1
  shift
  [ -f "$out/$name/model.safetensors" ] && return
  blockskim train --output "$out/$name" --hold-out 0.05 --cache "$out/windows" $(files --train "${read_by_training[@]}") \
    --set label_evidence=false --set eval_steps=0 "$@"
}

# Question answering alone; on a GPU it is the teacher of the shipped model, too.
stage plain --base "$encoder" --recipe qa $plain
# Question answering and skim loss, blocks dropped in half of the steps.
stage skim --base "$out/plain" --recipe skim --set predictor_learning_rate=2e-3 $skim
[ -d "$out/model" ] || blockskim calibrate --model "$out/skim" --point exact=0.05 --point balanced=0.5 --point fast=1.5 \
  --default balanced --hold-out 0.05 --output "$out/model" $(files --data "${held_out[@]}")
