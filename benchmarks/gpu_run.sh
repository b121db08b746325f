#!/usr/bin/env bash
# Take every GPU figure of this project on a machine with an NVIDIA GPU, in one go.
#
#   benchmarks/gpu_run.sh [--out DIR] [--site DIR] [--parts DIR] [--rounds N] [--qwen PRESET]
#                         [--steps LIST] [--device cpu] [MODEL ...]
#
# MODEL     model directories; none: the packaged nano model, else nano with random weights, which is
#           exported first and needs torch (speed does not depend on the weights)
# --out     results folder (benchmarks/results/<GPU>-<date>)
# --site    a folder of Python packages to use besides the installed ones (repeatable)
# --parts   a folder with an archive of such packages cut in parts, NAME.tar.xz.00, .01, ...: it is
#           unpacked first, for a machine that reaches no package index. One that holds tensorrt_rtx:
#           unzip the wheels tensorrt-rtx-cu13-libs and tensorrt-rtx-cu13-bindings of its Python into
#           SITE, write "from tensorrt_rtx_bindings import *" and
#           "from tensorrt_rtx_bindings import __version__" to SITE/tensorrt_rtx/__init__.py, then
#           tar -C SITE -cJf - . | split -b 60M -d - rtx.tar.xz.
# --rounds  timed calls and frames per figure (200; at most 20 in the step eager)
# --qwen    the big model, exported here with random weights: qwen2.5-vl-7b, or -3b
# --steps   of nano,qwen,transformers,fp8,eager; all, in this order, where the list is not given.
#           Two runs with half of the steps each and one --out make one set of results
# --device cpu   rehearse: all steps without a GPU, with a tiny Qwen, for the script's own sake; PyTorch
#           gets one thread, since two wait for each other wherever other work runs
#
# The Qwen steps need torch, onnx, onnxscript, safetensors, tokenizers, and for the comparison
# transformers; 64 GB of memory and 60 GB of disk (TMPDIR) for 7B. A step that fails is named and
# the next one runs; exit status 1 at the end if any failed. Every step leaves NAME.json or NAME.txt
# and NAME.log, and a line in commands.txt: how it ended, its seconds, its command. environment.txt
# holds this command, machine and versions, summary.txt every goal and whether it is met.
set -uo pipefail
called="$0 $*"
root=$(cd "$(dirname "$0")/.." && pwd)
python=${PYTHON:-python3} out="" rounds=200 rehearse=0 sites="" parts="" nano="" models=()
qwen="" steps=nano,qwen,transformers,fp8,eager
step_limit=${STEP_LIMIT_S:-1800}

usage() { sed -n '2,/^set -uo/p' "$0" | sed '$d; s/^# \{0,1\}//'; }
die() { echo "gpu_run.sh: $*" >&2; exit 2; }
while [ $# -gt 0 ]; do
  case $1 in
    --out | --site | --parts | --rounds | --qwen | --steps | --device)
      [ $# -ge 2 ] || die "$1 needs a value"
      case $1 in
        --out) out=$2 ;;
        --site) sites="$sites:$(cd "$2" && pwd)" || die "no folder $2" ;;
        --parts) parts=$(cd "$2" && pwd) || die "no folder $2" ;;
        --rounds) rounds=$2 ;;
        --qwen) qwen=$2 ;;
        --steps) steps=$2 ;;
        --device) case $2 in cpu) rehearse=1 ;; cuda) ;; *) die "--device is '$2'; cpu or cuda" ;; esac ;;
      esac
      shift 2 ;;
    -h | --help) usage; exit 0 ;;
    -*) die "unknown option $1 (--help tells)" ;;
    *) models+=("$(cd "$1" && pwd)") || die "no model directory $1"; shift ;;
  esac
done
for name in ${steps//,/ }; do
  case $name in nano | qwen | transformers | fp8 | eager) ;;
    *) die "no step '$name'; --steps takes nano,qwen,transformers,fp8,eager" ;; esac
done
asked() { case ",$steps," in *",$1,"*) return 0 ;; *) return 1 ;; esac; }

if nvidia-smi -L >/dev/null 2>&1 && [ $rehearse = 0 ]; then
  gpu=$(nvidia-smi --query-gpu=name --format=csv,noheader | head -1 | tr -c 'A-Za-z0-9\n' '-')
elif [ $rehearse = 1 ]; then gpu=rehearsal
else die "nvidia-smi finds no GPU; run this on a machine with one (--device cpu rehearses)"; fi
out=${out:-$root/benchmarks/results/$gpu-$(date +%Y-%m-%d)}
mkdir -p "$out" && out=$(cd "$out" && pwd) || die "cannot make $out"
[ $rehearse = 0 ] || export OMP_NUM_THREADS=1
scratch=$(mktemp -d) && trap 'rm -rf "$scratch"' EXIT
export PYTHONPATH=$root$sites${PYTHONPATH:+:$PYTHONPATH} TRACEVLM_PLAN_CACHE=$scratch/plans

