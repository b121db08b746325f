"""ROUGE-L (Lin 2004) with the COCO caption evaluation's conventions (beta 1.2)."""

from collections.abc import Sequence

Tokens = Sequence[str]
_BETA = 1.2


def rouge_l(candidate: Tokens, references: Sequence[Tokens]) -> float:
    """F of the longest common subsequence, best precision and best recall over references, 0..1."""
    if not candidate:
        return 0.0
    common = [longest_common_subsequence(candidate, reference) for reference in references]
    precision = max(common) / len(candidate)
    recall = max(
        length / len(reference) if reference else 0.0
        for length, reference in zip(common, references, strict=True)
    )
    if precision == 0.0 or recall == 0.0:
        return 0.0
    return (1 + _BETA**2) * precision * recall / (recall + _BETA**2 * precision)


def longest_common_subsequence(first: Tokens, second: Tokens) -> int:
    """Length of the longest (not contiguous) common subsequence; O(len(first) len(second))."""
    row = [0] * (len(second) + 1)
    for word in first:
        diagonal = 0
        for index, other in enumerate(second, start=1):
            above = row[index]
            row[index] = diagonal + 1 if word == other else max(above, row[index - 1])
            diagonal = above
    return row[-1]
