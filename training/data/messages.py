"""Message trees: one picture or clip, and everything that is learned from it.

The pictures are the root; each branch is one conversation below it, a narrative or region times a
task. Branches never see each other. ``trees.build_tree`` makes a tree of a record.
"""

from dataclasses import dataclass, field
from typing import NamedTuple

from tracevlm_ros.core.settings import require_choice, require_range
from tracevlm_ros.core.types import BoolArray, FloatArray, Image, IntArray
from training.data.readers.alignment import SimplifyConfig
from training.data.readers.shapes import Shape
from training.data.templates import Task

TRACE_FORMS = ("tvp", "text", "drawn", "none")


@dataclass(frozen=True, kw_only=True, slots=True)
class TreeConfig:
    """Pictures are stretched to ``image_size`` squared; with ``max_pixels`` they keep their shape,
    in multiples of ``multiple`` pixels and at most that many in all.

    ``tasks`` in their order. ``order``: fixed keeps it within each narrative and region, random
    mixes the branches of a tree. ``trace_form``: see ``trace_forms``. A clip gives
    ``max_pictures`` pictures, evenly spread; more than ``max_branches`` branches are thinned at
    random."""

    image_size: int = 256
    max_pixels: int = 0
    multiple: int = 28
    max_keypoints: int = 24
    max_pictures: int = 4
    max_branches: int = 16
    tasks: tuple[str, ...] = tuple(task.value for task in Task)
    order: str = "fixed"
    trace_form: str = "tvp"
    simplify: SimplifyConfig = field(default_factory=SimplifyConfig)

    def __post_init__(self) -> None:
        require_range("image_size", self.image_size, 16, 4096)
        require_range("max_pixels", self.max_pixels, 0, 1 << 28)
        require_range("multiple", self.multiple, 1, 1024)
        require_range("max_keypoints", self.max_keypoints, 2, 512)
        require_range("max_pictures", self.max_pictures, 1, 64)
        require_range("max_branches", self.max_branches, 1, 4096)
        require_choice("order", self.order, ("fixed", "random"))
        require_choice("trace_form", self.trace_form, TRACE_FORMS)
        for task in self.tasks:
            require_choice("tasks", task, tuple(task.value for task in Task))


class TracePoints(NamedTuple):
    """K keypoints as the model reads them (``core.engine.TracePrompt``), each with its picture."""

    points: FloatArray
    dt_s: FloatArray
    pen_up: BoolArray
    picture: IntArray


class Exchange(NamedTuple):
    """A question of ``task`` (maybe empty) and the right answer, as ``templates`` write them."""

    task: Task
    question: str
    answer: str


class Branch(NamedTuple):
    """One conversation. ``masks`` holds (picture, shape) of what ``[SEG]`` in an answer means; the
    shapes of one picture are one target. ``images`` stand in for those of the tree."""

    key: str
    exchanges: tuple[Exchange, ...]
    trace: TracePoints | None = None
    masks: tuple[tuple[int, Shape], ...] = ()
    images: tuple[Image, ...] | None = None

    @property
    def task(self) -> Task:
        """That of the first exchange."""
        return self.exchanges[0].task


class MessageTree(NamedTuple):
    """``images`` uint8 (H, W, 3) at the model's size, all of one size."""

    key: str
    source: str
    images: tuple[Image, ...]
    branches: tuple[Branch, ...]
