"""Work that may run beside other work: the caller has threads, the core has none."""

from collections.abc import Callable
from typing import Protocol, TypeVar

T = TypeVar("T")


class Beside(Protocol):
    """Begins ``work`` in another thread at once."""

    def __call__(self, work: Callable[[], T]) -> Callable[[], T]:
        """What comes back waits for the result, and raises what ``work`` raised."""
