"""Jobs on a Ray cluster: one actor a worker, each with its own engine, one job at a time."""

import importlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from tracevlm_ros.core.errors import ConfigError
from tracevlm_ros.evaluation.evaluate import EvaluationConfig
from tracevlm_ros.evaluation.scale.jobs import EngineLoader, Job, JobOutcome, run_job

LOCAL = "local"
_TRIES = 2


class Worker:
    """Lives in a process of the cluster; the engine is loaded once."""

    def __init__(self, load: EngineLoader, config: EvaluationConfig, out: Path) -> None:
        self._engine, self._config, self._out = load(), config, out

    def run(self, job: Job) -> JobOutcome:
        return run_job(job, self._engine, self._config, self._out)


def run_on_ray(
    jobs: Sequence[Job],
    load: EngineLoader,
    config: EvaluationConfig,
    out: Path,
    address: str = LOCAL,
    workers: int = 2,
) -> Iterator[JobOutcome]:
    """Outcomes as they come. ``out`` and the bags must be on storage that every machine sees.

    ``address`` is a cluster's (``auto``, ``ray://host:port``) or ``local``: a Ray of its own on
    this machine. A worker that dies is replaced and its job tried once more; then the job is an
    outcome with the error, without a result file, so that a later call tries it again.
    """
    if workers < 1:
        raise ConfigError(f"--workers is {workers}; it must be at least 1")
    ray: Any = importlib.import_module("ray")
    options = {"num_cpus": workers, "include_dashboard": False} if address == LOCAL else {}
    ray.init(address=address, log_to_driver=False, logging_level="warning", **options)
    try:
        yield from _drive(ray, list(jobs), (load, config, out.resolve()), workers)
    finally:
        ray.shutdown()


def _drive(
    ray: Any, jobs: list[Job], arguments: tuple[Any, ...], workers: int
) -> Iterator[JobOutcome]:
    actor = ray.remote(num_cpus=1)(Worker)
    waiting = [(job, 1) for job in reversed(jobs)]
    running: dict[Any, tuple[Any, Job, int]] = {}
    for _ in range(min(workers, len(jobs))):
        _start(actor.remote(*arguments), waiting, running)
    while running:
        (ready, *_), _ = ray.wait(list(running), num_returns=1)
        worker, job, attempt = running.pop(ready)
        try:
            yield ray.get(ready)
        except ray.exceptions.RayError as error:
            if attempt < _TRIES:
                waiting.append((job, attempt + 1))
            else:
                reason = str(error).strip().splitlines()[-1]
                yield JobOutcome(job.name, 0, 0.0, f"its worker failed: {reason}")
            if isinstance(error, ray.exceptions.RayActorError):
                worker = actor.remote(*arguments)
        _start(worker, waiting, running)


def _start(
    worker: Any, waiting: list[tuple[Job, int]], running: dict[Any, tuple[Any, Job, int]]
) -> None:
    if waiting:
        job, attempt = waiting.pop()
        running[worker.run.remote(job)] = (worker, job, attempt)
