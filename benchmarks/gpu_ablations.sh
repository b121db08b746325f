#!/usr/bin/env bash
# Ablations at nano size on one GPU: trained there, scored by the CPU cores beside it.
#
#   benchmarks/gpu_ablations.sh [--out DIR] [--steps N] [--rows N] [--seeds N] [--rehearse] [KIND ...]
#
# KIND        tvp, order, reasoning (default: tvp)
# --rehearse  the tiny model, three steps, on whatever is there, for the script's own sake
# Starts from the vision encoder of training/weights/nano.safetensors; needs torch, tokenizers,
# safetensors, OpenCV and numpy; no network. What is done already in --out is not done again.
set -uo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
python=${PYTHON:-python3} out=$root/runs/ablations steps=400 rows=16 seeds=3 kinds=() model=(
  --encoder "$root/training/weights/nano.safetensors" --workers)
while [ $# -gt 0 ]; do
  case $1 in
    --out) out=$2; shift 2 ;;
    --steps) steps=$2; shift 2 ;;
    --rows) rows=$2; shift 2 ;;
    --seeds) seeds=$2; shift 2 ;;
    --rehearse) model=(--model tiny --length 512 --scenes 2) steps=3 rows=1 seeds=1; shift ;;
    tvp | order | reasoning) kinds+=("$1"); shift ;;
    *) sed -n '2,/^set -uo/p' "$0" | sed '$d; s/^# \{0,1\}//'; exit 2 ;;
  esac
done
mkdir -p "$out" || exit 2
export PYTHONPATH=$root${PYTHONPATH:+:$PYTHONPATH}
failed=0
declare -A arms=([tvp]="no trace|trace as text|trace drawn|TVP" [order]="fixed|random|in turn"
  [reasoning]="narratives|narratives + RILN")
for kind in "${kinds[@]:-tvp}"; do
  ablate=("$python" "$root/benchmarks/ablations.py" "$kind" "${model[@]}" --steps "$steps"
    --rows "$rows" --seeds "$seeds" --out "$out")
  "${ablate[@]}" --train-only 2>"$out/$kind.log" || failed=1
  IFS='|' read -r -a names <<<"${arms[$kind]}"
  scoring=()
  for name in "${names[@]}"; do
    "${ablate[@]}" --device cpu --arms "$name" >/dev/null 2>>"$out/$kind.log" &
    scoring+=($!)
  done
  for process in "${scoring[@]}"; do wait "$process" || failed=1; done
  "${ablate[@]}" --device cpu | tee "$out/$kind.md" || failed=1
done
exit $failed
