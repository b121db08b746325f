"""Hand-over between threads that never blocks the giver: the newest wins, drops are counted."""

import threading
from collections import OrderedDict, deque
from collections.abc import Callable, Hashable
from typing import Generic, NamedTuple, TypeVar

from tracevlm_ros.core.drops import Drops

T = TypeVar("T")


class Inbox:
    """One condition that several queues of one consumer share, so that it can wait for any."""

    def __init__(self) -> None:
        self.changed = threading.Condition()
        self.drops = Drops()

    def count_drop(self, reason: str, count: int = 1) -> None:
        """Count drops from any thread."""
        with self.changed:
            self.drops[reason] += count

    def drops_now(self) -> Drops:
        """A copy of the counts so far."""
        with self.changed:
            return Drops(self.drops)

    def wait_for(self, ready: Callable[[], bool], timeout_s: float | None) -> bool:
        """Block until ``ready()`` (called with the condition held) or the time is up."""
        with self.changed:
            return self.changed.wait_for(ready, timeout_s)

    def wake(self) -> None:
        """Make every waiter look again."""
        with self.changed:
            self.changed.notify_all()


class NewestQueue(Generic[T]):
    """First in, first out, at most ``depth`` items: a full queue drops its oldest, counted."""

    def __init__(self, inbox: Inbox, depth: int, full_reason: str) -> None:
        self._inbox = inbox
        self._items: deque[T] = deque()
        self._depth = depth
        self._full_reason = full_reason

    def __len__(self) -> int:
        return len(self._items)

    def put(self, item: T) -> None:
        """Never blocks."""
        with self._inbox.changed:
            self._items.append(item)
            self._shrink()
            self._inbox.changed.notify_all()

    def set_depth(self, depth: int) -> None:
        """Change the capacity; what no longer fits is dropped, oldest first, and counted."""
        with self._inbox.changed:
            self._depth = depth
            self._shrink()

    def _shrink(self) -> None:
        while len(self._items) > self._depth:
            self._items.popleft()
            self._inbox.drops[self._full_reason] += 1

    def take(self) -> T | None:
        """The oldest item, or None."""
        with self._inbox.changed:
            return self._items.popleft() if self._items else None

    def clear(self, reason: str) -> None:
        """Drop everything, counted under ``reason``."""
        with self._inbox.changed:
            if self._items:
                self._inbox.drops[reason] += len(self._items)
            self._items.clear()

    def take_all(self) -> list[T]:
        """Every item, oldest first."""
        with self._inbox.changed:
            items = list(self._items)
            self._items.clear()
            return items


class Replaced(NamedTuple):
    """Reasons under which a KeyedMailbox counts what it drops."""

    superseded: str
    full: str


class KeyedMailbox(Generic[T]):
    """Newest item per key, served in the order in which keys first came.

    A newer item takes the place of the waiting one with the same key (``superseded``); beyond
    ``depth`` keys the one that waited longest goes (``full``).
    """

    def __init__(self, inbox: Inbox, depth: int, reasons: Replaced) -> None:
        self._inbox = inbox
        self._items: OrderedDict[Hashable, T] = OrderedDict()
        self._depth = depth
        self._reasons = reasons

    def __len__(self) -> int:
        return len(self._items)

    def put(self, key: Hashable, item: T) -> None:
        """Never blocks."""
        with self._inbox.changed:
            if key in self._items:
                self._inbox.drops[self._reasons.superseded] += 1
            elif len(self._items) >= self._depth:
                self._items.popitem(last=False)
                self._inbox.drops[self._reasons.full] += 1
            self._items[key] = item
            self._inbox.changed.notify_all()

    def take(self) -> T | None:
        """The item of the key that waits longest, or None."""
        with self._inbox.changed:
            return self._items.popitem(last=False)[1] if self._items else None

    def take_run(self, limit: int, belongs: Callable[[T], bool]) -> list[T]:
        """The item of the key that waits longest, and after one that ``belongs`` those behind it
        that do, at most ``limit``; none when nothing waits."""
        taken: list[T] = []
        with self._inbox.changed:
            while self._items and len(taken) < limit:
                item = next(iter(self._items.values()))
                if taken and not (belongs(taken[0]) and belongs(item)):
                    break
                taken.append(self._items.popitem(last=False)[1])
        return taken

    def clear(self, reason: str) -> None:
        """Drop everything, counted under ``reason``."""
        with self._inbox.changed:
            if self._items:
                self._inbox.drops[reason] += len(self._items)
            self._items.clear()
