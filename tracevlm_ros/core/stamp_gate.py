"""Doubting stamps that jump, until enough of them agree (docs/adr/0003-time-and-order.md)."""

from dataclasses import dataclass
from typing import Generic, TypeVar

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Verdict(Generic[T]):
    """What became of one item and of those held before it.

    ``accepted`` in order of stamps when they were held, ``refused`` how many held items turned out
    to be glitches, ``jumped_back`` and ``jumped_forward`` tell that a jump was just confirmed.
    """

    accepted: tuple[T, ...] = ()
    refused: int = 0
    jumped_back: bool = False
    jumped_forward: bool = False


class StampGate(Generic[T]):
    """Lets a stream pass, but holds items whose stamp is implausibly far from the newest one.

    ``confirm_count`` such items in a row, all on the same side, confirm a jump (a bag loop, a seek,
    a clock set anew) and pass together; one plausible item in between refutes those held. At most
    ``confirm_count - 1`` items are held.
    """

    def __init__(self, back_ns: int, forward_ns: int, confirm_count: int) -> None:
        self._back_ns = back_ns
        self._forward_ns = forward_ns
        self._confirm_count = confirm_count
        self._newest_ns: int | None = None
        self._held: list[tuple[int, T]] = []
        self._held_side = 0

    @property
    def held_count(self) -> int:
        """Items held in doubt."""
        return len(self._held)

    def admit(self, stamp_ns: int, item: T) -> Verdict[T]:
        """Judge one item in order of arrival."""
        side = self._side(stamp_ns)
        refused = 0
        if self._held and side != self._held_side:
            refused = len(self._held)
            self._held.clear()
        if side == 0:
            self._newest_ns = max(self._newest_ns or stamp_ns, stamp_ns)
            return Verdict((item,), refused)
        self._held.append((stamp_ns, item))
        self._held_side = side
        if len(self._held) < self._confirm_count:
            return Verdict((), refused)
        return self._confirm(refused)

    def _side(self, stamp_ns: int) -> int:
        if self._newest_ns is None:
            return 0
        if stamp_ns < self._newest_ns - self._back_ns:
            return -1
        return 1 if stamp_ns > self._newest_ns + self._forward_ns else 0

    def _confirm(self, refused: int) -> Verdict[T]:
        last_ns = self._held[-1][0]
        agreeing = [held for held in self._held if held[0] <= last_ns + self._back_ns]
        agreeing.sort(key=lambda held: held[0])
        refused += len(self._held) - len(agreeing)
        self._held.clear()
        self._newest_ns = agreeing[-1][0]
        accepted = tuple(item for _, item in agreeing)
        return Verdict(accepted, refused, self._held_side < 0, self._held_side > 0)
