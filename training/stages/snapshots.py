"""Snapshots of a run that survive a kill at any moment, written by all processes together.

``step_00000100/`` holds the tensors in PyTorch's distributed format, which any number of processes
reads, and ``run.json`` with everything else. It is written as ``step_00000100.draft`` and renamed
when complete, so a folder with the right name is whole. The format's index is a pickle: resume only
from folders that you wrote.
"""

import json
import os
import shutil
import warnings
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import nn
from torch.distributed.checkpoint.api import CheckpointException
from torch.distributed.checkpoint.state_dict import get_state_dict, set_state_dict
from torch.distributed.checkpoint.state_dict_loader import load as load_tensors
from torch.distributed.checkpoint.state_dict_saver import save as save_tensors

from tracevlm_ros.core.errors import InputError
from training.stages.parallel import Processes

DRAFT = ".draft"
RUN_FILE = "run.json"
FORMAT = 1


class RunState(NamedTuple):
    """``streams``: state of each stream, by its number as text."""

    config: dict[str, Any]
    step: int
    seconds: float
    streams: dict[str, Any]


class Snapshots:
    """Those of one run in ``folder``; the ``keep`` newest stay."""

    def __init__(self, folder: Path, keep: int, processes: Processes) -> None:
        self._folder, self._keep, self._processes = folder, keep, processes
        if processes.is_first:
            _created(folder)
            for draft in folder.glob(f"*{DRAFT}"):
                shutil.rmtree(draft)
        processes.wait()

    def newest(self) -> Path | None:
        """The last whole snapshot."""
        return newest_snapshot(self._folder)

    def save(self, network: nn.Module, optimiser: torch.optim.Optimizer, state: RunState) -> Path:
        """Write one. InputError, the same on every process, when the disk is full; those before
        stay whole."""
        path = self._folder / f"step_{state.step:08d}"
        if path.exists():
            return path
        draft = path.with_name(path.name + DRAFT)
        model_state, optimiser_state = get_state_dict(network, optimiser)
        failure = ""
        try:
            with _one_process_is_fine():
                save_tensors(
                    {"model": model_state, "optimiser": optimiser_state},
                    checkpoint_id=draft,
                    no_dist=self._processes.world == 1,
                )
            if self._processes.is_first:
                _write(draft / RUN_FILE, {"format": FORMAT, **state._asdict()})
        except (OSError, RuntimeError, CheckpointException) as error:
            failure = _reason(error)
        failures = [reason for reason in self._processes.gather(failure) if reason]
        if self._processes.is_first:
            self._finish(draft, path, failed=bool(failures))
        self._processes.wait()
        if failures:
            raise InputError(
                f"step {state.step} could not be saved to {self._folder} ({failures[0]}; "
                f"{shutil.disk_usage(self._folder).free >> 20} MiB free); the newest whole "
                f"snapshot is {self.newest()}: make room and run the same command again"
            )
        return path

    def load(
        self, path: Path, network: nn.Module, optimiser: torch.optim.Optimizer
    ) -> RunState:  # fmt: skip
        """Read ``path`` into ``network`` and ``optimiser``. InputError when it is damaged or of
        another network."""
        state = read_run_state(path)
        model_state, optimiser_state = get_state_dict(network, optimiser)
        holder: dict[str, Any] = {"model": model_state, "optimiser": optimiser_state}
        try:
            with _one_process_is_fine():
                load_tensors(holder, checkpoint_id=path, no_dist=self._processes.world == 1)
        except (Exception, CheckpointException) as error:
            raise InputError(
                f"{path} does not fit this network ({_reason(error)}); resume with the settings it "
                "was written with, or take another --out"
            ) from error
        set_state_dict(
            network,
            optimiser,
            model_state_dict=holder["model"],
            optim_state_dict=holder["optimiser"],
        )
        return state

    def _finish(self, draft: Path, path: Path, failed: bool) -> None:
        if failed:
            shutil.rmtree(draft, ignore_errors=True)
            return
        draft.rename(path)
        for old in sorted(_whole(self._folder))[: -self._keep]:
            shutil.rmtree(old)


def newest_snapshot(folder: Path) -> Path | None:
    """The last whole snapshot of the run in ``folder``."""
    return max(_whole(folder), default=None)


def read_run_state(path: Path) -> RunState:
    """What ``run.json`` of a snapshot says; InputError when it is none."""
    try:
        content = json.loads((path / RUN_FILE).read_text(encoding="utf-8"))
        version = content.pop("format")
        if version != FORMAT:
            raise ValueError(f"format {version}, this program reads {FORMAT}")
        return RunState(**content)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(
            f"{path} is no snapshot of a run ({error}); remove the folder to fall back to an older"
        ) from error


def load_network(path: Path, network: nn.Module) -> RunState:
    """The weights alone, on one process. InputError as for ``Snapshots.load``."""
    state = read_run_state(path)
    weights = network.state_dict()
    try:
        with _one_process_is_fine():
            load_tensors({"model": weights}, checkpoint_id=path, no_dist=True)
    except (Exception, CheckpointException) as error:
        raise InputError(f"{path} does not fit this network ({_reason(error)})") from error
    network.load_state_dict(weights)
    return state


def _whole(folder: Path) -> list[Path]:
    return [path for path in folder.glob("step_*") if not path.name.endswith(DRAFT)]


def _created(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"{folder} cannot be made ({error}); choose another --out") from error


def _write(path: Path, content: dict[str, Any]) -> None:
    with path.open("w", encoding="utf-8") as file:
        json.dump(content, file)
        file.flush()
        os.fsync(file.fileno())


def _reason(error: BaseException) -> str:
    """The innermost cause in one line."""
    if isinstance(error, CheckpointException):
        inner = next(iter(error.failures.values()), None)
        error = error if inner is None else inner[0]
    return next((line for line in str(error).splitlines() if line.strip()), repr(error))


class _one_process_is_fine(warnings.catch_warnings):  # noqa: N801  used as a function
    """Keeps PyTorch from remarking that there is one process."""

    def __enter__(self) -> None:
        super().__enter__()
        warnings.filterwarnings("ignore", message=".*torch.distributed is disabled.*")
