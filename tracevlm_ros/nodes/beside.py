"""Threads for what a pipeline can do beside its other work."""

import contextlib
import ctypes
import functools
import os
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")

_FEW_CORES = 3


class BesideThreads:
    """``core.beside.Beside``, with a thread for each piece of work that a step begins at once."""

    def __init__(self, threads: int = 2) -> None:
        self._threads = [_Elsewhere(f"beside_{number}") for number in range(threads)]
        self._begun = 0

    def __call__(self, work: Callable[[], T]) -> Callable[[], T]:
        thread = self._threads[self._begun % len(self._threads)]
        self._begun += 1
        return thread.begin(work)

    def close(self) -> None:
        """End the threads; work in progress is finished."""
        for thread in self._threads:
            thread.close()


class _Elsewhere:
    """A thread that wakes on another core than the one that wakes it.

    On a machine with two cores a thread was seen to begin only when the one that woke it waited,
    after all that it was to run beside, though the other core was idle (0.8 ms after it was woken;
    0.2 when that core was its only one). So the waker's core is forbidden to it until somebody
    waits for the result. Where there are more than ``_FEW_CORES``, Linux is left alone.
    """

    def __init__(self, name: str) -> None:
        self._pool = ThreadPoolExecutor(max_workers=1, thread_name_prefix=name)
        self._id = self._pool.submit(threading.get_native_id).result()
        self._cores = _few_cores()

    def begin(self, work: Callable[[], T]) -> Callable[[], T]:
        if self._cores:
            self._allow(self._cores - {_this_core()()})
        begun = self._pool.submit(work)
        return lambda: self._result_of(begun)

    def _result_of(self, begun: Future[T]) -> T:
        if self._cores and not begun.done():
            self._allow(self._cores)
        return begun.result()

    def _allow(self, cores: set[int]) -> None:
        """A core may be taken from this process at any time: then the thread stays as it is."""
        with contextlib.suppress(OSError):
            os.sched_setaffinity(self._id, cores)

    def close(self) -> None:
        self._pool.shutdown()


def _few_cores() -> set[int]:
    """The cores that this process may use where they are two or three; else none."""
    cores = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else set()
    return cores if 1 < len(cores) <= _FEW_CORES else set()


@functools.cache
def _this_core() -> Callable[[], int]:
    """Linux's number of the core that the calling thread runs on."""
    core: Callable[[], int] = ctypes.CDLL(None).sched_getcpu
    return core
