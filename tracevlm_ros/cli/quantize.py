"""Write a model directory in another precision, with its accuracy beside it.

The fp32 model runs on the samples of SET (`tracevlm calibrate quantize`), which tells the range of
every product. Then both models answer for held-out synthetic scenes and for the set; the table
goes into ACCURACY.md and the manifest. Where masks fall by more than one IoU point, nothing is
written unless --accept-loss is given. int8 is for ONNX Runtime on a CPU; int8-symmetric and fp8 are
for TensorRT; int4 stores the language model's weights in blocks of 32.
"""

import argparse
import json
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

from calibration.quantisation_set import QuantisationSet, read_set
from engine.contract import GRAPHS
from engine.export.precisions import RECIPES
from engine.export.quantised_directory import drafted, quantise_directory, record_accuracy
from engine.runtime import load_engine
from engine.runtime.loading import model_directory
from engine.runtime.manifest import read_manifest
from tracevlm_ros.cli.bench_report import counter
from tracevlm_ros.core.errors import EngineError
from tracevlm_ros.core.settings import require_range
from tracevlm_ros.evaluation.benchmarks.precision import MOST_LOSS, as_markdown, compare_precisions
from tracevlm_ros.evaluation.benchmarks.synthetic import looks


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", help="'nano' or an exported fp32 model directory")
    parser.add_argument(
        "--set", type=Path, required=True, help="from `tracevlm calibrate quantize`"
    )
    parser.add_argument("--precision", choices=tuple(RECIPES), default="int8")
    parser.add_argument("--out", type=Path, required=True, help="model directory to write")
    parser.add_argument("--keep", nargs="*", default=[], choices=tuple(GRAPHS), metavar="GRAPH",
                        help="graphs to leave in fp32, beyond those that always are")  # fmt: skip
    parser.add_argument("--scenes", type=int, default=40, help="synthetic scenes to measure on")
    parser.add_argument("--accept-loss", action="store_true",
                        help="write it although its masks are worse")  # fmt: skip
    parser.add_argument("--json", action="store_true", help="print the result as JSON")


def run(arguments: argparse.Namespace) -> int:
    """Quantise, measure, and write or refuse (EngineError, nothing is left behind)."""
    require_range("--scenes", arguments.scenes, 1, 10_000)
    manifest = read_manifest(model_directory(arguments.model))
    calibration = read_set(arguments.set)
    precision, out = arguments.precision, arguments.out
    with drafted(out) as draft:
        done = quantise_directory(
            manifest, calibration, precision, draft, tuple(arguments.keep), _say
        )
        _say("measuring")
        figures = _measure(manifest.directory, draft, calibration, arguments.scenes)
        refusal = _refusal(figures, precision)
        if refusal and not arguments.accept_loss:
            raise EngineError(refusal)
        remarks = [f"Accepted by --accept-loss: {refusal}."] if refusal else []
        text = as_markdown(figures, precision, remarks)
        record_accuracy(draft, figures, text)
    size = {path.name: path.stat().st_size for path in sorted(out.glob("*.onnx"))}
    result = {"precision": precision, **done._asdict(), "bytes": size, "accuracy": figures}
    print(json.dumps(result, indent=2) if arguments.json else f"{text}\nwritten to {out}")
    return 0


def _say(what: str) -> None:
    print(what, file=sys.stderr, flush=True)


def _measure(exact: Path, tried: Path, calibration: QuantisationSet, scenes: int) -> dict[str, Any]:
    samples = list(zip(calibration.frames, calibration.prompts, strict=True))
    progress = counter(sum(1 for _ in looks(scenes)))
    with (
        closing(load_engine(exact, backend="onnxruntime-cpu")) as one,
        closing(load_engine(tried, backend="onnxruntime-cpu")) as other,
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
