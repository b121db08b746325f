"""Checkpoint -> model directory: ONNX graphs, embeddings, tokenizer and manifest, checked.

``--check`` compares every graph with PyTorch in ONNX Runtime, and fails above 1e-4.
"""

import argparse
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tracevlm_ros import __version__
from tracevlm_ros.core.errors import EngineMismatch

TOLERANCE = 1e-4


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("checkpoint", type=Path, metavar="CHECKPOINT")
    parser.add_argument("--out", type=Path, required=True, help="model directory to write")
    parser.add_argument("--model-id", default="tracevlm-nano", help="name shown in captions")
    parser.add_argument("--scores", type=Path, help="JSON lines of `tracevlm train --evaluate`")
    parser.add_argument("--check", action="store_true", help="compare the graphs with PyTorch")


def run(arguments: argparse.Namespace) -> int:
    from engine.export.model_directory import write_model_directory
    from engine.export.parity import measure_parity
    from training.checkpoint import load_checkpoint
    from training.data.sample import PATCH_CLASSES
    from training.model.tracevlm import TraceVLM
    from training.settings import TrainConfig
    from training.tokenizer import load_tokenizer

    checkpoint = load_checkpoint(arguments.checkpoint)
    config = TrainConfig.of_mapping(checkpoint.config)
    model = TraceVLM(config.model_config(), PATCH_CLASSES)
    model.load_state_dict(checkpoint.weights)
    exported = write_model_directory(
        model,
        load_tokenizer(),
        arguments.out,
        arguments.model_id,
        _provenance(checkpoint.config, checkpoint.step, checkpoint.seconds, arguments.scores),
        say=print,
    )
    print(f"{exported.directory}: {exported.total_bytes / 1e6:.1f} MB")
    if arguments.check:
        found = measure_parity(model, exported.directory)
        for item in found:
            print(f"{item.graph:>8} {item.output:<13} {item.difference:.1e}")
        worst = max(found, key=lambda item: item.difference)
        if worst.difference > TOLERANCE:
            raise EngineMismatch(
                f"{worst.graph}.{worst.output} differs from PyTorch by {worst.difference:.1e}, "
                f"allowed is {TOLERANCE}; do not ship this export"
            )
    return 0


def _provenance(
    config: Mapping[str, Any], step: int, seconds: float, scores: Path | None
) -> dict[str, Any]:
    """What the manifest says of the training; no path of the machine that trained."""
    data = {key: value for key, value in config["data"].items() if key != "photos"}
    found: dict[str, Any] = {
        "trained_by": f"tracevlm train, tracevlm_ros {__version__}",
        "stage": config["stage"],
        "seed": config["seed"],
        "steps": step,
        "hours": round(seconds / 3600.0, 2),
        "paper_mode": config["paper"],
        "data": {**data, "photos": Path(config["data"]["photos"]).name},
        "card": "MODEL_CARD.md",
    }
    if scores is not None:
        lines = scores.read_text(encoding="utf-8").splitlines()
        found["scores"] = [json.loads(line) for line in lines if line.strip()]
    return found
