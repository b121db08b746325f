"""What can be learned from one record: every task's prompts and right answers.

Narratives give trace captioning, caption -> trace, joint generation and interpretation; with marked
regions also grounding. Regions give masks of what is pointed at, and boxes and masks of what is
named. Captions and dialogues give themselves. Places of words are those of the keypoints: what was
drawn while a phrase was said.
"""

from collections.abc import Iterator

import numpy as np

from tracevlm_ros.core.answers import NamedBox
from tracevlm_ros.core.drops import Drops
from tracevlm_ros.core.tokens import dequantise, quantise
from tracevlm_ros.core.types import BoolArray
from training.data.messages import Branch, Exchange, TracePoints, TreeConfig
from training.data.phrases import said_and_drawn
from training.data.readers.alignment import NarrativeKeypoints, keypoints_of
from training.data.readers.records import Dialogue, Narrative, RawTrace, Record, Region, box_of
from training.data.readers.shapes import Shape
from training.data.templates import (
    TEMPLATES,
    Task,
    say_box,
    say_grounding,
    say_joint,
    say_mask,
    say_text,
    say_trace,
)
from training.data.traces import draw_trace

_TOUCHED_SHARE = 0.1
_NS_PER_S = 1e9


class BranchWriter:
    """All branches of ``record``, whose pictures have ``size_hw`` pixels, in the order: narratives
    (each through its tasks), regions, captions, dialogues."""

    def __init__(
        self,
        record: Record,
        size_hw: tuple[int, int],
        config: TreeConfig,
        rng: np.random.Generator,
        drops: Drops,
    ) -> None:
        self._record, self._size_hw = record, size_hw
        self._config, self._rng, self._drops = config, rng, drops
        self._tasks = [Task(name) for name in config.tasks]
        self._masks: dict[tuple[int, ...], BoolArray | None] = {}

    def branches(self) -> Iterator[Branch]:
        for narrative in self._record.narratives:
            yield from self._of_narrative(narrative)
        for region in self._record.regions:
            yield from self._of_region(region)
        for grounded in self._record.grounded:
            for number, phrase in enumerate(grounded.phrases):
                text = grounded.text[phrase.start : phrase.end]
                shapes = [s for index in phrase.regions for s in self._record.regions[index].shapes]
                if Task.REFER_MASK in self._tasks:
                    yield from self._refer_mask(f"{grounded.key}/{number}", text, tuple(shapes))
        yield from self._of_captions()
        for dialogue in self._record.dialogues:
            if Task.ASK in self._tasks:
                yield from self._of_dialogue(dialogue)

    def _of_narrative(self, narrative: Narrative) -> Iterator[Branch]:
        if not len(narrative.trace.xy):
            self._drops["trace_not_on_pictures"] += 1
            return
        keypoints = keypoints_of(narrative, self._size_hw, self._config.simplify)
        trace = trace_points(keypoints, self._config.max_keypoints)
        explains = {Task.GROUND, Task.INTERPRET} & set(self._tasks)
        touched = self._touched(narrative) if explains else []
        for task in self._tasks:
            exchange = _narrative_exchange(task, narrative, keypoints, trace, touched)
            if exchange is not None:
                shown = trace if TEMPLATES[task].reads_trace else None
                yield Branch(narrative.key, (exchange,), shown)

    def _touched(self, narrative: Narrative) -> list[NamedBox]:
        """Named regions of the first picture that the trace passes through, in its order."""
        xy = narrative.trace.xy[narrative.trace.picture == 0]
        found: list[tuple[int, NamedBox]] = []
        for region in self._record.regions:
            mask = self._mask(_on_picture(region.shapes, 0))
            name = region.category or next(iter(region.expressions), "")
            box = None if mask is None else box_of(mask)
            if mask is None or box is None or not name or not len(xy):
                continue
            inside = _inside(mask, xy)
            if inside.mean() >= _TOUCHED_SHARE:
                found.append((int(np.argmax(inside)), NamedBox(name, box)))
        return [part for _, part in sorted(found, key=lambda pair: pair[0])]

    def _of_region(self, region: Region) -> Iterator[Branch]:
        if Task.SEGMENT in self._tasks:
            trace = self._drawn(region.shapes)
            if trace is not None:
                exchange = Exchange(Task.SEGMENT, TEMPLATES[Task.SEGMENT].ask(), say_mask())
                yield Branch(region.key, (exchange,), trace, region.shapes)
        for expression in region.expressions:
            if Task.REFER_BOX in self._tasks:
                yield from self._refer_box(region.key, expression, region.shapes)
            if Task.REFER_MASK in self._tasks:
                yield from self._refer_mask(region.key, expression, region.shapes)

    def _refer_box(
        self, key: str, expression: str, shapes: tuple[tuple[int, Shape], ...]
    ) -> Iterator[Branch]:
        mask = self._mask(_on_picture(shapes, 0))
        box = None if mask is None else box_of(mask)
        if box is None:
            self._drops["mask_empty"] += 1
            return
        question = TEMPLATES[Task.REFER_BOX].ask(expression)
        yield Branch(key, (Exchange(Task.REFER_BOX, question, say_box(box)),))

    def _refer_mask(
        self, key: str, expression: str, shapes: tuple[tuple[int, Shape], ...]
    ) -> Iterator[Branch]:
        if self._first_shown(shapes) is None:
            return
        question = TEMPLATES[Task.REFER_MASK].ask(expression)
        yield Branch(key, (Exchange(Task.REFER_MASK, question, say_mask()),), None, shapes)

    def _of_captions(self) -> Iterator[Branch]:
        still = len(self._record.pictures) == 1
        task = Task.IMAGE_CAPTION if still else Task.VIDEO_CAPTION
        if task not in self._tasks:
            return
        for number, caption in enumerate(self._record.captions):
            exchange = Exchange(task, TEMPLATES[task].ask(), say_text(caption))
            yield Branch(f"{self._record.key}/caption/{number}", (exchange,))

    def _of_dialogue(self, dialogue: Dialogue) -> Iterator[Branch]:
        """Marked regions are pointed at: the model has traces where others have marks. A dialogue
        about regions that do not show is left out: nobody could answer."""
        exchanges = tuple(
            Exchange(Task.ASK, TEMPLATES[Task.ASK].ask(turn.question), say_text(turn.answer))
            for turn in dialogue.turns
        )
        if dialogue.trace is not None:
            narrative = Narrative(dialogue.key, "", (), dialogue.trace)
            keypoints = keypoints_of(narrative, self._size_hw, self._config.simplify)
            drawn = trace_points(keypoints, self._config.max_keypoints)
            yield Branch(dialogue.key, exchanges, drawn)
            return
        shapes = [s for index in dialogue.regions for s in self._record.regions[index].shapes]
        trace = self._drawn(tuple(shapes)) if dialogue.regions else None
        if trace is not None or not dialogue.regions:
            yield Branch(dialogue.key, exchanges, trace)

    def _first_shown(self, shapes: tuple[tuple[int, Shape], ...]) -> tuple[int, BoolArray] | None:
        """The first picture on which ``shapes`` show at the model's size, and their mask there;
        None, counted, when on none."""
        for picture in sorted({picture for picture, _ in shapes}):
            mask = self._mask(_on_picture(shapes, picture))
            if mask is not None:
                return picture, mask
        self._drops["mask_empty"] += 1
        return None

    def _mask(self, shapes: tuple[Shape, ...]) -> BoolArray | None:
        """Union of ``shapes`` (of the record) at the model's size; None when empty. Drawn once."""
        known = tuple(id(shape) for shape in shapes)
        if known not in self._masks:
            size = (self._config.image_size, self._config.image_size)
            mask = np.zeros(size, np.bool_)
            for shape in shapes:
                mask |= shape.mask(size)
            self._masks[known] = mask if mask.any() else None
        return self._masks[known]

    def _drawn(self, shapes: tuple[tuple[int, Shape], ...]) -> TracePoints | None:
        """A stroke or gaze over ``shapes`` on the first picture that shows them, simplified as live
        traces are."""
        shown = self._first_shown(shapes)
        if shown is None:
            return None
        picture, mask = shown
        drawn, side = draw_trace(mask, self._rng), self._config.image_size
        count = len(drawn.raw)
        trace = RawTrace(
            (drawn.raw[:, :2] + 0.5) / side,
            np.round(drawn.raw[:, 2] * _NS_PER_S).astype(np.int64),
            np.full(count, picture, np.int64),
            np.arange(count) == (count if drawn.pen_up_at is None else drawn.pen_up_at),
        )
        keypoints = keypoints_of(
            Narrative("", "", (), trace), (side, side), self._config.simplify
        )  # fmt: skip
        return trace_points(keypoints, self._config.max_keypoints)


