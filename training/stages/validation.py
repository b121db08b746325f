"""How a run does on held-out data: loss terms, and how many free answers are malformed."""

from collections import Counter
from collections.abc import Iterator
from typing import Any

import torch

from training.answering import Answerer
from training.data.naming import HELD_OUT_SYNTHETIC, open_data
from training.data.packed_stream import PackedStream, Sample
from training.data.sharding import ShardConfig
from training.sampling import SamplingConfig
from training.stages.building import picture_side, tree_plan
from training.stages.network import StageNetwork
from training.stages.parallel import Processes
from training.stages.settings import StageConfig

TERMS = ("text", "ref", "dice")
_ANSWER_TOKENS = 128


class Validation:
    """The same held-out rows each time. Free answers are given by one process alone: where the
    network is sharded they are left out."""

    def __init__(self, config: StageConfig, stage: StageNetwork[Any], processes: Processes) -> None:
        self._config, self._stage, self._processes = config, stage, processes

    def is_due(self, step: int) -> bool:
        plan = self._config.validation
        return plan.every > 0 and (step == plan.first or step % plan.every == 0)

    def scores(self) -> dict[str, float]:
        """Mean ``text`` loss per token, ``ref`` and ``dice`` per mask, unweighted; ``malformed``
        share of free answers, where any were asked for."""
        self._stage.eval()
        try:
            found = self._losses()
            if self._config.validation.answers and self._processes.world == 1:
                found["malformed"] = self._malformed()
            return found
        finally:
            self._stage.train()

    @torch.no_grad()
    def _losses(self) -> dict[str, float]:
        """Every process runs as often as every other: sharded layers need all of them."""
        processes, rows = self._processes, self._config.validation.rows
        sums, tokens, masks = [0.0, 0.0, 0.0], 0, 0
        stream = self._stream()
        for first in range(0, rows, processes.world):
            group = [next(stream) for _ in range(processes.world)]
            batch = self._stage.collate([group[processes.rank]], self._config.packing.length)
            terms = self._stage(self._stage.to_device(batch, processes.device))
            if first + processes.rank < rows:
                counts = self._stage.counts(batch)
                tokens, masks = tokens + counts.tokens, masks + counts.masks
                sums = [s + float(terms[name]) for s, name in zip(sums, TERMS, strict=True)]
        *totals, tokens_all, masks_all = processes.total([*sums, tokens, masks])
        divisors = (tokens_all, masks_all, masks_all)
        return {
            name: total / divisor
            for name, total, divisor in zip(TERMS, totals, divisors, strict=True)
            if divisor
        }

    def _malformed(self) -> float:
        """Share of answers in which a parser found a problem."""
        answerer = Answerer(self._stage, SamplingConfig(limit=_ANSWER_TOKENS))
        samples = self._samples(self._config.validation.answers)
        return sum(bool(problems(answerer, sample)) for sample in samples) / len(samples)

    def _samples(self, count: int) -> list[Sample]:
        stream = self._stream()
        found: list[Sample] = []
        while len(found) < count:
            found += next(stream).samples
        by_task: Counter[str] = Counter()
        order: list[tuple[int, int]] = []
        for sample in found:
            order.append((by_task[sample.branch.task], len(order)))
            by_task[sample.branch.task] += 1
        return [found[place] for _, place in sorted(order)[:count]]

    def _stream(self) -> Iterator[Any]:
        config = self._config
        names = config.validation.data or (HELD_OUT_SYNTHETIC,)
        trees = self._stage.tree_config(tree_plan(config))
        readers = open_data(names, picture_side(self._stage, config), training=False)
        sharding = ShardConfig(seed=0)
        return PackedStream(readers, self._stage.encoder, trees, config.packing, sharding)


def problems(answerer: Answerer, sample: Sample) -> tuple[str, ...]:
    """What is wrong with the form of the free answer to the first question of ``sample``."""
    branch = sample.branch._replace(exchanges=sample.branch.exchanges[:1])
    return answerer.answer(sample.images, branch).parsed.problems
