"""How many of the reference's content words were said: readable where captions are attributes."""

from collections.abc import Sequence

Tokens = Sequence[str]
_FUNCTION_WORDS = frozenset(
    ["a", "an", "the", "of", "at", "in", "on", "to", "and", "or", "is", "are", "was", "were", "be",
     "it", "its", "this", "that", "with", "by", "for", "from", "as"]
)  # fmt: skip


def word_recall(candidate: Tokens, references: Sequence[Tokens]) -> float:
    """Share of the distinct content words of a reference that the caption holds, 0..1; the best
    reference counts. A reference without content words counts as not said."""
    said = set(candidate)
    shares = []
    for reference in references:
        words = set(reference) - _FUNCTION_WORDS
        shares.append(len(words & said) / len(words) if words else 0.0)
    return max(shares, default=0.0)
