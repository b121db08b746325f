"""Train the network: ``--stage vision`` first, then ``--stage joint --from`` its checkpoint. The
paper's stages 1, 1.5 and 2 learn from packed data sets, nano or Qwen2.5-VL (docs/training.md).

Running the same command again resumes where it stopped. ``--evaluate CHECKPOINT`` scores a
checkpoint by free generation instead of training.
"""

import argparse
import json
from pathlib import Path

from tracevlm_ros.core.errors import ConfigError, InputError
from training.settings import STAGES, TrainConfig
from training.stages.settings import NANO_MODELS, PAPER_STAGES, QWEN_MODELS


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--out", type=Path, default=Path("runs/train"), help="folder of the run")
    parser.add_argument("--stage", choices=(*STAGES, *PAPER_STAGES), default="joint")
    parser.add_argument("--from", dest="initial", type=Path, help="checkpoint of an earlier stage")
    parser.add_argument("--photos", default="", help="folder in COCO form (never a *_dev one)")
    parser.add_argument("--steps", type=int, help="steps in all, over all pieces of the run")
    parser.add_argument("--seconds", type=float, help="end the run after that long in all")
    parser.add_argument("--images", type=int, help="images in a batch")
    parser.add_argument("--rate", type=float, help="learning rate")
    parser.add_argument("--seed", type=int, help="of weights and data")
    parser.add_argument("--model", choices=(*NANO_MODELS, *QWEN_MODELS))
    parser.add_argument("--dry-run", action="store_true", help="check data, memory, freezes, disk")
    parser.add_argument("--data", action="append", help="stages 1, 1.5, 2: a data set; repeatable")
    parser.add_argument("--backbone", help="stages 1, 1.5, 2: Hugging Face folder of a Qwen2.5-VL")
    parser.add_argument("--set", action="append", metavar="NAME=VALUE", help="any stage setting")
    parser.add_argument("--paper", action="store_true", help="no option beyond the paper")
    parser.add_argument("--config", type=Path, help="JSON file of settings; arguments override it")
    parser.add_argument("--evaluate", type=Path, metavar="CHECKPOINT", help="score, do not train")
    parser.add_argument(
        "--pack", type=Path, metavar="CHECKPOINT", help="write its weights alone as --out FILE"
    )
    parser.add_argument("--scenes", type=int, default=200, help="held-out scenes to score on")
    parser.add_argument("--strokes", type=Path, help="folder with instances.json and strokes.json")
    parser.add_argument("--clips", type=Path, help="folder in DAVIS form with strokes.json")
    parser.add_argument("--captions", type=Path, help="folder with captions.json")
    parser.add_argument("--shuffled", action="store_true", help="score traces out of their order")
    parser.add_argument("--json", action="store_true", help="scores as JSON")


def run(arguments: argparse.Namespace) -> int:
    if arguments.evaluate is not None:
        return _evaluate(arguments)
    if arguments.pack is not None:
        return _pack(arguments.pack, arguments.out)
    if arguments.stage in PAPER_STAGES:
        from training.stages.command_line import run as run_stage

        return run_stage(arguments, _say)
    _refuse_stage_options(arguments)
    if arguments.dry_run:
        from training.dry_run import dry_run

        dry_run(settings_of(arguments), arguments.out, arguments.initial, _say)
        return 0
    from training.loop import Trainer

    trainer = Trainer(settings_of(arguments), arguments.out, arguments.initial, say=_say)
    try:
        trainer.run()
    except OSError as error:
        raise InputError(
            f"step {trainer.step} could not be kept in {arguments.out} ({error}); make room there "
            "and run the same command again, it goes on from the last whole checkpoint"
        ) from error
    return 0


def _refuse_stage_options(arguments: argparse.Namespace) -> None:
    for name in ("data", "backbone", "set"):
        if getattr(arguments, name):
            raise ConfigError(
                f"--{name} is for the stages {', '.join(PAPER_STAGES)}; stage '{arguments.stage}' "
                "takes --photos and --config"
            )


def settings_of(arguments: argparse.Namespace) -> TrainConfig:
    """Settings file, then arguments. Raises ConfigError or InputError naming what is wrong."""
    values: dict[str, object] = {}
    if arguments.config is not None:
        try:
            values = json.loads(arguments.config.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise InputError(f"{arguments.config} cannot be read as JSON ({error})") from error
    values["stage"] = arguments.stage
    for name in ("steps", "seconds", "seed", "model"):
        if getattr(arguments, name) is not None:
            values[name] = getattr(arguments, name)
    if arguments.paper:
        values["paper"] = True
    data: dict[str, object] = {"photos": arguments.photos} if arguments.photos else {}
    if arguments.captions is not None:
        data["captions"] = str(arguments.captions)
    if arguments.images is not None:
        data["images"] = arguments.images
    _merge(values, "data", data)
    _merge(values, "optimiser", {} if arguments.rate is None else {"rate": arguments.rate})
    return TrainConfig.of_mapping(values)


def _merge(values: dict[str, object], section: str, changes: dict[str, object]) -> None:
    current = values.get(section, {})
    if not isinstance(current, dict):
        raise ConfigError(f"setting '{section}' is {current!r}; it takes a section")
    values[section] = {**current, **changes}


def _say(line: str) -> None:
    print(line, flush=True)


def _pack(source: Path, out: Path) -> int:
    from training.checkpoint import PACKED, load_checkpoint, pack

    if out.suffix != PACKED:
        raise ConfigError(f"--out is {out}; --pack writes a file whose name ends in {PACKED}")
    pack(load_checkpoint(source), out)
    _say(f"{out}: {out.stat().st_size / 1e6:.1f} MB")
    return 0


def _evaluate(arguments: argparse.Namespace) -> int:
    from training.evaluation import HeldOut, evaluate_checkpoint

    data = HeldOut(arguments.scenes, arguments.strokes, arguments.clips, arguments.captions)
    for found in evaluate_checkpoint(arguments.evaluate, data, arguments.shuffled):
        print(json.dumps(found.as_mapping()) if arguments.json else found.as_line())
    return 0
