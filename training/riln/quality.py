"""Checks of what teachers wrote: consistency with the facts, overlap with evaluation texts, and a
sheet on which people judge a sample."""

import csv
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from tracevlm_ros.core.answers import Box, parse_grounding
from tracevlm_ros.synthetic import vocabulary
from training.riln.facts import Facts
from training.riln.samples import SYNTHESIS, TURNS, RilnSample, Turn

GRAM = 5
MOST_OVERLAP = 0.05
REVIEWED = 2000
_LEAST_IOU = 0.5
_MAX_ANSWER = 600
_WORD = re.compile(r"[a-z0-9]+")
_VALUES: dict[str, tuple[str, ...]] = {
    "colour": vocabulary.COLOURS,
    "texture": vocabulary.TEXTURES,
    "size": vocabulary.SIZES,
    "shape": vocabulary.SHAPES,
}


def turn_problem(turn: Turn, facts: Facts, asked: tuple[str, ...]) -> str:
    """Why a turn cannot be used, as a counter's name; empty when it can."""
    question, answer = turn.question.strip().lower(), turn.answer.strip().lower()
    checks = (
        ("turn_empty", not question or not answer),
        ("question_repeated", question in (text.strip().lower() for text in asked)),
        ("answer_too_long", len(answer) > _MAX_ANSWER),
        ("answer_in_question", len(answer.split()) > 2 and answer in question),
        ("reasoning_missing", not turn.reasoning),
        ("box_inconsistent", _boxes_off(turn.answer, facts)),
        ("attribute_inconsistent", _attributes_off(turn, facts)),
    )
    return next((name for name, holds in checks if holds), "")


def dialogue_problem(sample: RilnSample) -> str:
    """Why a dialogue cannot be used; empty when it can."""
    if not TURNS[0] <= len(sample.turns) <= TURNS[1]:
        return "dialogue_length"
    return "" if sample.turns[-1].kind == SYNTHESIS else "dialogue_without_synthesis"


def _boxes_off(answer: str, facts: Facts) -> bool:
    """Whether a box in ``answer`` is malformed or is that of nothing known."""
    if "(" not in answer or "),(" not in answer:
        return False
    found = parse_grounding(answer)
    known = [thing.box for thing in (*facts.traced, *facts.others)]
    if found.problems or not known:
        return bool(found.problems)
    return any(max(iou(part.box, box) for box in known) < _LEAST_IOU for part in found.parts)


def _attributes_off(turn: Turn, facts: Facts) -> bool:
    """Whether a short answer to a question for an attribute names another value than the truth."""
    if not facts.traced or turn.kind == SYNTHESIS or len(turn.answer.split()) > 3:
        return False
    for name, value in facts.traced[0].attributes.items():
        said = [word for word in _VALUES.get(name, ()) if word in turn.answer.lower().split()]
        if name in turn.question.lower() and said and value not in said:
            return True
    return False


def iou(one: Box, two: Box) -> float:
    """Of two boxes in shares."""
    width = min(one[2], two[2]) - max(one[0], two[0])
    height = min(one[3], two[3]) - max(one[1], two[1])
    both = max(0.0, width) * max(0.0, height)
    areas = [(box[2] - box[0]) * (box[3] - box[1]) for box in (one, two)]
    return both / max(1e-9, sum(areas) - both)


def grams(text: str) -> set[tuple[str, ...]]:
    """Every stretch of five words, letters and digits alone, in lower case."""
    words = _WORD.findall(text.lower())
    return {tuple(words[i : i + GRAM]) for i in range(len(words) - GRAM + 1)}


class Overlap:
    """How many of the five-word stretches of what was written occur in evaluation texts."""

    def __init__(self, evaluation: Iterable[str]) -> None:
        self._known: set[tuple[str, ...]] = set()
        for text in evaluation:
            self._known |= grams(text)
        self.seen = self.shared = 0

    def add(self, sample: RilnSample) -> None:
        for turn in sample.turns:
            found = grams(f"{turn.question} {turn.answer}")
            self.seen += len(found)
            self.shared += len(found & self._known)

    @property
    def share(self) -> float:
        """0 to 1; to stay below ``MOST_OVERLAP``."""
        return self.shared / max(1, self.seen)


def write_review_sheet(path: Path, samples: list[dict[str, Any]], rng: np.random.Generator) -> int:
    """A table of ``REVIEWED`` turns drawn at random, with empty columns for a person's verdict;
    gives how many."""
    turns = [
        (sample["key"], number, turn)
        for sample in samples
        for number, turn in enumerate(sample["turns"])
    ]
    chosen = rng.permutation(len(turns))[:REVIEWED]
    with path.open("w", newline="", encoding="utf-8") as file:
        sheet = csv.writer(file)
        sheet.writerow(["key", "turn", "kind", "level", "question", "reasoning", "answer",
                        "right (yes/no)", "needs the trace (yes/no)", "remark"])  # fmt: skip
        for place in sorted(chosen.tolist()):
            key, number, turn = turns[place]
            steps = " -> ".join(turn["reasoning"])
            sheet.writerow([key, number, turn["kind"], turn["level"], turn["question"], steps,
                            turn["answer"], "", "", ""])  # fmt: skip
    return len(chosen)
