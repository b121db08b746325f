"""What a model says, read back: one parser for each form of answer.

No text makes a parser raise. Each takes what can be understood and names the rest in ``problems``
(short codes, in a fixed order, each once), so that callers can use what is there and count answers
whose format fails. An answer without problems is written exactly as ``training`` writes it.
"""

import re
from typing import NamedTuple

import numpy as np

from tracevlm_ros.core.tokens import BINS, SPECIAL, dequantise, special_tokens
from tracevlm_ros.core.types import FloatArray

MAX_CHARACTERS = 65536
"""Longer answers are cut: a model that repeats itself must not stall a robot."""

Box = tuple[float, float, float, float]

_TRAJ = re.compile(rf"{re.escape(SPECIAL.traj_start)}(.*?){re.escape(SPECIAL.traj_end)}", re.DOTALL)
_POINT = re.compile(
    r"\(\s*(-?[0-9]{1,6}(?:\.[0-9]{1,6})?)\s*,\s*(-?[0-9]{1,6}(?:\.[0-9]{1,6})?)\s*\)"
)
_CLEAN = re.compile(r"(?:\((?:0|[1-9][0-9]{0,2}),(?:0|[1-9][0-9]{0,2})\)(?:,(?=\()|$))+")
_SPACE = re.compile(r"\s+")
_OTHER = re.compile(
    "|".join(
        re.escape(token)
        for token in special_tokens()
        if token not in (SPECIAL.seg, SPECIAL.traj_start, SPECIAL.traj_end)
    )
)


class TextAnswer(NamedTuple):
    """``text`` without special tokens; ``wants_mask`` when ``[SEG]`` was said."""

    text: str
    wants_mask: bool
    problems: tuple[str, ...]


class TraceAnswer(NamedTuple):
    """``points`` (K, 2) in 0..1, maybe none."""

    points: FloatArray
    problems: tuple[str, ...]


class SaidAndDrawn(NamedTuple):
    """A phrase and the points (K, 2) drawn while it was said, maybe none."""

    text: str
    points: FloatArray


class JointAnswer(NamedTuple):
    """Phrases with their traces, in order."""

    parts: tuple[SaidAndDrawn, ...]
    problems: tuple[str, ...]

    @property
    def caption(self) -> str:
        """All phrases as one text."""
        return " ".join(part.text for part in self.parts if part.text)

    @property
    def points(self) -> FloatArray:
        """All points (K, 2), in order."""
        return np.concatenate([np.zeros((0, 2)), *(part.points for part in self.parts)])


class BoxAnswer(NamedTuple):
    """(x1, y1, x2, y2) in 0..1, x1 <= x2, y1 <= y2."""

    boxes: tuple[Box, ...]
    problems: tuple[str, ...]


class NamedBox(NamedTuple):
    """What lies in ``box``."""

    text: str
    box: Box


class GroundingAnswer(NamedTuple):
    """The things that a trace is about, each with its box, in the order of the trace."""

    parts: tuple[NamedBox, ...]
    problems: tuple[str, ...]


class _Problems(dict[str, None]):
    """Codes in the order in which they were found, each once."""

    def note(self, code: str, holds: bool = True) -> None:
        if holds:
            self[code] = None


def parse_text(text: str) -> TextAnswer:
    """A caption or answer in words, with or without ``[SEG]`` at its end."""
    problems = _Problems()
    text = _within_limit(text, problems)
    said, mark, after = text.partition(SPECIAL.seg)
    rest = _OTHER.sub("", after).replace(SPECIAL.seg, "")
    problems.note("text_after_seg", bool(rest.strip()))
    problems.note("seg_repeated", SPECIAL.seg in after)
    problems.note("traj_in_text", SPECIAL.traj_start in said or SPECIAL.traj_end in said)
    words = _plain(said, problems)
    problems.note("empty", not words and not mark)
    return TextAnswer(words, bool(mark), tuple(problems))


def parse_mask(text: str) -> TextAnswer:
    """An answer that is only ``[SEG]``."""
    found = parse_text(text)
    problems = _Problems()
    for code in found.problems:
        problems.note(code)
    problems.note("text_before_seg", found.wants_mask and bool(found.text))
    problems.note("seg_missing", not found.wants_mask)
    return found._replace(problems=tuple(problems))


def parse_trace(text: str) -> TraceAnswer:
    """``<traj>(x,y),...</traj>`` and nothing else. Of several traces the first counts."""
    problems = _Problems()
    text = _within_limit(text, problems)
    found = list(_TRAJ.finditer(text))
    if found:
        inside, outside = found[0].group(1), _TRAJ.sub("", text)
        problems.note("traj_repeated", len(found) > 1)
    else:
        inside, outside = _unclosed(text, problems)
    problems.note("text_outside_traj", bool(_plain(outside, _Problems())))
    points = _points(inside, problems)
    problems.note("trace_empty", not len(points))
    return TraceAnswer(points, tuple(problems))


