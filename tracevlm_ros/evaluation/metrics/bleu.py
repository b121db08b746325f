"""BLEU-1..4 (Papineni et al. 2002) with the COCO caption evaluation's conventions."""

import math
from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

Tokens = Sequence[str]
_TINY, _SMALL = 1e-15, 1e-9


class _Counts(NamedTuple):
    """Clipped matches and n-grams said, per order; lengths of candidate and closest reference."""

    correct: tuple[int, ...]
    guessed: tuple[int, ...]
    length: int
    reference_length: int


def ngrams(tokens: Tokens, order: int) -> Counter[tuple[str, ...]]:
    """Count the n-grams of exactly ``order`` words."""
    return Counter(tuple(tokens[i : i + order]) for i in range(len(tokens) - order + 1))


def bleu(
    candidates: Sequence[Tokens], references: Sequence[Sequence[Tokens]], highest: int = 4
) -> list[float]:
    """Corpus BLEU-1..``highest`` of one candidate each against its references, 0..1."""
    counts = [_count(c, r, highest) for c, r in zip(candidates, references, strict=True)]
    return _score(
        _Counts(
            tuple(sum(one.correct[k] for one in counts) for k in range(highest)),
            tuple(sum(one.guessed[k] for one in counts) for k in range(highest)),
            sum(one.length for one in counts),
            sum(one.reference_length for one in counts),
        )
    )


def sentence_bleu(candidate: Tokens, references: Sequence[Tokens], highest: int = 4) -> list[float]:
    """BLEU-1..``highest`` of one caption; near zero where an order has no match (unsmoothed)."""
    return _score(_count(candidate, references, highest))


def _count(candidate: Tokens, references: Sequence[Tokens], highest: int) -> _Counts:
    correct = []
    for order in range(1, highest + 1):
        most: Counter[tuple[str, ...]] = Counter()
        for reference in references:
            most |= ngrams(reference, order)
        correct.append(sum((ngrams(candidate, order) & most).values()))
    length = len(candidate)
    closest = min((abs(len(reference) - length), len(reference)) for reference in references)[1]
    guessed = tuple(max(0, length - order + 1) for order in range(1, highest + 1))
    return _Counts(tuple(correct), guessed, length, closest)


def _score(counts: _Counts) -> list[float]:
    scores, product = [], 1.0
    ratio = (counts.length + _TINY) / (counts.reference_length + _SMALL)
    penalty = math.exp(1.0 - 1.0 / ratio) if ratio < 1.0 else 1.0
    for order, (correct, guessed) in enumerate(
        zip(counts.correct, counts.guessed, strict=True), start=1
    ):
        product *= (correct + _TINY) / (guessed + _SMALL)
        scores.append(product ** (1.0 / order) * penalty)
    return scores
