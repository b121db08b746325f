"""Which record comes next, for whom: an endless shuffled order that needs one number to resume.

All records of all readers form one list. Epoch ``e`` goes through it in the order of a permutation
drawn from (seed, e). Shard ``s`` of ``n`` (every worker of every rank is one) takes places
s, s + n, s + 2n, ... of the endless concatenation of the epochs: no record is lost or doubled where
the count does not divide, and all shards go on for ever.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from tracevlm_ros.core.errors import ConfigError
from tracevlm_ros.core.settings import require_range
from tracevlm_ros.core.types import IntArray


@dataclass(frozen=True, kw_only=True, slots=True)
class ShardConfig:
    """Worker ``worker`` of ``workers`` on rank ``rank`` of ``world``. Without ``shuffle`` every
    epoch is in the order of the readers."""

    seed: int = 0
    rank: int = 0
    world: int = 1
    worker: int = 0
    workers: int = 1
    shuffle: bool = True

    def __post_init__(self) -> None:
        require_range("seed", self.seed, 0, 2**63)
        require_range("world", self.world, 1, 1 << 20)
        require_range("workers", self.workers, 1, 1 << 12)
        require_range("rank", self.rank, 0, self.world - 1)
        require_range("worker", self.worker, 0, self.workers - 1)

    @property
    def shard(self) -> int:
        return self.rank * self.workers + self.worker

    @property
    def shards(self) -> int:
        return self.world * self.workers


class Address(NamedTuple):
    """Record ``number`` of reader ``reader``, met at ``place`` of the endless order."""

    place: int
    reader: int
    number: int


class ShardedOrder:
    """``sizes``: records of each reader."""

    def __init__(self, sizes: Sequence[int], config: ShardConfig) -> None:
        self._ends = np.cumsum(sizes)
        self._total = int(self._ends[-1]) if len(sizes) else 0
        if self._total == 0:
            raise ConfigError(f"{len(sizes)} readers hold no record; give data to train on")
        self._config = config
        self._epoch = -1
        self._order: IntArray = np.zeros(0, np.int64)

    def __len__(self) -> int:
        """Records in one epoch, over all shards."""
        return self._total

    def address(self, taken: int) -> Address:
        """The record that this shard meets after ``taken`` others."""
        return self.at(self._config.shard + taken * self._config.shards)

    def at(self, place: int) -> Address:
        """The record at ``place`` of the endless order."""
        epoch, offset = divmod(place, self._total)
        number = int(self._order_of(epoch)[offset]) if self._config.shuffle else offset
        reader = int(np.searchsorted(self._ends, number, side="right"))
        before = int(self._ends[reader - 1]) if reader else 0
        return Address(place, reader, number - before)

    def _order_of(self, epoch: int) -> IntArray:
        if epoch != self._epoch:
            rng = np.random.default_rng((self._config.seed, epoch))
            self._order, self._epoch = rng.permutation(self._total), epoch
        return self._order
