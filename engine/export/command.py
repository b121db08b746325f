"""Checkpoint or Hugging Face folder -> model directory: ONNX graphs, weights, tokenizer, manifest.

SOURCE is a checkpoint of `tracevlm train` (nano), the folder of a Qwen2.5-VL model in safetensors
form, or with --random-weights the name of a preset (qwen2.5-vl-3b, qwen2.5-vl-7b), for measuring
speed. A Qwen export never holds the weights: tensors pass through memory one at a time.

--flavour primitive (opset 20) is for ONNX Runtime and every TensorRT from 10.0; static-cache (opset
24) is for TensorRT 10.15, 11 and TensorRT-RTX. --precision says what the large parts compute in;
real Qwen weights overflow in fp16: take bf16 (TensorRT, CUDA) or fp32 (CPU). --check compares with
PyTorch in fp32 and fp16 and writes parity.json.
"""

import argparse
import json
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from engine.contract import FLAVOURS, PRIMITIVE
from tracevlm_ros import __version__
from tracevlm_ros.core.errors import ConfigError

PRECISIONS = ("fp32", "fp16", "bf16", "fp8")
PICTURE_HW = (448, 448)
NANO_ANSWERS = 8
"""As many as traces in one call."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("source", metavar="SOURCE", help="checkpoint, folder, or preset")
    parser.add_argument("--out", type=Path, required=True, help="model directory to write")
    parser.add_argument("--model-id", help="name shown in captions (tracevlm-nano, the folder)")
    parser.add_argument("--flavour", choices=FLAVOURS, default=PRIMITIVE)
    parser.add_argument("--precision", choices=PRECISIONS, help="fp32 (nano), bf16 (Qwen)")
    parser.add_argument(
        "--size",
        type=size_hw,
        action="append",
        metavar="HxW",
        help="Qwen: pictures as the encoder sees them (448x448); repeated: a directory per size",
    )
    parser.add_argument(
        "--track-size",
        type=size_hw,
        metavar="HxW",
        help="also write the graph `track`, for pictures of this size (480x640; the CPU tracks "
        "with OpenCV and needs none)",
    )
    parser.add_argument("--max-traces", type=int, help="traces in one call")
    parser.add_argument(
        "--max-answers",
        type=int,
        help="answers that one call of a primitive `decode` reads on (8 for nano, 1 for Qwen)",
    )
    parser.add_argument("--max-prompt-tokens", type=int)
    parser.add_argument("--max-new-tokens", type=int)
    parser.add_argument("--random-weights", action="store_true", help="SOURCE is a preset's name")
    parser.add_argument("--scores", type=Path, help="JSON lines of `tracevlm train --evaluate`")
    parser.add_argument("--check", action="store_true", help="compare the graphs with PyTorch")


def size_hw(text: str) -> tuple[int, int]:
    """``448x448`` -> (448, 448)."""
    height, cross, width = text.partition("x")
    if not (cross and height.isdigit() and width.isdigit() and int(height) and int(width)):
        raise argparse.ArgumentTypeError(f"'{text}' is no size; write HEIGHTxWIDTH, as 448x448")
    return int(height), int(width)


def run(arguments: argparse.Namespace) -> int:
    """Export, print what was written, and with --check what was compared."""
    if arguments.random_weights or Path(arguments.source).is_dir():
        return _run_qwen(arguments)
    if arguments.precision in ("bf16", "fp8"):
        raise ConfigError(
            f"--precision {arguments.precision} is for Qwen; nano is exported in fp32 or fp16, and "
            "quantised by `tracevlm quantize`"
        )
    if arguments.size:
        raise ConfigError("--size is for Qwen folders; nano's picture size is that of its training")
    return _run_nano(arguments)


def _run_nano(arguments: argparse.Namespace) -> int:
    from engine.export.directory import DEFAULT_LIMITS, Form
    from engine.export.model_directory import nano_reference, write_model_directory
    from training.checkpoint import load_checkpoint
    from training.tokenizer import load_tokenizer
    from training.trained_model import trained_model

    checkpoint = load_checkpoint(Path(arguments.source))
    model = trained_model(checkpoint)
    said = _provenance(checkpoint, arguments.scores)
    locates = checkpoint.locates and finds(said.get("scores", ()))
    form = Form(
        arguments.flavour,
        arguments.precision or "fp32",
        arguments.track_size,
        _max_answers(arguments, NANO_ANSWERS),
        words=locates and checkpoint.maps_words,
    )
    limits = _limits(arguments, DEFAULT_LIMITS)
    model_id = arguments.model_id or "tracevlm-nano"

    def export(form: Form, directory: Path, say: Any = print) -> Any:
        return write_model_directory(
            model,
            load_tokenizer(),
            directory,
            model_id,
            said,
            limits,
            say,
            form,
            locates,
        )

    exported = export(form, arguments.out)
    print(f"{exported.directory}: {exported.total_bytes / 1e6:.1f} MB")
    if arguments.check:
        quiet = partial(export, say=_say_nothing)
        _check(exported.directory, form, nano_reference(model), quiet)
    return 0


def _run_qwen(arguments: argparse.Namespace) -> int:
    from engine.export.directory import Form
    from engine.export.qwen_directory import (
        default_limits,
        open_folder,
        random_model,
        write_qwen_directory,
    )

    if arguments.precision == "fp8" and not arguments.random_weights:
        raise ConfigError(
            "--precision fp8 is for --random-weights, its activations are not calibrated; export "
            "fp32, then run `tracevlm quantize`"
        )
    if arguments.random_weights and arguments.check:
        raise ConfigError("--check needs weights to compare; leave out --random-weights")
    source = arguments.source
    model = random_model(source) if arguments.random_weights else open_folder(Path(source))
    answers = _max_answers(arguments, 1)
    form = Form(arguments.flavour, arguments.precision or "bf16", arguments.track_size, answers)
    name = source if arguments.random_weights else Path(source).resolve().name
    model_id = arguments.model_id or name.lower() + ("-random" if arguments.random_weights else "")
    sizes = arguments.size or [PICTURE_HW]
    for picture_hw in sizes:
        several = len(sizes) > 1
        out = arguments.out / "{}x{}".format(*picture_hw) if several else arguments.out
        limits = _limits(arguments, default_limits(model.config, picture_hw))
        exported = write_qwen_directory(model, out, model_id, picture_hw, form, limits, print)
        print(f"{exported.directory}: {exported.total_bytes / 1e6:.1f} MB")
        if arguments.check:
            from engine.export.qwen_reference import qwen_reference

            def export(
                form: Form, directory: Path, hw: Any = picture_hw, limits: Any = limits
            ) -> Any:
                return write_qwen_directory(model, directory, model_id, hw, form, limits)

            reference = qwen_reference(Path(source), model.config, picture_hw)
            _check(exported.directory, form, reference, export)
    return 0


def _say_nothing(_: str) -> None:
    """Exports that only serve the comparison are not told."""


def _limits(arguments: argparse.Namespace, default: Any) -> Any:
    asked = {name: getattr(arguments, name) for name in default._fields}
    given = {name: value for name, value in asked.items() if value is not None}
    for name, value in given.items():
        _at_least_1(name.replace("_", "-"), value)
    return default._replace(**given)


def _max_answers(arguments: argparse.Namespace, default: int) -> int:
    given = arguments.max_answers
    return default if given is None else _at_least_1("max-answers", given)


def _at_least_1(flag: str, value: int) -> int:
    if value < 1:
        raise ConfigError(f"--{flag} is {value}; it must be at least 1")
    return value


def _check(directory: Path, form: Any, reference: Any, export: Any) -> None:
    from engine.export.parity_report import check_export

    print("comparing with PyTorch in fp32 and fp16")
    for found in check_export(directory, form, reference, export):
        worst = max(found.graphs, key=lambda item: item.difference)
        answer = found.answer
        print(
            f"{found.precision}: at most {worst.difference:.1e} ({worst.graph}.{worst.output}), "
            f"{answer.equal_tokens} of {answer.tokens} greedy tokens equal, mask IoU at least "
            f"{answer.mask_iou:.4f}"
        )


def finds(scores: Sequence[Mapping[str, Any]]) -> bool:
    """Whether a model that was trained to locate can: where it has been scored, it must find half
    of the objects."""
    found = [float(score["found"]) for score in scores if score.get("data") == "located"]
    return min(found, default=1.0) >= 0.5


def _provenance(checkpoint: Any, scores: Path | None) -> dict[str, Any]:
    """What the manifest says of the training; no path of the machine that trained."""
    found: dict[str, Any] = {
        "trained_by": f"tracevlm train, tracevlm_ros {__version__}",
        **checkpoint.summary(),
        "earlier": list(checkpoint.earlier),
        "paper_mode": checkpoint.config["paper"],
        "card": "MODEL_CARD.md",
    }
    if scores is not None:
        lines = scores.read_text(encoding="utf-8").splitlines()
        found["scores"] = [json.loads(line) for line in lines if line.strip()]
    return found
