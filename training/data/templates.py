"""Tasks as text: what is asked, what the right answer says, and how an answer is read back.

A prompt is picture tokens, the trace where the task reads one, a task token, a question (maybe
none) and ``<|answer|>`` (``core.prompt`` has the layout). The answer is plain text in which places
are bins 0..999 (``core.tokens``). Tasks that write places are not given the trace, except for
those that explain it: it would be the answer. ``core.answers`` parses; the robot uses the same.
"""

from collections.abc import Callable, Sequence
from enum import Enum
from typing import NamedTuple

import numpy as np

from tracevlm_ros.core.answers import (
    BoxAnswer,
    GroundingAnswer,
    JointAnswer,
    NamedBox,
    SaidAndDrawn,
    TextAnswer,
    TraceAnswer,
    parse_boxes,
    parse_grounding,
    parse_joint,
    parse_mask,
    parse_text,
    parse_trace,
)
from tracevlm_ros.core.errors import ConfigError
from tracevlm_ros.core.tokens import SPECIAL, quantise, trajectory_text
from tracevlm_ros.core.types import FloatArray

Answer = TextAnswer | TraceAnswer | JointAnswer | BoxAnswer | GroundingAnswer


class Task(str, Enum):
    """What the model is asked to do; the value names it in logs and settings."""

    TRACE_CAPTION = "trace_caption"
    TRACE_FROM_CAPTION = "trace_from_caption"
    JOINT = "joint"
    INTERPRET = "interpret"
    GROUND = "ground"
    ASK = "ask"
    SEGMENT = "segment"
    REFER_BOX = "refer_box"
    REFER_MASK = "refer_mask"
    IMAGE_CAPTION = "image_caption"
    VIDEO_CAPTION = "video_caption"


class Template(NamedTuple):
    """``token`` is the task's special token. ``question`` may hold ``{}`` for what is asked about;
    without it the question is fixed. ``reads_trace``: the prompt shows the trace."""

    token: str
    question: str
    reads_trace: bool
    parse: Callable[[str], Answer]

    def ask(self, about: str = "") -> str:
        """The question's text; ConfigError when it needs something to be asked about."""
        if "{}" not in self.question:
            return self.question
        if not about.strip():
            raise ConfigError(f"the question '{self.question}' needs a text to ask about")
        return self.question.format(about.strip())


TEMPLATES: dict[Task, Template] = {
    Task.TRACE_CAPTION: Template(SPECIAL.caption, "", True, parse_text),
    Task.TRACE_FROM_CAPTION: Template(SPECIAL.locate, "trace of {}", False, parse_trace),
    Task.JOINT: Template(SPECIAL.joint, "", False, parse_joint),
    Task.INTERPRET: Template(SPECIAL.interpret, "", True, parse_text),
    Task.GROUND: Template(SPECIAL.interpret, "what and where?", True, parse_grounding),
    Task.ASK: Template(SPECIAL.ask, "{}", True, parse_text),
    Task.SEGMENT: Template(SPECIAL.ask, "mask of it", True, parse_mask),
    Task.REFER_BOX: Template(SPECIAL.locate, "box of {}", False, parse_boxes),
    Task.REFER_MASK: Template(SPECIAL.locate, "mask of {}", False, parse_mask),
    Task.IMAGE_CAPTION: Template(SPECIAL.image_caption, "", False, parse_text),
    Task.VIDEO_CAPTION: Template(SPECIAL.image_caption, "video", False, parse_text),
}

STAGE_1_ORDER = (Task.TRACE_CAPTION, Task.TRACE_FROM_CAPTION, Task.JOINT)
"""The fixed order of the paper's first stage."""


def say_text(text: str, mask: bool = False) -> str:
    """Words, then ``[SEG]`` where a mask belongs to them."""
    return f"{text} {SPECIAL.seg}" if mask else text


def say_mask() -> str:
    """An answer that is only a mask."""
    return SPECIAL.seg


def say_trace(points: FloatArray) -> str:
    """(K, 2) in shares; what lies outside the picture is written at its edge."""
    return trajectory_text(points)


def say_joint(parts: Sequence[SaidAndDrawn]) -> str:
    """Each phrase followed by its trace."""
    return " ".join(f"{part.text} {trajectory_text(part.points)}" for part in parts)


def say_box(box: tuple[float, float, float, float]) -> str:
    """``(x1,y1),(x2,y2)``."""
    x1, y1, x2, y2 = quantise(np.array(box)).tolist()
    return f"({x1},{y1}),({x2},{y2})"


def say_grounding(parts: Sequence[NamedBox]) -> str:
    """Names with their boxes, in the order of the trace."""
    return "; ".join(f"{part.text} {say_box(part.box)}" for part in parts)
