"""Ablations of tables 4 to 6 of the paper on synthetic scenes: several seeds, a table with spread.

    python benchmarks/ablations.py tvp | order | reasoning [--model nano] [--steps 2000] [--seeds 3]

tvp: no trace, trace as text, trace drawn into the picture, TVP. order: tasks of a narrative in the
fixed order, mixed, or one task after the other (a third of the steps each). reasoning: narratives,
or narratives and RILN dialogues by the rule-based teacher, in as many steps.

Every arm starts from the same weights of its seed and does the same number of steps of stage 1.5.
With ``--from`` the weights are a checkpoint's (with ``--fresh-tvp`` all but the trace prompting),
with ``--encoder`` its vision encoder alone. Scores are of free greedy answers on held-out scenes:
BLEU-4 of captions, share of the four attributes said right, LBM of traces drawn for a caption
(keypoints as boxes without area; an answer without a point counts as the whole picture), right
answers to questions, malformed answers.
A run that is done is kept in ``--out`` and not done again.
"""

import argparse
import json
import math
import statistics
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from ablation_scores import ASKED, LONGEST, scores_of

from tracevlm_ros.core.drops import Drops
from tracevlm_ros.core.errors import ConfigError, TraceVLMError
from training.answering import Answerer
from training.data.messages import MessageTree
from training.data.naming import open_set
from training.data.packing import PackConfig
from training.data.readers.records import Record
from training.data.templates import Task
from training.data.trees import build_tree
from training.riln.build import DATA_NAME, BuildConfig, Builder
from training.riln.dialogues import DialogueWriter
from training.riln.rules import RuleTeacher
from training.sampling import SamplingConfig
from training.stages.building import build, picture_side, start_from, tree_plan
from training.stages.network import StageNetwork, TreePlan
from training.stages.settings import ScheduleConfig, StageConfig, ValidationConfig
from training.stages.trainer import StageTrainer

NARRATIVES = "synthetic:0:4000"
HELD_OUT = "synthetic:1000003:{}"
TASKS = (Task.TRACE_CAPTION.value, Task.TRACE_FROM_CAPTION.value, Task.JOINT.value)
LABELS = {
    "bleu4": "BLEU-4 %",
    "attributes": "attributes right %",
    "lbm0": "LBM k=0",
    "lbm1": "LBM k=1",
    "answers": "answers right %",
    "malformed": "malformed %",
    "text_loss": "last text loss",
}
ARMS: dict[str, dict[str, dict[str, Any]]] = {
    "tvp": {
        "no trace": {"trace_form": "none"},
        "trace as text": {"trace_form": "text"},
        "trace drawn": {"trace_form": "drawn"},
        "TVP": {"trace_form": "tvp"},
    },
    "order": {"fixed": {"order": "fixed"}, "random": {"order": "random"}, "in turn": {}},
    "reasoning": {"narratives": {}, "narratives + RILN": {"data": (NARRATIVES, DATA_NAME)}},
}


def main() -> int:
    arguments = parse()
    try:
        arguments.out.mkdir(parents=True, exist_ok=True)
        do = trained_run if arguments.train_only else scores_of_run
        for seed in range(1, arguments.seeds + 1):
            for arm in arms_of(arguments):
                do(arguments, arm, seed)
        if arguments.train_only:
            return 0
        table = [measure(arguments, arm) for arm in arms_of(arguments)]
    except TraceVLMError as error:
        print(f"ablations: {error}", file=sys.stderr)
        return 1
    print(as_markdown(arguments, table))
    return 0


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("ablation", choices=tuple(ARMS))
    parser.add_argument("--arms", nargs="+", help="only these")
    parser.add_argument("--model", default="nano", choices=("nano", "tiny"))
    parser.add_argument("--steps", type=int, default=2000)
    parser.add_argument("--seeds", type=int, default=3, help="how many, from 1 on")
    parser.add_argument("--scenes", type=int, default=100, help="held-out scenes to answer on")
    parser.add_argument("--length", type=int, default=2048, help="tokens of a packed row")
    parser.add_argument("--rate", type=float, default=1e-3)
    start = parser.add_mutually_exclusive_group()
    start.add_argument("--from", dest="initial", type=Path, help="checkpoint that all start from")
    start.add_argument(
        "--encoder", type=Path, help="checkpoint whose vision encoder all start from"
    )
    parser.add_argument(
        "--fresh-tvp", action="store_true", help="with --from: trace prompting of the seed"
    )
    parser.add_argument("--tasks", nargs="+", help="only these of a narrative")
    parser.add_argument("--precision", default="bf16", choices=("bf16", "fp32"))
    parser.add_argument("--rows", type=int, default=1, help="packed rows of a step")
    parser.add_argument("--workers", action="store_true", help="read ahead in another process")
    parser.add_argument("--device", default="auto", choices=("auto", "cpu", "cuda"))
    parser.add_argument("--train-only", action="store_true", help="score with another call")
    parser.add_argument("--paper", action="store_true", help="no option beyond the paper")
    parser.add_argument("--out", type=Path, default=Path("runs/ablations"))
    arguments = parser.parse_args()
    if arguments.fresh_tvp and arguments.initial is None:
        parser.error("--fresh-tvp leaves out a part of --from; give that too")
    return arguments