def trace_points(keypoints: NarrativeKeypoints, limit: int) -> TracePoints:
    """Keypoints as the model reads them; more than ``limit`` are thinned evenly, ends and lifts
    kept."""
    kept = np.unique(np.linspace(0, len(keypoints.xy) - 1, limit).round().astype(np.int64))
    pen_up = np.add.reduceat(keypoints.pen_up, kept).astype(np.bool_)
    pen_up[0] = False
    stamps = keypoints.stamp_ns[kept] / _NS_PER_S
    return TracePoints(
        dequantise(quantise(keypoints.xy[kept])),
        np.diff(stamps, prepend=stamps[:1]),
        pen_up,
        keypoints.picture[kept],
    )


def _narrative_exchange(
    task: Task,
    narrative: Narrative,
    keypoints: NarrativeKeypoints,
    trace: TracePoints,
    touched: list[NamedBox],
) -> Exchange | None:
    """What ``task`` makes of a narrative; None where it makes nothing.

    Written traces do not say which picture they are on, so those of clips are not written.
    """
    answer = question = ""
    if task is Task.TRACE_CAPTION:
        answer = say_text(narrative.text)
    elif task is Task.TRACE_FROM_CAPTION and _on_one_picture(narrative):
        question, answer = narrative.text, say_trace(trace.points)
    elif task is Task.JOINT and _on_one_picture(narrative):
        answer = say_joint(
            [part for _, part in said_and_drawn(narrative, keypoints, len(trace.points))]
        )
    elif task is Task.GROUND:
        answer = say_grounding(touched)
    elif task is Task.INTERPRET:
        answer = _interpretation(narrative, keypoints, touched)
    return Exchange(task, TEMPLATES[task].ask(question), answer) if answer else None


def _interpretation(
    narrative: Narrative, keypoints: NarrativeKeypoints, touched: list[NamedBox]
) -> str:
    """What the trace is about, in its order: the regions it passes through, else the things named
    while it was drawn."""
    names = [part.text for part in touched]
    if not names:
        parts = said_and_drawn(narrative, keypoints, len(keypoints.xy))
        names = [phrase.head.lower() for phrase, _ in parts if phrase.head]
    return ", then ".join(dict.fromkeys(names))


def _on_one_picture(narrative: Narrative) -> bool:
    return len(np.unique(narrative.trace.picture)) == 1


def _on_picture(shapes: tuple[tuple[int, Shape], ...], picture: int) -> tuple[Shape, ...]:
    return tuple(shape for place, shape in shapes if place == picture)


def _inside(mask: BoolArray, xy: np.ndarray) -> BoolArray:
    """(N,) whether places in shares lie on ``mask``."""
    side = np.array(mask.shape[::-1])
    place = np.floor(xy * side).astype(np.int64)
    within = ((place >= 0) & (place < side)).all(axis=1)
    column, row = np.clip(place, 0, side - 1).T
    return np.asarray(within & mask[row, column], np.bool_)
