#!/usr/bin/env bash
# Train the nano model on a machine with an NVIDIA GPU, in pieces of a given length.
#
#   training/gpu_run.sh --photos DIR --out DIR [--seconds N] [--grounding N] [--joint N] [--from CKPT]
#
# --photos     folder in COCO form (instances.json, images/)
# --out        where checkpoints, logs and scores go; the same folder resumes
# --seconds    stop, saved, after this long (540); call again to go on
# --grounding  steps of the first stage (6000)
# --joint      steps of the second stage (4000)
# --from       a checkpoint to begin the first stage from
# --config     settings (training/configs/nano_gpu.json)
#
# Needs PyTorch with CUDA, tokenizers, OpenCV and numpy; no installation of this package. The same
# steps run on a CPU with --config training/configs/nano.json.
set -uo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
python=${PYTHON:-python3} photos="" out="" seconds=540 grounding=6000 joint=4000 from=""
config=$root/training/configs/nano_gpu.json
die() { echo "gpu_run.sh: $*" >&2; exit 2; }
while [ $# -gt 0 ]; do
  [ $# -ge 2 ] || die "$1 needs a value; see the head of this file"
  case $1 in
    --photos) photos=$2 ;;
    --out) out=$2 ;;
    --seconds) seconds=$2 ;;
    --grounding) grounding=$2 ;;
    --joint) joint=$2 ;;
    --from) from=$2 ;;
    --config) config=$2 ;;
    *) die "unknown option $1; see the head of this file" ;;
  esac
  shift 2
done
[ -f "$photos/instances.json" ] || die "--photos '$photos' holds no instances.json"
[ -n "$out" ] || die "--out is missing"
mkdir -p "$out" || die "cannot make $out"
deadline=$((SECONDS + seconds))

train() { # STAGE STEPS [ARGUMENT ...]
  local stage=$1 steps=$2 left=$((deadline - SECONDS))
  shift 2
  [ "$left" -gt 10 ] || { echo "no time left before $stage; call again"; exit 0; }
  PYTHONPATH=$root timeout --signal=TERM --kill-after=60 "$left" \
    "$python" -m tracevlm_ros.cli.main train --stage "$stage" --config "$config" \
    --photos "$photos" --steps "$steps" --out "$out/$stage" "$@" 2>&1 | tee -a "$out/$stage.txt"
  case ${PIPESTATUS[0]} in
    0) ;;
    124) echo "$stage stopped after $seconds s, saved; call again to go on"; exit 0 ;;
    *) echo "$stage failed; see $out/$stage.txt" >&2; exit 1 ;;
  esac
}

train grounding "$grounding" ${from:+--from "$from"}
train joint "$joint" --from "$out/grounding/checkpoint.pt"
echo "done: $out/joint/checkpoint.pt"