def arms_of(arguments: argparse.Namespace) -> tuple[str, ...]:
    """ConfigError for an arm that the ablation does not have."""
    known = tuple(ARMS[arguments.ablation])
    for arm in arguments.arms or ():
        if arm not in known:
            raise ConfigError(f"{arguments.ablation} has no arm {arm!r}; take of {known}")
    return tuple(arguments.arms or known)


def measure(arguments: argparse.Namespace, arm: str) -> dict[str, Any]:
    """All seeds of one arm: name -> list of scores."""
    found: dict[str, Any] = {"arm": arm}
    for seed in range(1, arguments.seeds + 1):
        for key, value in scores_of_run(arguments, arm, seed).items():
            found.setdefault(key, []).append(value)
    return found


def scores_of_run(arguments: argparse.Namespace, arm: str, seed: int) -> dict[str, float]:
    """Of one run, which is done if its scores are not in ``--out``."""
    path = arguments.out / f"{name_of(arguments, arm, seed)}.json"
    if not path.exists():
        trained = trained_run(arguments, arm, seed)
        path.write_text(json.dumps(score(arguments, trained)), encoding="utf-8")
        print(f"{path.stem}: {path.read_text(encoding='utf-8')}", file=sys.stderr, flush=True)
    found: dict[str, float] = json.loads(path.read_text(encoding="utf-8"))
    return found


def name_of(arguments: argparse.Namespace, arm: str, seed: int) -> str:
    return f"{arguments.ablation}-{arm}-{seed}".replace(" ", "_")


class Trained(NamedTuple):
    """Snapshots in ``folder``, of a run of ``config`` with this text loss in each step."""

    folder: Path
    config: StageConfig
    losses: list[float]


