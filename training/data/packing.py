"""Several samples in one row of fixed length, none of which can see another.

Every token carries the number of its sample; attention is causal within a number and shut between
numbers. Rope ids stay those of the sample alone, on all three axes. So a packed sample gives the
logits that it gives by itself.
"""

from collections.abc import Sequence as Many
from dataclasses import dataclass
from typing import Generic, NamedTuple, TypeVar

import numpy as np

from tracevlm_ros.core.settings import require_range
from tracevlm_ros.core.types import IntArray
from training.data.sequences import Sequence
from training.model.patch_heads import IGNORED

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True, slots=True)
class PackConfig:
    """``length`` tokens a row; up to ``open_rows`` rows are filled at the same time, so that what
    fits a gap has time to come."""

    length: int = 2048
    open_rows: int = 16

    def __post_init__(self) -> None:
        require_range("length", self.length, 8, 1 << 20)
        require_range("open_rows", self.open_rows, 1, 1024)


class PackedRow(NamedTuple):
    """Tokens of one row: ``ids`` (L,), ``position_ids`` (3, L), ``segment_ids`` (L,) from 1 (0 is
    padding), ``targets`` (L,) the next token where it has to be said, else IGNORED; ``starts``
    says where each sample begins."""

    ids: IntArray
    position_ids: IntArray
    segment_ids: IntArray
    targets: IntArray
    starts: tuple[int, ...]


class Packer(Generic[T]):
    """Puts items into the fullest open row that still has room for them (best fit); where none has,
    the oldest row is closed. So no item waits for ever, and rows that show the same pictures come
    out one after the other: a batch encodes them once.

    Deterministic: what comes out depends on the order of what went in alone. ``rows`` is the whole
    state: the items of each open row, in order, oldest row first.
    """

    def __init__(self, config: PackConfig) -> None:
        self._config = config
        self.rows: list[list[tuple[int, T]]] = []

    def fits(self, length: int) -> bool:
        """Whether an item of ``length`` tokens can be packed at all."""
        return 0 < length <= self._config.length

    def add(self, length: int, item: T) -> list[T] | None:
        """Take an item; a row that had to be closed to make room for it, or None.

        ValueError for an item that does not fit; ask ``fits`` first.
        """
        if not self.fits(length):
            raise ValueError(f"an item of {length} tokens; a row holds {self._config.length}")
        filled = [sum(size for size, _ in row) for row in self.rows]
        room = [place for place, used in enumerate(filled) if used + length <= self._config.length]
        if room:
            self.rows[max(room, key=lambda place: filled[place])].append((length, item))
            return None
        closed = None
        if len(self.rows) >= self._config.open_rows:
            closed = [kept for _, kept in self.rows.pop(0)]
        self.rows.append([(length, item)])
        return closed


def pack_row(sequences: Many[Sequence], length: int, pad: int) -> PackedRow:
    """One row of ``length`` tokens; ValueError when ``sequences`` need more."""
    used = sum(len(sequence.ids) for sequence in sequences)
    if used > length:
        raise ValueError(f"{used} tokens do not fit into a row of {length}")
    ids, segments = np.full(length, pad, np.int64), np.zeros(length, np.int64)
    positions, targets = np.zeros((3, length), np.int64), np.full(length, IGNORED, np.int64)
    starts, start = [], 0
    for number, sequence in enumerate(sequences, 1):
        end = start + len(sequence.ids)
        ids[start:end], segments[start:end] = sequence.ids, number
        positions[:, start:end] = sequence.position_ids
        said = np.where(sequence.learned[1:], sequence.ids[1:], IGNORED)
        targets[start : end - 1] = said
        starts.append(start)
        start = end
    return PackedRow(ids, positions, segments, targets, tuple(starts))
