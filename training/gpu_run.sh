#!/usr/bin/env bash
# Train the nano model on a machine with an NVIDIA GPU that is there for a given time.
#
#   training/gpu_run.sh --photos DIR --captions DIR --out DIR [--seconds N] [--from CKPT] [--stage S]
#
# --photos    folder in COCO form (instances.json, images/)
# --captions  folder with COCO captions (captions.json); pictures by their names beside it
# --out       where checkpoint, log and packed weights go; the same folder resumes
# --seconds   length of the run; the rate falls to its end (540)
# --from      weights to begin with (training/weights/nano.safetensors), or "none"
# --stage     vision, grounding or joint (joint)
# --config    settings (training/configs/nano_gpu.json)
#
# Needs PyTorch with CUDA, tokenizers, safetensors, OpenCV and numpy; no installation of this package.
# On a CPU: --config training/configs/nano.json with "bare_share" left out.
set -uo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
python=${PYTHON:-python3} photos="" captions="" out="" seconds=540 stage=joint
from=$root/training/weights/nano.safetensors config=$root/training/configs/nano_gpu.json
die() { echo "gpu_run.sh: $*" >&2; exit 2; }
while [ $# -gt 0 ]; do
  [ $# -ge 2 ] || die "$1 needs a value; see the head of this file"
  case $1 in
    --photos) photos=$2 ;;
    --captions) captions=$2 ;;
    --out) out=$2 ;;
    --seconds) seconds=$2 ;;
    --from) from=$2 ;;
    --stage) stage=$2 ;;
    --config) config=$2 ;;
    *) die "unknown option $1; see the head of this file" ;;
  esac
  shift 2
done
[ -f "$photos/instances.json" ] || die "--photos '$photos' holds no instances.json"
[ -f "$captions/captions.json" ] || die "--captions '$captions' holds no captions.json"
[ -n "$out" ] || die "--out is missing"
mkdir -p "$out" || die "cannot make $out"
export PYTHONPATH=$root
tracevlm() { "$python" -m tracevlm_ros.cli.main "$@"; }

words=(--stage "$stage" --config "$config" --photos "$photos" --captions "$captions"
  --seconds "$seconds" --steps 10000000 --out "$out")
[ "$from" = none ] || words+=(--from "$from")
tracevlm train "${words[@]}" 2>&1 | tee -a "$out/output.txt"
[ "${PIPESTATUS[0]}" = 0 ] || { echo "training failed; see $out/output.txt" >&2; exit 1; }
tracevlm train --pack "$out/checkpoint.pt" --out "$out/nano.safetensors" || exit 1
