"""Words grouped into phrases, and phrases tied to what was drawn while they were said.

The paper asks a language model for phrases; here a phrase ends with a word that names a thing.
"""

from typing import NamedTuple

import numpy as np

from tracevlm_ros.core.answers import SaidAndDrawn
from tracevlm_ros.core.attention.words import MAX_IMPORTANCE, word_importance
from training.data.readers.alignment import WORDLESS, NarrativeKeypoints
from training.data.readers.records import Narrative


class SpokenPhrase(NamedTuple):
    """``head`` is the word that names a thing, maybe none; ``words`` counts in order of time."""

    text: str
    head: str
    words: range


def phrases_of(narrative: Narrative) -> tuple[SpokenPhrase, ...]:
    """Words up to and with the next one that names a thing; the rest joins the last phrase."""
    order = sorted(range(len(narrative.words)), key=lambda i: narrative.words[i].start_ns)
    texts = [narrative.words[index].text.strip() for index in order]
    ends = [
        place + 1
        for place, text in enumerate(texts)
        if max((word_importance(word) for word in text.split()), default=1) == MAX_IMPORTANCE
    ]
    if not ends:
        return (SpokenPhrase(" ".join(texts), "", range(len(texts))),) if texts else ()
    starts = [0, *ends[:-1]]
    last = [*ends[:-1], len(texts)]
    return tuple(
        SpokenPhrase(" ".join(texts[a:b]), texts[end - 1].strip(" .,;:!?"), range(a, b))
        for a, b, end in zip(starts, last, ends, strict=True)
    )


def said_and_drawn(
    narrative: Narrative, keypoints: NarrativeKeypoints, limit: int
) -> list[tuple[SpokenPhrase, SaidAndDrawn]]:
    """Phrases with the keypoints of their words; a phrase without any joins the next one (the last
    joins the one before)."""
    order = sorted(range(len(narrative.words)), key=lambda i: narrative.words[i].start_ns)
    place = np.full(len(narrative.words) + 1, WORDLESS)
    place[order] = np.arange(len(order))
    rank = place[keypoints.word]
    kept = np.isin(
        np.arange(len(rank)), np.unique(np.linspace(0, len(rank) - 1, limit).round().astype(int))
    )
    found: list[tuple[SpokenPhrase, SaidAndDrawn]] = []
    waiting = ""
    for phrase in phrases_of(narrative):
        own = kept & (rank >= phrase.words.start) & (rank < phrase.words.stop)
        text = f"{waiting} {phrase.text}".strip()
        waiting = "" if own.any() else text
        if own.any():
            found.append((phrase, SaidAndDrawn(text, keypoints.xy[own])))
    if waiting and found:
        phrase, part = found[-1]
        found[-1] = (phrase, part._replace(text=f"{part.text} {waiting}"))
    return found