def parse_joint(text: str) -> JointAnswer:
    """Phrases, each followed by the trace drawn while it was said: ``a man <traj>..</traj>``."""
    problems = _Problems()
    text = _within_limit(text, problems)
    parts, after = [], 0
    for match in _TRAJ.finditer(text):
        words = _plain(text[after : match.start()], problems)
        problems.note("traj_without_words", not words)
        points = _points(match.group(1), problems)
        problems.note("trace_empty", not len(points))
        parts.append(SaidAndDrawn(words, points))
        after = match.end()
    rest = text[after:]
    if SPECIAL.traj_start in rest:
        problems.note("traj_unclosed")
        words, _, inside = rest.partition(SPECIAL.traj_start)
        parts.append(SaidAndDrawn(_plain(words, problems), _points(inside, problems)))
    elif words := _plain(rest, problems):
        problems.note("words_without_traj")
        parts.append(SaidAndDrawn(words, np.zeros((0, 2))))
    problems.note("empty", not parts)
    return JointAnswer(tuple(parts), tuple(problems))


def parse_boxes(text: str) -> BoxAnswer:
    """``(x1,y1),(x2,y2)`` for each box; corners in any order are sorted, and that is a problem."""
    problems = _Problems()
    text = _within_limit(text, problems)
    points = _points(_OTHER.sub("", text).strip(), problems)
    problems.note("corner_missing", len(points) % 2 == 1)
    boxes = [
        _box(points[i], points[i + 1], problems) for i in range(0, len(points) // 2 * 2, 2)
    ]  # fmt: skip
    problems.note("box_missing", not boxes)
    return BoxAnswer(tuple(boxes), tuple(problems))


def parse_grounding(text: str) -> GroundingAnswer:
    """``a man (x1,y1),(x2,y2); a dog (x1,y1),(x2,y2)``: parts without name or box are left out."""
    problems = _Problems()
    text = _within_limit(text, problems)
    parts = []
    for part in text.split(";"):
        start = part.find("(")
        words = _plain(part if start < 0 else part[:start], problems)
        corners = _points("" if start < 0 else _OTHER.sub("", part[start:]).strip(), problems)
        problems.note("name_missing", not words)
        problems.note("box_missing", len(corners) < 2)
        problems.note("box_repeated", len(corners) > 2)
        if words and len(corners) >= 2:
            parts.append(NamedBox(words, _box(corners[0], corners[1], problems)))
    return GroundingAnswer(tuple(parts), tuple(problems))


def _within_limit(text: str, problems: _Problems) -> str:
    problems.note("too_long", len(text) > MAX_CHARACTERS)
    return text[:MAX_CHARACTERS]


def _plain(text: str, problems: _Problems) -> str:
    """Words without special tokens, single spaces between."""
    kept = _OTHER.sub(" ", text)
    problems.note("special_token_in_text", kept != text)
    for token in (SPECIAL.traj_start, SPECIAL.traj_end, SPECIAL.seg):
        kept = kept.replace(token, " ")
    return _SPACE.sub(" ", kept).strip()


def _unclosed(text: str, problems: _Problems) -> tuple[str, str]:
    """Where no trace is complete: what was meant to be inside, and the rest."""
    before, mark, inside = text.partition(SPECIAL.traj_start)
    if mark:
        problems.note("traj_unclosed")
        return inside, before
    problems.note("traj_missing")
    return before, ""


def _points(inside: str, problems: _Problems) -> FloatArray:
    """Every ``(x,y)``; bins outside 0..999 are clipped, what lies between the points is skipped."""
    inside = inside.strip()
    if not inside:
        return np.zeros((0, 2))
    found = [(float(x), float(y)) for x, y in _POINT.findall(inside)]
    problems.note("points_malformed", _CLEAN.fullmatch(inside) is None)
    bins = np.array(found, np.float64).reshape(-1, 2)
    problems.note("coordinate_out_of_range", bool(((bins < 0) | (bins >= BINS)).any()))
    return dequantise(np.floor(np.clip(bins, 0, BINS - 1)))


def _box(one: FloatArray, two: FloatArray, problems: _Problems) -> Box:
    low, high = np.minimum(one, two), np.maximum(one, two)
    problems.note("corners_swapped", bool((one > two).any()))
    return float(low[0]), float(low[1]), float(high[0]), float(high[1])
