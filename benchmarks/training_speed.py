"""Training speed: samples a second, peak memory, waiting for data; on a GPU FLOP utilisation too.

    python benchmarks/training_speed.py               nano: joint stage, and stage 1.5, packed rows
    python benchmarks/training_speed.py --model qwen2.5-vl-7b [--steps 20]    random weights, a GPU
    python benchmarks/training_speed.py --model tiny-qwen                     a rehearsal without

Each case runs in a process of its own, so that its peak memory is its own (of the process, or of
the GPU). The first steps warm up and are left out. Utilisation is model FLOPs over the rate that a
bf16 product of 8192 x 8192 reaches on the same chip: 6 x weights x tokens (patches for the encoder;
the head only where something is learned), 4 x for weights that do not train. Attention scores, TVP,
decoder and recomputed layers are not counted, so it is a lower bound. (Named training.py, this file
would hide the package from its neighbours.)
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch

from tracevlm_ros.core.errors import TraceVLMError
from training.data.packing import PackConfig
from training.stages.building import build
from training.stages.dry_run import free_memory, needs_of, peak_memory
from training.stages.settings import NANO_MODELS, QWEN_MODELS, StageConfig, ValidationConfig
from training.stages.trainer import StageTrainer

WARM_UP = 3
MATRIX = 8192
GOALS = {"mfu": 0.45, "wait_share": 0.02}


def main() -> int:
    arguments = parse()
    if arguments.case:
        print(json.dumps(CASES[arguments.case](arguments)))
        return 0
    nano = arguments.model in NANO_MODELS
    results = [in_own_process(arguments, case) for case in (("joint", "packed") if nano else
                                                            ("packed",))]  # fmt: skip
    print(json.dumps(results, indent=2) if arguments.json else as_text(results))
    return int(any("error" in result for result in results))


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="nano", choices=(*NANO_MODELS, *QWEN_MODELS))
    parser.add_argument("--steps", type=int, default=8, help="steps that count")
    parser.add_argument("--stage", default="1.5", choices=("1", "1.5", "2"))
    parser.add_argument("--length", type=int, default=2048, help="tokens of a packed row")
    parser.add_argument("--rows", type=int, default=1, help="rows of a micro-batch")
    parser.add_argument("--micro-batches", type=int, default=1)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--workers", action="store_true", help="read ahead in other processes")
    keep = parser.add_mutually_exclusive_group()
    keep.add_argument("--keep-activations", action="store_true", help="do not recompute layers")
    keep.add_argument("--keep-products", action="store_true", help="recompute all but products")
    keep.add_argument("--compile", action="store_true", help="fuse layers with torch.compile")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--case", default="", help=argparse.SUPPRESS)
    return parser.parse_args()


def in_own_process(arguments: argparse.Namespace, case: str) -> dict[str, Any]:
    words = [sys.executable, __file__, *sys.argv[1:], "--case", case]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    if done.returncode:
        message = (done.stderr.strip().splitlines() or ["no message"])[-1]
        return {"case": case, "model": arguments.model, "error": message}
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def joint(arguments: argparse.Namespace) -> dict[str, Any]:
    """The nano model's joint stage on synthetic scenes, 8 images of 4 traces a step."""
    from training.loop import Trainer
    from training.settings import TrainConfig

    config = TrainConfig(
        model=arguments.model, threads=arguments.threads, evaluate_every=0, save_every=10**6,
        steps=10**6,
    )  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        trainer = Trainer(config, Path(folder), say=lambda _: None)
        times, before = [], time.monotonic()
        for _ in range(WARM_UP + arguments.steps):
            trainer.run(until=trainer.step + 1)
            times.append(time.monotonic() - before)
            before = time.monotonic()
    step_s = statistics.median(times[WARM_UP:])
    traces = config.data.images * config.data.traces_per_image
    return {
        "case": "joint (each step also saves)", "model": arguments.model, "step_s": step_s,
        "samples_per_s": traces / step_s, "peak_mib": peak_memory() >> 20,
    }  # fmt: skip


