"""The rule-based teacher: questions and answers that follow from what is known of a scene.

It serves synthetic scenes, whose truth is complete, and needs no network. Each question comes in
several wordings; answers are exact, so whatever a model gets wrong is the model's fault.
"""

from collections.abc import Callable

import numpy as np

from tracevlm_ros.core.answers import Box, NamedBox
from tracevlm_ros.core.types import Image
from training.data.templates import say_grounding
from training.riln.facts import Facts, Thing
from training.riln.samples import SYNTHESIS
from training.riln.teachers import Reasoned

WORDINGS: dict[tuple[str, str], tuple[str, ...]] = {
    ("interpretation", "global"): (
        "what is the trace about?",
        "what did i point at, in order?",
        "which things does the trace pass?",
    ),
    ("interpretation", "paragraph"): (
        "how does what i traced lie to the rest?",
        "describe what i traced and where it lies.",
    ),
    ("grounding", "object"): (
        "what is it, and where?",
        "name it with its box.",
    ),
    ("grounding", "local"): (
        "in which part of the picture is it?",
        "where in the picture did i point?",
    ),
    ("reasoning", "global"): (
        "how many things are in the picture besides?",
        "how many others are there?",
    ),
    ("reasoning", "object"): (
        "what {attribute} does it have?",
        "tell me its {attribute}.",
    ),
    ("reasoning", "paragraph"): (
        "is anything else of the same {attribute}?",
        "does another thing share its {attribute}?",
    ),
    ("reasoning", "local"): (
        "is it in the left or the right half?",
        "left half or right half?",
    ),
    (SYNTHESIS, "paragraph"): (
        "so, all together: what did i trace, where is it, and what did you first tell me?",
        "sum it up: what i traced, its place, and your first answer.",
    ),
}
ATTRIBUTES = ("colour", "texture", "size", "shape")


class RuleTeacher:
    """Asks and answers."""

    name = "rules"

    def ask(
        self, facts: Facts, _image: Image, kind: str, level: str, asked: tuple[str, ...],
        rng: np.random.Generator,
    ) -> str | None:  # fmt: skip
        """See ``teachers.Asker``; None where nothing is traced or every wording is used."""
        if not facts.traced:
            return None
        known = [name for name in ATTRIBUTES if name in facts.traced[0].attributes]
        forms = WORDINGS.get((kind, level), ())
        fresh = [
            form.format(attribute=name)
            for form in forms
            for name in (known if "{attribute}" in form else [""])
        ]
        fresh = [question for question in fresh if question not in asked]
        return fresh[int(rng.integers(len(fresh)))] if fresh else None

    def answer(
        self, facts: Facts, _image: Image, kind: str, level: str, question: str,
        before: tuple[tuple[str, str], ...],
    ) -> Reasoned | None:  # fmt: skip
        """See ``teachers.Answerer``."""
        if not facts.traced:
            return None
        thing = facts.traced[0]
        seen = f"the trace lies on {_a(thing.name)}"
        if kind == SYNTHESIS:
            return _summary(thing, seen, before)
        if kind == "reasoning" and level in ("object", "paragraph"):
            return _attribute(facts, thing, seen, question, shared=level == "paragraph")
        plain = _PLAIN.get((kind, level))
        return None if plain is None else plain(facts, thing, seen)


def _in_order(facts: Facts, _thing: Thing, seen: str) -> Reasoned:
    return Reasoned((seen,), ", then ".join(_a(one.name) for one in facts.traced))


def _with_boxes(facts: Facts, _thing: Thing, seen: str) -> Reasoned:
    parts = [NamedBox(one.name, one.box) for one in facts.traced]
    return Reasoned((seen, "its edges give the box"), say_grounding(parts))


def _place(_facts: Facts, thing: Thing, seen: str) -> Reasoned:
    return Reasoned((seen, _middle_said(thing.box)), part_of_picture(thing.box))


def _besides(facts: Facts, _thing: Thing, seen: str) -> Reasoned:
    count = len(facts.others)
    return Reasoned((seen, f"besides it there are {count}"), str(count))


def _half(_facts: Facts, thing: Thing, seen: str) -> Reasoned:
    half = "right half" if _centre(thing.box)[0] >= 0.5 else "left half"
    return Reasoned((seen, _middle_said(thing.box)), half)


def _summary(thing: Thing, seen: str, before: tuple[tuple[str, str], ...]) -> Reasoned:
    first = before[0][1] if before else ""
    answer = f"{_a(thing.name)}, {part_of_picture(thing.box)}; first i said: {first}"
    return Reasoned((seen, _middle_said(thing.box), f"my first answer was: {first}"), answer)


def part_of_picture(box: Box) -> str:
    """One of nine parts, by the middle of ``box``: ``upper left`` ... ``centre``."""
    x, y = _centre(box)
    row = ("upper", "", "lower")[min(2, int(3 * y))]
    column = ("left", "", "right")[min(2, int(3 * x))]
    return f"{row} {column}".strip() or "centre"


def _attribute(
    facts: Facts, thing: Thing, seen: str, question: str, shared: bool
) -> Reasoned | None:
    name = next((name for name in ATTRIBUTES if name in question), None)
    value = thing.attributes.get(name or "")
    if not value:
        return None
    if not shared:
        return Reasoned((seen, f"its {name} is {value}"), value)
    rest = (*facts.traced[1:], *facts.others)
    same = [one.name for one in rest if one.attributes.get(name or "") == value]
    steps = (seen, f"its {name} is {value}", f"others of that {name}: {len(same)}")
    return Reasoned(steps, "yes, " + " and ".join(map(_a, same)) if same else "no")


def _beside(facts: Facts, thing: Thing, seen: str) -> Reasoned:
    rest = [*facts.traced[1:], *facts.others]
    if not rest:
        return Reasoned((seen, "nothing else is there"), f"{_a(thing.name)} alone")
    x, y = _centre(thing.box)
    nearest = min(rest, key=lambda o: (_centre(o.box)[0] - x) ** 2 + (_centre(o.box)[1] - y) ** 2)
    dx, dy = x - _centre(nearest.box)[0], y - _centre(nearest.box)[1]
    side = ("right of" if dx > 0 else "left of") if abs(dx) >= abs(dy) else (
        "below" if dy > 0 else "above"
    )  # fmt: skip
    steps = (seen, f"the nearest other thing is {_a(nearest.name)}", f"it lies {side} it")
    return Reasoned(steps, f"{_a(thing.name)} {side} {_a(nearest.name)}")


def _centre(box: Box) -> tuple[float, float]:
    return (box[0] + box[2]) / 2, (box[1] + box[3]) / 2


def _middle_said(box: Box) -> str:
    x, y = _centre(box)
    return f"its middle is at {round(100 * x)}% from the left and {round(100 * y)}% from the top"


def _a(name: str) -> str:
    return f"a {name}"


_PLAIN: dict[tuple[str, str], Callable[[Facts, Thing, str], Reasoned]] = {
    ("interpretation", "global"): _in_order,
    ("interpretation", "paragraph"): _beside,
    ("grounding", "object"): _with_boxes,
    ("grounding", "local"): _place,
    ("reasoning", "global"): _besides,
    ("reasoning", "local"): _half,
}
