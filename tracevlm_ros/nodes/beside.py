"""A thread for what a pipeline can do beside its other work."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Generic, TypeVar

T = TypeVar("T")


class BesideThread(Generic[T]):
    """Call it with work: that begins at once, and what comes back waits for the result."""

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(max_workers=1, thread_name_prefix="beside")

    def __call__(self, work: Callable[[], T]) -> Callable[[], T]:
        return self._pool.submit(work).result

    def close(self) -> None:
        """End the thread; work in progress is finished."""
        self._pool.shutdown()