def packed(arguments: argparse.Namespace) -> dict[str, Any]:
    """A stage of the paper on packed rows of synthetic scenes."""
    config = stage_config(arguments)
    needed, free = needs_of(config).states, free_memory(config)
    if needed > free:
        raise TraceVLMError(f"{needed >> 30} GiB of states, {free >> 30} GiB free: a larger GPU")
    device = "cuda" if torch.cuda.is_available() else "cpu"
    with torch.device(device):
        built = build(config)
    if device == "cuda":
        torch.cuda.reset_peak_memory_stats()
    with tempfile.TemporaryDirectory() as folder:
        trainer = StageTrainer(config, Path(folder), say=lambda _: None, built=built)
        counter = ModelFlops(trainer) if config.is_qwen else None
        records, flops, fills = [], [], list[float]()
        trainer.stage.register_forward_pre_hook(
            lambda stage, inputs: fills.append(filled(stage.tokens(inputs[0]).segment_ids))
        )
        for _ in range(WARM_UP + arguments.steps):
            records.append(trainer.train_one())
            flops.append(counter.take() if counter else 0.0)
    counted = records[WARM_UP:]
    step_s = statistics.median(record["step_s"] for record in counted)
    rate = matrix_rate(device) if config.is_qwen else 0.0
    result = {
        "case": f"stage {config.stage}, {config.packing.length} tokens a row",
        "model": config.model,
        "device": torch.cuda.get_device_name() if device == "cuda" else device,
        "step_s": step_s,
        "samples_per_s": statistics.fmean(r["samples"] for r in counted) / step_s,
        "tokens_per_s": config.packing.length * config.rows * config.micro_batches / step_s,
        "filled": statistics.fmean(fills[WARM_UP * config.micro_batches :]),
        "wait_share": sum(r["wait_s"] for r in counted) / sum(r["step_s"] for r in counted),
        "peak_mib": peak_memory() >> 20,
    }
    if rate:
        model = statistics.fmean(flops[WARM_UP:]) / step_s
        result |= {"model_tflops": model / 1e12, "matrix_tflops": rate / 1e12, "mfu": model / rate}
    return result


def filled(segment_ids: torch.Tensor) -> float:
    """Share of the places of packed rows that hold a token."""
    return float((segment_ids > 0).float().mean())


def stage_config(arguments: argparse.Namespace) -> StageConfig:
    qwen = arguments.model in QWEN_MODELS
    big = qwen and arguments.model != "tiny-qwen"
    return StageConfig(
        stage=arguments.stage,
        model=arguments.model,
        steps=10**6,
        rows=arguments.rows,
        micro_batches=arguments.micro_batches,
        packing=PackConfig(length=arguments.length),
        max_pixels=448 * 448 if big else 112 * 112,
        weights="bf16" if big else "fp32",
        precision="bf16" if big else "fp32",
        checkpointing=qwen and not (arguments.keep_activations or arguments.compile),
        keep_products=qwen and arguments.keep_products,
        compile=arguments.compile,
        workers=arguments.workers or big,
        threads=arguments.threads,
        validation=ValidationConfig(every=0),
        tensorboard=False,
    )


class ModelFlops:
    """Model FLOPs of the forward and backward passes of a Qwen stage since ``take`` was called.

    A weight costs 2 FLOPs a token forward, 2 for the gradient of its input, 2 for its own where it
    trains. Padding is not counted.
    """

    def __init__(self, trainer: StageTrainer) -> None:
        network = trainer.stage.network
        core = network.model
        self._layers = _cost(core.language_model.layers)
        self._vision = _cost(core.visual.blocks)
        head = core.language_model.embed_tokens if network.lm_head is None else network.lm_head
        self._head = _cost(head)
        self._flops = 0.0
        trainer.stage.register_forward_pre_hook(self._note)

    def take(self) -> float:
        flops, self._flops = self._flops, 0.0
        return flops

    def _note(self, _: torch.nn.Module, inputs: tuple[Any, ...]) -> None:
        batch = inputs[0]
        tokens = int((batch.tokens.segment_ids > 0).sum())
        learned = int((batch.tokens.targets >= 0).sum())
        patches = sum(len(medium.patches.values) for medium in batch.media)
        self._flops += self._layers * tokens + self._head * learned + self._vision * patches


def _cost(part: torch.nn.Module) -> float:
    """FLOPs a token, forward and backward."""
    return float(sum((6 if p.requires_grad else 4) * p.numel() for p in part.parameters()))


def matrix_rate(device: str) -> float:
    """FLOP/s of a large bf16 product; of a small fp32 one on a CPU, for the rehearsal."""
    on_gpu = device == "cuda"
    side, kind = (MATRIX, torch.bfloat16) if on_gpu else (512, torch.float32)
    one, two = (torch.randn(side, side, device=device, dtype=kind) for _ in range(2))
    times = []
    for _ in range(12):
        _wait(on_gpu)
        before = time.perf_counter()
        one @ two
        _wait(on_gpu)
        times.append(time.perf_counter() - before)
    return float(2 * side**3 / statistics.median(times[2:]))


def _wait(on_gpu: bool) -> None:
    if on_gpu:
        torch.cuda.synchronize()


def as_text(results: list[Mapping[str, Any]]) -> str:
    lines = []
    for result in results:
        values = [f"{k} {v:.3g}" if isinstance(v, float) else f"{k} {v}" for k, v in result.items()]
        missed = [k for k, goal in GOALS.items() if k in result and
                  (result[k] < goal) == (k == "mfu")]  # fmt: skip
        lines.append("; ".join([*values, *(f"goal of {k} missed" for k in missed)]))
    return "\n".join(lines)


CASES: dict[str, Callable[[argparse.Namespace], dict[str, Any]]] = {
    "joint": joint,
    "packed": packed,
}

if __name__ == "__main__":
    sys.exit(main())
