"""CIDEr-D (Vedantam et al. 2015) as the COCO caption evaluation computes it.

The document frequencies come from the references that are evaluated, so the figures of a subset do
not compare with those of the whole. With one sample every frequency is its logarithm's zero and
the score is 0 by definition.
"""

import math
from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from tracevlm_ros.evaluation.metrics.bleu import Tokens, ngrams

_ORDERS = 4
_SIGMA = 6.0
Gram = tuple[str, ...]


class _Vector(NamedTuple):
    """TF-IDF per order, its norms, and the count of bigrams (the reference's length)."""

    weights: list[dict[Gram, float]]
    norms: list[float]
    length: int


def cider_d(candidates: Sequence[Tokens], references: Sequence[Sequence[Tokens]]) -> list[float]:
    """CIDEr-D of each sample, 0..10; their mean is the corpus score."""
    grams = [[_count(reference) for reference in group] for group in references]
    seen = Counter(
        gram for group in grams for gram in {gram for counts in group for gram in counts}
    )
    log_count = math.log(len(references)) if references else 0.0
    scores = []
    for candidate, group in zip(candidates, grams, strict=True):
        said = _vector(_count(candidate), seen, log_count)
        each = [_similarity(said, _vector(counts, seen, log_count)) for counts in group]
        scores.append(10.0 * float(np.mean(each)))
    return scores


def _count(tokens: Tokens) -> Counter[Gram]:
    counts: Counter[Gram] = Counter()
    for order in range(1, _ORDERS + 1):
        counts += ngrams(tokens, order)
    return counts


def _vector(counts: Counter[Gram], seen: Counter[Gram], log_count: float) -> _Vector:
    weights: list[dict[Gram, float]] = [{} for _ in range(_ORDERS)]
    for gram, count in counts.items():
        weights[len(gram) - 1][gram] = count * (log_count - math.log(max(1, seen[gram])))
    norms = [math.sqrt(sum(value**2 for value in one.values())) for one in weights]
    length = sum(count for gram, count in counts.items() if len(gram) == 2)
    return _Vector(weights, norms, length)


def _similarity(said: _Vector, reference: _Vector) -> float:
    """Mean over orders of the clipped cosine, with the Gaussian penalty on length."""
    penalty = math.exp(-((said.length - reference.length) ** 2) / (2 * _SIGMA**2))
    total = 0.0
    for order in range(_ORDERS):
        theirs = reference.weights[order]
        dot = sum(
            min(value, theirs[gram]) * theirs[gram]
            for gram, value in said.weights[order].items()
            if gram in theirs
        )
        norm = said.norms[order] * reference.norms[order]
        total += penalty * (dot / norm if norm else dot)
    return total / _ORDERS
