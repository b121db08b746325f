"""The work of a large evaluation as jobs, one a recording, that can be done anywhere and resumed.

``OUT/run.json`` says what the run is of; ``OUT/results/<name>.parquet`` exists when a recording is
done. A second call with the same settings does the rest; other settings are refused.
"""

import hashlib
import json
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from tracevlm_ros.core.engine import Engine
from tracevlm_ros.core.errors import InputError
from tracevlm_ros.evaluation.evaluate import EvaluationConfig, evaluate_bag
from tracevlm_ros.evaluation.recording import find_bags
from tracevlm_ros.evaluation.scale.result_files import write_result

EngineLoader = Callable[[], Engine]
"""Loads the engine in the process that runs the jobs; must be picklable."""


class Job(NamedTuple):
    """``name`` is the bag's path below the folder, unique in the run."""

    name: str
    bag: Path


class JobOutcome(NamedTuple):
    """``error``: why the recording gave no or only partial results."""

    name: str
    frames: int
    wall_s: float
    error: str | None


class Plan(NamedTuple):
    """``done`` jobs have their result file."""

    jobs: tuple[Job, ...]
    done: tuple[Job, ...]

    @property
    def left(self) -> tuple[Job, ...]:
        return tuple(job for job in self.jobs if job not in set(self.done))


def make_plan(paths: Sequence[Path], out: Path, config: EvaluationConfig, model: str) -> Plan:
    """Find the bags under ``paths`` and what of them is done in ``out``.

    Raises InputError when ``out`` belongs to a run of another model or other settings.
    """
    identity = {
        "model": model,
        "settings": hashlib.sha256(repr(config).encode()).hexdigest(),
    }
    _claim(out, identity)
    jobs = tuple(_jobs(paths))
    return Plan(jobs, tuple(job for job in jobs if result_path(out, job).is_file()))


def result_path(out: Path, job: Job) -> Path:
    """Where the result of ``job`` stands once it is done."""
    return out / "results" / f"{job.name}.parquet"


def run_job(job: Job, engine: Engine, config: EvaluationConfig, out: Path) -> JobOutcome:
    """Evaluate one bag and write its result. A bag that cannot be read is a result as well: its
    error stands in the row, and it is not tried again."""
    folder = out / "recordings" / job.name
    _remove_partial(folder)
    result = evaluate_bag(job.bag, job.name, engine, config, folder)
    write_result(result, result_path(out, job))
    return JobOutcome(job.name, result.samples.frames, result.wall_s, result.error)


def run_here(
    jobs: Iterable[Job], load: EngineLoader, config: EvaluationConfig, out: Path
) -> Iterator[JobOutcome]:
    """One after the other in this process."""
    engine = load()
    try:
        for job in jobs:
            yield run_job(job, engine, config, out)
    finally:
        engine.close()


def _jobs(paths: Sequence[Path]) -> Iterator[Job]:
    used: set[str] = set()
    for path in paths:
        for bag in find_bags([path]):
            inside = bag.relative_to(path) if bag != path else Path(bag.name)
            name = "__".join(inside.with_suffix("").parts if bag.is_file() else inside.parts)
            if name in used:
                digest = hashlib.sha256(str(bag.resolve()).encode()).hexdigest()[:8]
                name = f"{name}__{digest}"
            used.add(name)
            yield Job(name, bag.resolve())


def _claim(out: Path, identity: dict[str, str]) -> None:
    path = out / "run.json"
    if not path.is_file():
        if out.exists() and any(out.iterdir()):
            raise InputError(f"{out} is not empty and no run to resume; name a new folder")
        out.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(identity, indent=1) + "\n", encoding="utf-8")
        return
    try:
        known = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise InputError(f"{path} is damaged ({error}); name a new folder") from error
    if known != identity:
        changed = [key for key in identity if known.get(key) != identity[key]]
        raise InputError(
            f"{out} holds a run with another {' and other '.join(changed)}; name a new folder, "
            "or resume with the same model and settings"
        )


def _remove_partial(folder: Path) -> None:
    """Throw away what an interrupted job left: the writer wants a new bag."""
    if folder.is_dir():
        shutil.rmtree(folder)
