"""What happens when memory runs out: the slow path is shed, so that the fast path goes on.

A description holds a cache that grows with every token, and what was prefilled of a trace is kept
for the next question. When a graph of the fast path finds no memory, both are given up and the
graph is tried once more; the description ends with an error that says so.
"""

import threading
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from engine.runtime.passes import Cache
from tracevlm_ros.core.errors import BackendError

T = TypeVar("T")
_PATIENCE_S = 1.0
"""For the description that is under way to notice; it looks after every token."""


class Prefixes(dict[int, Cache]):
    """What has been prefilled of each trace of one frame, by the trace's place."""


class MemoryPressure:
    """Shared by both paths of one engine. ``shed_count``: how often memory ran out."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._prefixes: weakref.WeakValueDictionary[int, Prefixes] = weakref.WeakValueDictionary()
        self._describing = 0
        self.shed_count = 0

    @property
    def note(self) -> str:
        """For ``EngineInfo.notes``; empty while memory has sufficed."""
        if not self.shed_count:
            return ""
        return (
            f"out of memory {self.shed_count} times: descriptions were given up so that masks go "
            "on; use a smaller model or precision, or free memory"
        )

    def new_prefixes(self) -> Prefixes:
        """Prefixes that are emptied when memory runs out."""
        prefixes = Prefixes()
        self._prefixes[id(prefixes)] = prefixes
        return prefixes

    @contextmanager
    def describing(self) -> Iterator[Callable[[], None]]:
        """Mark a description as under way; call what comes after every token.

        It raises BackendError (out of memory) once the fast path needs the memory.
        """
        with self._changed:
            self._describing += 1
            before = self.shed_count

        def look() -> None:
            if self.shed_count != before:
                raise BackendError(
                    "this description was given up: memory ran out and masks come first; use a "
                    "smaller model or precision, or free memory",
                    is_out_of_memory=True,
                )

        try:
            yield look
        finally:
            with self._changed:
                self._describing -= 1
                self._changed.notify_all()

    def fast(self, call: Callable[[], T]) -> T:
        """``call``, a piece of the fast path; once more after shedding when memory ran out."""
        try:
            return call()
        except BackendError as error:
            if not error.is_out_of_memory:
                raise
        with self._changed:
            self.shed_count += 1
            for prefixes in list(self._prefixes.values()):
                prefixes.clear()
            self._changed.wait_for(lambda: self._describing == 0, _PATIENCE_S)
        return call()
