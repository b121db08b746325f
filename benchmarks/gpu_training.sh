#!/usr/bin/env bash
# Training on one GPU: FLOP utilisation, memory and waiting at 3B and 7B with random weights.
#
#   benchmarks/gpu_training.sh [--out DIR] [--steps N] [--rehearse]
#
# --rehearse  the tiny Qwen on whatever is there, for the script's own sake
# Needs torch with CUDA and this repository; no network. A case that does not fit is named and the
# next one runs: 7B in stage 1.5 takes 64 GiB of weights, gradients and moments before activations.
set -uo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
python=${PYTHON:-python3} out=$root/benchmarks/results/training-$(date +%Y-%m-%d) steps=20
models=(qwen2.5-vl-3b qwen2.5-vl-7b)
while [ $# -gt 0 ]; do
  case $1 in
    --out) out=$2; shift 2 ;;
    --steps) steps=$2; shift 2 ;;
    --rehearse) models=(tiny-qwen); shift ;;
    *) sed -n '2,/^set -uo/p' "$0" | sed '$d; s/^# \{0,1\}//'; exit 2 ;;
  esac
done
mkdir -p "$out" || exit 2
export PYTHONPATH=$root${PYTHONPATH:+:$PYTHONPATH} PYTORCH_CUDA_ALLOC_CONF=expandable_segments:True
failed=0
for model in "${models[@]}"; do
  for stage in 1.5 1; do
    for rows in 1 4; do
      for keep in "" --keep-activations; do
        name=$model-stage$stage-rows$rows${keep:+-kept}
        "$python" "$root/benchmarks/training_speed.py" --model "$model" --stage "$stage" --rows "$rows" \
          --steps "$steps" $keep --json >"$out/$name.json" 2>"$out/$name.log" || failed=1
        printf '%-40s %s\n' "$name" "$(grep -E '"(mfu|error)"' "$out/$name.json" | tr -s ' ')"
      done
    done
  done
done
nvidia-smi >"$out/nvidia-smi.txt" 2>&1
echo "results: $out"
exit $failed
