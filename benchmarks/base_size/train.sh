#!/usr/bin/env bash
# An encoder of BERT-base's size on SQuAD, plain and with Block-Skim: about an hour on two cores with AMX, several without.
#   benchmarks/base_size/train.sh DATA ENCODER OUTPUT
# DATA: folder of data sets; ENCODER: all-mpnet-base-v2, a folder or hub id; OUTPUT: new folder, runs/base-size for results.yaml.
# A stage that is there already is not repeated; one that was interrupted goes on.
set -euo pipefail
data=$1 encoder=$2 out=$3
squad=$data/squad/train-partial-v1.1.json
mkdir -p "$out"

# stage NAME ARGUMENTS...: train into $out/NAME.
stage() {
  local name=$1
  shift
  [ -f "$out/$name/model.safetensors" ] && return
  blockskim train --output "$out/$name" --hold-out 0.05 --train "$squad" --set epochs=0.5 \
    --set eval_steps=200 --set eval_examples=200 $([ -d "$out/$name/checkpoints" ] && echo --resume) "$@"
}

# The same questions in the same order, at the same rates: question answering alone, and jointly with the skim loss.
rates=(--set learning_rate=5e-5 --set head_learning_rate=5e-4)
stage plain --base "$encoder" --recipe qa "${rates[@]}"
stage joint --base "$encoder" --recipe default "${rates[@]}"
# The predictors alone, by which what is answered without skimming does not change.
stage predictors --base "$out/joint" --recipe predictors --set epochs=0.25
# Operating points, on the articles that were held out.
[ -d "$out/model" ] || blockskim calibrate --model "$out/predictors" --point exact=0.05 --point balanced=0.5 --point fast=1.5 \
  --default balanced --hold-out 0.05 --data "$squad" --output "$out/model"