if [ -n "$parts" ]; then
  mkdir -p "$scratch/site"
  for first in "$parts"/*.tar.xz.00; do
    [ -e "$first" ] || die "$parts holds no NAME.tar.xz.00"
    cat "${first%00}"[0-9][0-9] | "$python" -c "import sys, tarfile
tarfile.open(fileobj=sys.stdin.buffer, mode='r|xz').extractall('$scratch/site', filter='data')" ||
      die "$first and its parts cannot be unpacked"
  done
  export PYTHONPATH=$PYTHONPATH:$scratch/site
fi

failed=()
step() { # step NAME.EXTENSION COMMAND...: output to NAME.EXTENSION, messages to NAME.log
  local file=$1 name=${1%.*} start=$SECONDS; shift
  printf '%-44s ' "$name"
  timeout "$step_limit" bash -c '"$@"' step "$@" >"$out/$file" 2>"$out/$name.log"
  local status=$?
  printf '%s: status %d, %d s: %s\n' "$name" $status $((SECONDS - start)) "${*//$'\n'/; }" \
    >>"$out/commands.txt"
  case $status in
    0) echo "ok, $((SECONDS - start)) s"; return ;;
    124) echo "FAILED: not done after $step_limit s (STEP_LIMIT_S sets the limit)" ;;
    *) echo "FAILED: $(tail -1 "$out/$name.log")" ;;
  esac
  failed+=("$name")
}
export python called

environment() {
  echo "$called"
  date -u; uname -srm; nproc; "$python" --version
  git -C "$root" rev-parse HEAD 2>/dev/null
  git -C "$root" status --short 2>/dev/null
  grep -m 1 "model name" /proc/cpuinfo; uptime
  nvidia-smi 2>/dev/null; nvidia-smi -q -d CLOCK,POWER,MEMORY 2>/dev/null
  "$python" -m pip list 2>/dev/null | grep -i -E '^(numpy|onnx|tensorrt|torch|transformers|cuda|nvidia)'
  return 0
}
export -f environment; export root
step environment.txt bash -c environment

tracevlm() { "$python" -m tracevlm_ros.cli.main "$@"; }
export -f tracevlm

nano_model() { # the model directories to measure in the steps nano and eager
  [ ${#models[@]} = 0 ] || return 0
  nano=$root/tracevlm_ros/resources/models/nano
  if [ ! -e "$nano/manifest.json" ]; then
    nano=$scratch/nano-random
    step export-nano-random.txt "$python" -c "from pathlib import Path
from engine.export.model_directory import write_model_directory
from training.model.config import nano
from training.model.tracevlm import TraceVLM
from training.tokenizer import load_tokenizer
write_model_directory(TraceVLM(nano()), load_tokenizer(), Path('$nano'), 'nano-random', {'weights': 'random'})"
  fi
  models=("$nano")
}

backends=(tensorrt onnxruntime-cpu)
[ $rehearse = 1 ] && backends=(onnxruntime-cpu)
if "$python" -c "from engine.runtime.ort_backend import cuda_problem as p; raise SystemExit(p() is not None)" 2>/dev/null
then backends+=(onnxruntime-cuda); else echo "onnxruntime-cuda: left out, this onnxruntime has no CUDA provider"; fi

if asked nano; then
  nano_model
  for model in "${models[@]}"; do
    id=$(basename "$model")
    step "$id-build.json" tracevlm build "$model" --json
    step "$id-build-again.json" tracevlm build "$model" --json
    step "$id-doctor.txt" tracevlm doctor --no-ros --model "$model"
    for backend in "${backends[@]}"; do
      step "$id-graphs-$backend.json" "$python" "$root/benchmarks/gpu_figures.py" \
        --model "$model" --backend "$backend" --rounds "$rounds" --json
      for traces in 1 4; do
        step "$id-engine-$backend-$traces-traces.json" tracevlm bench engine \
          --model "$model" --backend "$backend" --traces $traces --frames "$rounds" --json
      done
    done
  done
fi

big=tensorrt big_precision=bf16 big_device=cuda
[ -n "$qwen" ] || qwen=qwen2.5-vl-7b
if [ $rehearse = 1 ]; then big=onnxruntime-cpu big_precision=fp32 big_device=cpu qwen=qwen2.5-vl-tiny; fi

goals() { # goals PRECISION: export with random weights, build, measure, make room
  local id=$qwen-$1 model=$scratch/$qwen-$1
  step "$id-export.txt" tracevlm export "$qwen" --random-weights --flavour static-cache \
    --precision "$1" --size 448x448 --out "$model"
  if [ $rehearse = 1 ] && [ "$1" = fp8 ]; then # no CPU back end computes in fp8
    step "$id-build.json" tracevlm build "$model" --json
  else
    step "$id-goals.json" "$python" "$root/benchmarks/gpu_goals.py" \
      --model "$model" --backend $big --rounds "$rounds" --json
  fi
  rm -rf "$model" "$scratch/plans"
}

asked qwen && goals $big_precision
if asked transformers; then
  step "$qwen-transformers.json" "$python" "$root/benchmarks/transformers_figures.py" \
    --preset "$qwen" --device $big_device --dtype $big_precision \
    --rounds $((rounds < 10 ? rounds : 10)) --json
fi
asked fp8 && goals fp8
if asked eager; then
  nano_model
  if "$python" -c "import torch" 2>/dev/null
  then step nano-vs-eager.json "$python" "$root/benchmarks/engine_vs_eager.py" --json \
    --rounds $((rounds < 20 ? rounds : 20)) ${nano:+--model "$nano"}
  else echo "nano-vs-eager: left out, no torch here"; fi
fi
if compgen -G "$out/*-goals.json" >/dev/null || compgen -G "$out/*-transformers.json" >/dev/null; then
  step summary.txt "$python" "$root/benchmarks/gpu_summary.py" "$out" && cat "$out/summary.txt"
fi

echo "results: $out"
[ ${#failed[@]} = 0 ] || { echo "failed: ${failed[*]}" >&2; exit 1; }
