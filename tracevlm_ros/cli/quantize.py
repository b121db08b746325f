"""Write a model directory in another precision, with its accuracy beside it.

The fp32 model runs on the samples of SET (`tracevlm calibrate quantize`), which tells the range of
every product. Then both models answer for held-out synthetic scenes and for the set; the table
goes into ACCURACY.md and the manifest. Where masks fall by more than one IoU point, nothing is
written unless --accept-loss is given. int8 is for ONNX Runtime on a CPU; int8-symmetric and fp8 are
for TensorRT; int4 stores the language model's weights in blocks of 32.

A bf16 export stays in bf16 around its products: --ranges-from names the fp32 export of the same
weights, which runs on the CPU in its place, for the ranges and, quantised the same way in a scratch
folder, for the accuracy table.

--measure-only writes no model: it prints the table of MODEL as it is, run by --backend, beside the
fp32 model in ONNX Runtime on the CPU, and ends with 1 where masks fall by more than one point. So
an fp16 or bf16 export is measured (`quantize FP16_DIR --measure-only --exact FP32_DIR`), and a
back end that computes in another type.
"""

import argparse
import json
import sys
import tempfile
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple

from calibration.quantisation_set import QuantisationSet, read_set
from engine.contract import GRAPHS
from engine.export.precisions import RECIPES
from engine.export.quantised_directory import (
    Quantised,
    drafted,
    quantise_directory,
    record_accuracy,
)
from engine.runtime import load_engine
from engine.runtime.loading import BACKENDS, model_directory
from engine.runtime.manifest import read_manifest
from tracevlm_ros.cli.bench_report import counter
from tracevlm_ros.core.errors import ConfigError, EngineError
from tracevlm_ros.core.settings import require_range
from tracevlm_ros.evaluation.benchmarks.precision import MOST_LOSS, as_markdown, compare_precisions
from tracevlm_ros.evaluation.benchmarks.synthetic import looks

