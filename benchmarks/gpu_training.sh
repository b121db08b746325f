#!/usr/bin/env bash
# Training on one GPU: FLOP utilisation, memory and waiting at 3B and 7B with random weights.
#
#   benchmarks/gpu_training.sh [--out DIR] [--steps N] [--rehearse]
#
# --rehearse  the tiny Qwen on whatever is there, for the script's own sake
# Needs torch with CUDA and this repository (compiled cases also a C compiler); no network. What
# matters most comes first. A case that does not fit is named and the next one runs: 7B in stage 1.5
# takes 64 GiB of weights, gradients and moments before activations.
set -uo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
python=${PYTHON:-python3} out=$root/benchmarks/results/training-$(date +%Y-%m-%d) steps=20
small=qwen2.5-vl-3b large=qwen2.5-vl-7b
while [ $# -gt 0 ]; do
  case $1 in
    --out) out=$2; shift 2 ;;
    --steps) steps=$2; shift 2 ;;
    --rehearse) small=tiny-qwen large=tiny-qwen; shift ;;
    *) sed -n '2,/^set -uo/p' "$0" | sed '$d; s/^# \{0,1\}//'; exit 2 ;;
  esac
done
mkdir -p "$out" || exit 2
export PYTHONPATH=$root${PYTHONPATH:+:$PYTHONPATH} PYTORCH_CUDA_ALLOC_CONF=expandable_segments:True
failed=0

case_of() { # name, then the words of training_speed.py
  local name=$1; shift
  "$python" "$root/benchmarks/training_speed.py" --steps "$steps" --json "$@" \
    >"$out/$name.json" 2>"$out/$name.log" || failed=1
  printf '%-36s %s\n' "$name" "$(grep -E '"(mfu|peak_mib|error)"' "$out/$name.json" | tr -d '\n' | tr -s ' ')"
}

"$python" - >"$out/attention.txt" 2>&1 <<'PY'
import torch
from training.model.packed_attention import flat_works
place = torch.device("cuda" if torch.cuda.is_available() else "cpu")
print("FlashAttention of packed rows:", flat_works(place), "on", place, "PyTorch", torch.__version__)
PY
cat "$out/attention.txt"
case_of 3b-1.5-rows4-recomputed --model $small --stage 1.5 --rows 4
case_of 3b-1.5-rows4-products --model $small --stage 1.5 --rows 4 --keep-products
case_of 3b-1.5-rows4-compiled --model $small --stage 1.5 --rows 4 --compile
case_of 3b-1.5-rows8-compiled --model $small --stage 1.5 --rows 8 --compile
case_of 7b-1.5-rows2-recomputed --model $large --stage 1.5 --rows 2
case_of 3b-1.5-rows2-kept --model $small --stage 1.5 --rows 2 --keep-activations
case_of 3b-1-rows4-products --model $small --stage 1 --rows 4 --keep-products
case_of 7b-1-rows4-products --model $large --stage 1 --rows 4 --keep-products
case_of 7b-1.5-rows4-products --model $large --stage 1.5 --rows 4 --keep-products
nvidia-smi >"$out/nvidia-smi.txt" 2>&1
echo "results: $out"
exit $failed
