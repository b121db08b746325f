"""Streams of packed rows -> micro-batches, read ahead in a process of their own where asked.

Each micro-batch carries the state of its stream after it. So a run resumes from the last batch that
was *used*, whatever had been read ahead.
"""

import signal
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import torch
from torch.utils.data import DataLoader, IterableDataset

from training.data.packed_stream import PackedStream
from training.stages.network import Counts, StageNetwork

READ_AHEAD = 4


class MicroBatch(NamedTuple):
    """``batch`` as the network's ``collate`` makes it; ``state`` of the stream after it; ``drops``
    so far by reason; ``epochs`` gone through so far."""

    batch: Any
    counts: Counts
    samples: int
    state: dict[str, Any]
    epochs: float


class MicroStream(IterableDataset[MicroBatch]):
    """Endless micro-batches of ``rows`` rows from the stream that ``open_stream`` opens."""

    def __init__(
        self,
        open_stream: Callable[[], PackedStream],
        network: StageNetwork[Any],
        rows: int,
        length: int,
        state: dict[str, Any] | None = None,
    ) -> None:
        self._open, self._network = open_stream, network
        self._rows, self._length, self._state = rows, length, state

    def __iter__(self) -> Iterator[MicroBatch]:
        stream = self._open()
        if self._state is not None:
            stream.load_state_dict(self._state)
        while True:
            rows = [next(stream) for _ in range(self._rows)]
            batch = self._network.collate(rows, self._length)
            state = rows[-1].state
            yield MicroBatch(
                batch,
                self._network.counts(batch),
                sum(len(row.samples) for row in rows),
                state,
                state["taken"] * stream.shards / stream.records,
            )


def read_ahead(stream: MicroStream, in_process: bool) -> Iterator[MicroBatch]:
    """Micro-batches of ``stream``; unless ``in_process`` another process makes them."""
    if in_process:
        return iter(stream)
    loader = DataLoader(
        stream,
        batch_size=None,
        num_workers=1,
        prefetch_factor=READ_AHEAD,
        worker_init_fn=_leave_signals_to_parent,
    )
    return iter(loader)


def _leave_signals_to_parent(_: int) -> None:
    """Ctrl-C reaches the whole group; the trainer ends its step first and then its workers."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    torch.set_num_threads(1)


def own_streams(count: int, rank: int, world: int) -> Sequence[int]:
    """Which of ``count`` streams process ``rank`` of ``world`` reads."""
    return range(rank, count, world)