_STAND_IN = (
    "Measured on the fp32 export of the same weights, quantised with the same ranges, since no CPU "
    "runs bf16 graphs; what bf16 rounds between the products is not in these figures."
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", help="'nano' or an exported fp32 model directory")
    parser.add_argument("--ranges-from", metavar="DIR",
                        help="MODEL is a bf16 export, DIR its fp32 one, which is run")  # fmt: skip
    parser.add_argument(
        "--set", type=Path, help="from `tracevlm calibrate quantize`; without it nothing is written"
    )
    parser.add_argument("--precision", choices=tuple(RECIPES), default="int8")
    parser.add_argument("--out", type=Path, help="model directory to write")
    parser.add_argument("--measure-only", action="store_true", help="write no model")
    parser.add_argument("--backend", default="onnxruntime-cpu", choices=BACKENDS,
                        help="with --measure-only: what runs MODEL")  # fmt: skip
    parser.add_argument("--exact", metavar="DIR",
                        help="with --measure-only: its fp32 directory (MODEL itself)")  # fmt: skip
    parser.add_argument("--keep", nargs="*", default=[], choices=tuple(GRAPHS), metavar="GRAPH",
                        help="graphs to leave in fp32, beyond those that always are")  # fmt: skip
    parser.add_argument("--scenes", type=int, default=40, help="synthetic scenes to measure on")
    parser.add_argument("--accept-loss", action="store_true",
                        help="take it although its masks are worse")  # fmt: skip
    parser.add_argument("--json", action="store_true", help="print the result as JSON")


def run(arguments: argparse.Namespace) -> int:
    """Quantise, measure, and write or refuse (EngineError, nothing is left behind)."""
    require_range("--scenes", arguments.scenes, 1, 10_000)
    if arguments.measure_only:
        return _measure_only(arguments)
    if arguments.set is None or arguments.out is None:
        raise ConfigError("--set and --out are needed to quantise; or give --measure-only")
    if arguments.exact is not None or arguments.backend != "onnxruntime-cpu":
        raise ConfigError("--exact and --backend only go with --measure-only")
    calibration = read_set(arguments.set)
    precision, out = arguments.precision, arguments.out
    with drafted(out) as draft:
        done, figures, remarks = _quantise(arguments, calibration, draft)
        refusal = _refusal(figures, precision)
        if refusal and not arguments.accept_loss:
            raise EngineError(refusal)
        remarks += [f"Accepted by --accept-loss: {refusal}."] if refusal else []
        text = as_markdown(figures, precision, remarks)
        record_accuracy(draft, figures, text)
    size = {path.name: path.stat().st_size for path in sorted(out.glob("*.onnx"))}
    result = {"precision": precision, **done._asdict(), "bytes": size, "accuracy": figures}
    print(json.dumps(result, indent=2) if arguments.json else f"{text}\nwritten to {out}")
    return 0


class _Tried(NamedTuple):
    done: Quantised
    figures: dict[str, Any]
    remarks: list[str]


def _quantise(arguments: argparse.Namespace, calibration: QuantisationSet, draft: Path) -> _Tried:
    """Fill ``draft`` and measure it, or in place of bf16 graphs what can run here."""
    manifest = read_manifest(model_directory(arguments.model))
    precision, keep = arguments.precision, tuple(arguments.keep)
    if arguments.ranges_from is None:
        done = quantise_directory(manifest, calibration, precision, draft, keep, _say)
        _say("measuring")
        exact, tried = Subject(manifest.directory), Subject(draft)
        return _Tried(done, _measure(exact, tried, calibration, arguments.scenes), [])
    runs = read_manifest(model_directory(arguments.ranges_from))
    done = quantise_directory(manifest, calibration, precision, draft, keep, _say, runs)
    with tempfile.TemporaryDirectory(dir=draft.parent) as scratch:
        quantise_directory(runs, calibration, precision, Path(scratch), keep, _say)
        _say("measuring")
        exact, tried = Subject(runs.directory), Subject(Path(scratch))
        figures = _measure(exact, tried, calibration, arguments.scenes)
    return _Tried(done, figures, [_STAND_IN])


def _say(what: str) -> None:
    print(what, file=sys.stderr, flush=True)


class Subject(NamedTuple):
    """A model directory, and what runs it."""

    directory: Path
    backend: str = "onnxruntime-cpu"


def _measure_only(arguments: argparse.Namespace) -> int:
    if arguments.out is not None:
        raise ConfigError("--measure-only writes nothing; leave out --out")
    if arguments.ranges_from is not None:
        raise ConfigError("--ranges-from is for writing; with --measure-only give --exact")
    tried = Subject(model_directory(arguments.model), arguments.backend)
    exact = Subject(model_directory(arguments.exact or arguments.model))
    precision = read_manifest(exact.directory).precision
    if precision != "fp32":
        raise ConfigError(f"{exact.directory} is {precision}; give the fp32 one with --exact")
    calibration = None if arguments.set is None else read_set(arguments.set)
    figures = _measure(exact, tried, calibration, arguments.scenes)
    name = f"{read_manifest(tried.directory).precision} on {tried.backend}"
    as_json = {"tried": name, "accuracy": figures}
    print(json.dumps(as_json, indent=2) if arguments.json else as_markdown(figures, name, []))
    refusal = _refusal(figures, name)
    if refusal and not arguments.accept_loss:
        raise EngineError(refusal)
    return 0


def _measure(
    exact: Subject, tried: Subject, calibration: QuantisationSet | None, scenes: int
) -> dict[str, Any]:
    samples = (
        []
        if calibration is None
        else list(zip(calibration.frames, calibration.prompts, strict=True))
    )
    progress = counter(sum(1 for _ in looks(scenes)))
    with (
        closing(load_engine(*exact)) as one,
        closing(load_engine(*tried)) as other,
    ):
        return compare_precisions(one, other, scenes, samples, progress)


def _refusal(figures: dict[str, Any], precision: str) -> str:
    """Why this precision should not be used; empty when it may."""
    fall = figures["fall"]
    if fall <= MOST_LOSS:
        return ""
    truth = figures["mask_iou_against_truth"]
    return (
        f"{precision} lowers the mean mask IoU from {truth['exact']:.3f} to {truth['tried']:.3f}, "
        f"by {100 * fall:.1f} points, allowed is {100 * MOST_LOSS:.0f}; give a set that covers "
        "more, leave a graph in fp32 with --keep, or take it with --accept-loss"
    )