def trained_run(arguments: argparse.Namespace, arm: str, seed: int) -> Trained:
    """Train, or go on where it was stopped."""
    config = settings(arguments, arm, seed)
    folder = arguments.out / name_of(arguments, arm, seed)
    if arm != "in turn":
        return Trained(folder, config, train(config, folder, start_of(arguments)))
    start = start_of(arguments)
    for number, task in enumerate(TASKS):
        part = {**config.as_mapping(), "steps": max(1, config.steps // 3), "tasks": [task]}
        losses = train(StageConfig.of_mapping(part), folder / str(number), start)
        start = Start(folder / str(number))
    assert start.path is not None
    return Trained(start.path, config, losses)


def score(arguments: argparse.Namespace, trained: Trained) -> dict[str, float]:
    config, losses = trained.config, trained.losses
    stage = build(config, trained.folder).stage
    trees = list(held_out_trees(stage, config, tree_plan(config), arguments.scenes))
    answerer = Answerer(stage, SamplingConfig(limit=LONGEST))
    last = losses[-max(1, len(losses) // 10) :]
    asked = [task for task in ASKED if task in config.tasks]
    return {**scores_of(answerer, trees, asked), "text_loss": statistics.fmean(last)}


def settings(arguments: argparse.Namespace, arm: str, seed: int) -> StageConfig:
    values: dict[str, Any] = {"data": (NARRATIVES,), **ARMS[arguments.ablation][arm]}
    if DATA_NAME in values["data"]:
        made = riln(arguments.out / "riln")
        values["data"] = tuple(str(made) if name == DATA_NAME else name for name in values["data"])
    tasks = (*TASKS, Task.ASK.value) if arguments.ablation == "reasoning" else TASKS
    tasks = tuple(arguments.tasks or tasks)
    return StageConfig(
        stage="1.5",
        model=arguments.model,
        paper=arguments.paper,
        seed=seed,
        steps=arguments.steps,
        tasks=tasks,
        packing=PackConfig(length=arguments.length),
        precision=arguments.precision,
        micro_batches=1,
        rows=arguments.rows,
        workers=arguments.workers,
        device=arguments.device,
        schedule=ScheduleConfig(rate=arguments.rate),
        validation=ValidationConfig(every=0),
        save_every=max(50, arguments.steps // 4),
        keep=1,
        tensorboard=False,
        **values,
    )


def riln(folder: Path) -> Path:
    """Dialogues about the same narratives, made once."""
    if not (folder / DATA_NAME).exists():
        drops, teacher = Drops(), RuleTeacher()
        writer = DialogueWriter(teacher, teacher, drops)
        config = BuildConfig(data=NARRATIVES, records=120)
        reader = open_set(NARRATIVES, 256)
        Builder(config, reader, writer, [], drops, say=lambda _: None).run(folder)
    return folder / DATA_NAME


class Start(NamedTuple):
    """Weights before the first step: those of ``path`` whose names begin with one of ``taken`` and
    not with one of ``left``, the others of the seed."""

    path: Path | None
    taken: tuple[str, ...] = ("",)
    left: tuple[str, ...] = ()


def start_of(arguments: argparse.Namespace) -> Start:
    if arguments.encoder is not None:
        return Start(arguments.encoder, taken=("visual.",))
    return Start(arguments.initial, left=("tvp.",) if arguments.fresh_tvp else ())


def train(config: StageConfig, folder: Path, start: Start) -> list[float]:
    """Train, or go on; the text loss of every step."""
    built = build(config)
    if start.path is not None:
        take_weights(built.stage, start)
    trainer = StageTrainer(config, folder, say=lambda _: None, built=built)
    trainer.run()
    if trainer.step < config.steps:
        raise SystemExit(f"stopped at step {trainer.step} of {config.steps}; run it again")
    lines = (folder / "log.jsonl").read_text(encoding="utf-8").splitlines()
    return [r["text"] for r in map(json.loads, lines) if r["kind"] == "train"]


def take_weights(stage: StageNetwork[Any], start: Start) -> None:
    assert start.path is not None
    weights = stage.network.state_dict()
    of_seed = {
        name: weight.clone()
        for name, weight in weights.items()
        if not name.startswith(start.taken) or name.startswith(start.left)
    }
    start_from(start.path, stage)
    stage.network.load_state_dict({**stage.network.state_dict(), **of_seed})


def held_out_trees(
    stage: Any, config: StageConfig, plan: TreePlan, scenes: int
) -> Iterator[MessageTree]:
    reader = open_set(HELD_OUT.format(scenes), picture_side(stage, config), training=False)
    trees = stage.tree_config(plan._replace(tasks=ASKED, order="fixed"))
    for index in range(len(reader)):
        record: Record | None = reader.read(index)
        if record is not None:
            yield build_tree(record, trees, np.random.default_rng(index), Drops())


def as_markdown(arguments: argparse.Namespace, table: list[dict[str, Any]]) -> str:
    """Mean and standard deviation over seeds."""
    lines = [
        f"`{arguments.ablation}`: {arguments.model}, {arguments.steps} steps, {arguments.seeds} "
        f"seeds, {arguments.scenes} held-out scenes; mean +- standard deviation",
        "",
        "| | " + " | ".join(LABELS.values()) + " |",
        "|---" * (len(LABELS) + 1) + "|",
    ]
    for row in table:
        cells = []
        for key in LABELS:
            digits = 3 if key in ("lbm0", "lbm1", "text_loss") else 1
            values = [value for value in row[key] if not math.isnan(value)]
            if not values:
                cells.append("")
                continue
            spread = statistics.stdev(values) if len(values) > 1 else 0.0
            cells.append(f"{statistics.fmean(values):.{digits}f} +- {spread:.{digits}f}")
        lines.append(f"| {row['arm']} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
