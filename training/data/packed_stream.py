"""Readers -> records -> message trees -> sequences -> packed rows, resumable to the exact next row.

What a shard gives depends on the data, the settings and the seed alone. Its state is small: how
many records and branches it has gone through, and which branches wait in open rows; those are read
again when resuming. Each row carries the state after it, so a loader that reads ahead resumes from
the last row that was *used*.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from tracevlm_ros.core.drops import Drops
from tracevlm_ros.core.errors import ConfigError, InputError
from tracevlm_ros.core.types import Image
from training.data.messages import Branch, MessageTree, TreeConfig
from training.data.packing import PackConfig, Packer
from training.data.readers.source import Reader
from training.data.sequences import Encoder
from training.data.sequences import Sequence as TokenSequence
from training.data.sharding import Address, ShardConfig, ShardedOrder
from training.data.trees import build_tree


class Sample(NamedTuple):
    """One branch of a tree, ready to be packed; (``place``, ``number``) finds it again."""

    place: int
    number: int
    tree: MessageTree
    branch: Branch
    sequence: TokenSequence

    @property
    def images(self) -> tuple[Image, ...]:
        """The pictures that this sample sees."""
        return self.tree.images if self.branch.images is None else self.branch.images

    @property
    def owner(self) -> int:
        """-1 where the pictures are those of the tree, else this sample's own number."""
        return -1 if self.branch.images is None else self.number


class Row(NamedTuple):
    """Samples of one packed row, and the state of the stream after it."""

    samples: tuple[Sample, ...]
    state: dict[str, Any]


class PackedStream(Iterator[Row]):
    """Endless. InputError when a whole epoch yields nothing that can be packed."""

    def __init__(
        self,
        readers: Sequence[Reader],
        encoder: Encoder,
        trees: TreeConfig,
        packing: PackConfig,
        sharding: ShardConfig,
    ) -> None:
        self._readers, self._encoder = readers, encoder
        self._trees, self._sharding = trees, sharding
        self._order = ShardedOrder([len(reader) for reader in readers], sharding)
        self._packer: Packer[Sample] = Packer(packing)
        self._own, self._carried = Drops(), Drops()
        self._taken = self._branch = 0
        self._tree: MessageTree | None = None
        self._kind = {
            "records": len(self._order),
            "readers": [[reader.name, reader.split, len(reader)] for reader in readers],
            "sharding": repr(sharding),
            "packing": repr(packing),
            "trees": repr(trees),
        }

    @property
    def shards(self) -> int:
        """Streams that share the records."""
        return self._sharding.shards

    @property
    def records(self) -> int:
        """Records in one epoch, over all shards."""
        return len(self._order)

    @property
    def drops(self) -> Drops:
        """What was left out so far and why, readers included; it outlives a resume."""
        total = Drops(self._carried)
        for part in (self._own, *(reader.drops for reader in self._readers)):
            total.update(part)
        return Drops(+total)

    def __next__(self) -> Row:
        barren = 0
        while True:
            sample = self._next_sample()
            if sample is None:
                barren += 1
                if barren > len(self._order):
                    raise InputError(
                        f"{barren} records in a row gave no sample ({dict(self.drops)}); "
                        "check the paths of the pictures and the tasks"
                    )
                continue
            barren = 0
            closed = self._packer.add(len(sample.sequence.ids), sample)
            if closed is not None:
                return Row(tuple(closed), self.state_dict())

    def state_dict(self) -> dict[str, Any]:
        """Numbers and texts alone, so that JSON holds it."""
        return {
            **self._kind,
            "taken": self._taken,
            "branch": self._branch,
            "rows": [[[s.place, s.number] for _, s in row] for row in self._packer.rows],
            "drops": dict(self.drops),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on where ``state`` was taken. ConfigError when data or settings are others; InputError
        when a sample that waited can no longer be read."""
        for key, value in self._kind.items():
            if state.get(key) != value:
                raise ConfigError(
                    f"the stream's state has {key} {state.get(key)!r}, now it is {value!r}; "
                    "resume with the same data and settings, or start afresh"
                )
        known: dict[int, MessageTree] = {}
        self._packer.rows = [
            [self._restored(place, number, known) for place, number in row] for row in state["rows"]
        ]
        self._taken, self._branch, self._tree = state["taken"], state["branch"], None
        if self._branch:
            self._tree = self._build(self._order.address(self._taken))
        self._carried = Drops()
        counted, stored = self.drops, state["drops"]
        self._carried = Drops(
            {key: stored.get(key, 0) - counted[key] for key in {*counted, *stored}}
        )

    def _next_sample(self) -> Sample | None:
        """The next branch that can be packed; None at the end of a record."""
        address = self._order.address(self._taken)
        if self._tree is None:
            self._tree = self._build(address)
        while self._tree is not None and self._branch < len(self._tree.branches):
            sample = self._sample(address.place, self._branch, self._tree)
            self._branch += 1
            if self._packer.fits(len(sample.sequence.ids)):
                return sample
            self._own["sample_too_long"] += 1
        self._taken, self._branch, self._tree = self._taken + 1, 0, None
        return None

    def _build(self, address: Address) -> MessageTree | None:
        record = self._readers[address.reader].read(address.number)
        if record is None:
            return None
        rng = np.random.default_rng((self._sharding.seed, 1, address.place))
        try:
            tree = build_tree(record, self._trees, rng, self._own)
        except InputError:
            self._own["picture_damaged"] += 1
            return None
        if not tree.branches:
            self._own["record_without_task"] += 1
        return tree

    def _sample(self, place: int, number: int, tree: MessageTree) -> Sample:
        branch = tree.branches[number]
        size_hw = (tree.images[0].shape[0], tree.images[0].shape[1])
        sequence = self._encoder.encode(branch, len(tree.images), size_hw)
        return Sample(place, number, tree, branch, sequence)

    def _restored(
        self, place: int, number: int, known: dict[int, MessageTree]
    ) -> tuple[int, Sample]:
        if place not in known:
            tree = self._build(self._order.at(place))
            if tree is None:
                raise InputError(
                    f"the record at place {place} can no longer be read; restore the data or "
                    "start afresh"
                )
            known[place] = tree
        sample = self._sample(place, number, known[place])
        return len(sample.sequence.ids), sample
