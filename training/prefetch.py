"""Batches drawn ahead of the training step by other processes, in the order of the steps."""

import multiprocessing
import signal
from collections.abc import Callable, Iterator
from multiprocessing.context import BaseContext
from typing import Any

import cv2
from torch.utils.data import DataLoader, Dataset


class _Steps(Dataset[Any]):
    def __init__(self, draw: Callable[[int], Any], steps: int) -> None:
        self._draw, self._steps = draw, steps

    def __len__(self) -> int:
        return self._steps

    def __getitem__(self, step: int) -> Any:
        return self._draw(step)


class Batches:
    """``draw(step)`` for each step asked; ``loaders`` 0 draws in this process.

    A step out of order starts the processes anew at that step. ``pinned`` batches drawn ahead lie
    where a GPU can fetch them while the program goes on.
    """

    def __init__(
        self, draw: Callable[[int], Any], steps: int, loaders: int, pinned: bool = False
    ) -> None:
        self._draw, self._steps, self._loaders = draw, steps, loaders
        self._pinned = pinned
        self._ahead: Iterator[Any] | None = None
        self._next = -1

    def of_step(self, step: int) -> Any:
        if self._loaders == 0:
            return self._draw(step)
        if self._ahead is None or step != self._next:
            self._ahead = self._start(step)
        self._next = step + 1
        return next(self._ahead)

    def close(self) -> None:
        """End the processes; asking again starts them anew."""
        self._ahead = None

    def _start(self, step: int) -> Iterator[Any]:
        return iter(
            DataLoader(
                _Steps(self._draw, self._steps),
                batch_size=None,
                sampler=range(step, self._steps),
                collate_fn=_as_drawn,
                num_workers=self._loaders,
                prefetch_factor=4,
                worker_init_fn=_prepare,
                pin_memory=self._pinned,
                multiprocessing_context=_processes(),
            )
        )


def _processes() -> BaseContext:
    """Processes forked from one that has imported what they need and run nothing, so that many
    start as fast as one. Forked from this one, they would hang where OpenMP has run."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["training.data.stream"])
    return context


def _prepare(_: int) -> None:
    """One thread; a signal to stop that reaches the whole group is for the training to obey."""
    cv2.setNumThreads(1)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _as_drawn(batch: Any) -> Any:
    return batch
