"""Masks that remember: what was known before, carried along, beside what the model says now.

Per trace a field of log-odds is kept at a small size, over the part of the frame that the model is
shown. Each frame it is carried by dense flow and fades; the object's colours, the keypoints that
are seen and the model's answer are added. So an answer that is wrong for a few frames does not
show, an object that deforms is followed by its colours, and a trace whose points are lost can be
found by its mask. A recursive Bayes filter with independence assumed where there is none; hence the
bounds on every part.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tracevlm_ros.core.fovea import Window, whole
from tracevlm_ros.core.mask_memory.appearance import Appearance
from tracevlm_ros.core.mask_memory.config import MaskMemoryConfig
from tracevlm_ros.core.mask_memory.edges import follow_edges
from tracevlm_ros.core.mask_memory.evidence import (
    odds_of,
    of_model,
    of_seeds,
    share_of,
    trust_of_model,
)
from tracevlm_ros.core.mask_memory.looks import Looks, ObjectLook, take_looks
from tracevlm_ros.core.mask_memory.small_picture import (
    DenseMotion,
    Field,
    Flags,
    Origin,
    SmallPicture,
    carry,
    small_size,
    take_small,
)
from tracevlm_ros.core.tracking import FrameMotion
from tracevlm_ros.core.types import FloatArray, Frame

_UNSEEN = -1.0
"""Log-odds of what was outside the window: rather not the object."""


@dataclass(slots=True)
class _Remembered:
    """``odds``: all evidence so far, in the newest frame; ``carried`` is what that frame expects
    before the model has looked at it, by that evidence, colours and looks."""

    odds: Field
    appearance: Appearance | None = None
    look: ObjectLook | None = None
    is_alike: bool = False
    carried: Field | None = None


class Sight(NamedTuple):
    """What the memory sees of a frame in ``window``; ``origin`` is None where there is nothing to
    carry."""

    window: Window
    now: SmallPicture
    origin: Origin | None


class Carried(NamedTuple):
    """Where an object should be: ``mask`` bool (h, w), any size, over ``window``."""

    mask: Flags
    window: Window


class _Lesson(NamedTuple):
    """The mask of a trace in ``picture``, not yet judged."""

    known: _Remembered
    picture: SmallPicture
    looks: Looks | None
    share: Field


class MaskMemory:
    """One remembered mask a trace. Call ``advance`` and then ``fuse`` for every frame.

    Fields cover one window of the frame, all of it until ``turn`` names another.

    Two parts of the work can be done at another time: ``look`` beside other work, before
    ``advance``, and ``learn`` after the result of ``fuse`` was used.
    """

    def __init__(self, config: MaskMemoryConfig) -> None:
        self.config = config
        self._motion = DenseMotion()
        self.reset()

    def reset(self) -> None:
        """Forget every mask and the frame before."""
        self._traces: dict[int, _Remembered] = {}
        self._lessons: list[_Lesson] = []
        self._window: Window | None = None
        self._now: SmallPicture | None = None
        self._looks: Looks | None = None
        self._is_blind = False

    def forget(self, trace_id: int) -> None:
        """Begin anew with a trace, known or not: its next answer is about something else."""
        self._traces.pop(trace_id, None)

    def look(self, frame: Frame) -> Sight | None:
        """Look at the frame that comes next. Changes nothing; None for a memory that is disabled.

        May run in another thread, as long as no other method does meanwhile.
        """
        if not self.config.enabled:
            return None
        before, window = self._now, self._window
        frame_hw = frame.image_rgb.shape[:2]
        if window is None or window.frame_hw != frame_hw:
            before, window = None, whole((frame_hw[0], frame_hw[1]))
        now = self._picture(frame, window)
        if before is None or not self._traces:
            return Sight(window, now, None)
        return Sight(window, now, self._motion.origin(before, now))

    def advance(self, frame: Frame, motion: FrameMotion, sight: Sight | None = None) -> None:
        """Carry every mask to ``frame``, to which the scene came by ``motion``.

        ``sight``: what ``look`` said of this frame; without it the frame is looked at here. After
        a cut nothing is known any more; a black frame is passed over.
        """
        self.learn()
        if motion.ends_scene:
            self.reset()
        self._looks = None
        self._is_blind = motion.cut and not motion.ends_scene
        if not self.config.enabled or self._is_blind:
            return
        sight = sight or self.look(frame)
        assert sight is not None
        self._window, self._now = sight.window, sight.now
        if sight.origin is None:
            return
        for known in self._traces.values():
            known.odds = self.config.kept * carry(known.odds, sight.origin)
            known.carried = self._expect(known, sight.now)

    def turn(self, frame: Frame, window: Window) -> None:
        """Go on in ``window`` of this frame: what is known keeps its place in the frame.

        After ``advance``. What the window before did not show was rather not the object.
        """
        before = self._window
        if before is None or self._is_blind or before == window:
            return
        self._window, self._now = window, self._picture(frame, window)
        for known in self._traces.values():
            known.odds = before.moved(known.odds, window, self._now.size_hw, _UNSEEN)
            if known.carried is not None:
                known.carried = self._expect(known, self._now)

    def see(self, descriptors: NDArray[np.float32] | None) -> None:
        """Compare this frame's window, as the encoder sees it, (h, w, C), with every object.

        After ``turn`` and before ``fuse``; None from a model that tells no such thing. Features
        that are not finite would spoil every frame to come and are passed over.
        """
        config = self.config
        if self._now is None or self._is_blind or not config.look_weight:
            return
        if descriptors is None or not np.isfinite(descriptors).all():
            return
        self._looks = take_looks(descriptors)
        size_hw = self._now.size_hw
        for known in self._traces.values():
            if known.carried is not None and known.look is not None:
                said = config.look_weight * known.look.score(self._looks, size_hw)
                known.carried = known.carried + np.clip(said, -config.look_bound, config.look_bound)

    def learn(self) -> None:
        """Judge the masks of the last frame, and learn from good ones how their objects look."""
        for lesson in self._lessons:
            self._judge(lesson, is_told=True)
        self._lessons.clear()

    def is_at_a_loss(self, trace_id: int) -> bool:
        """True where a mask was known that is not believed any more."""
        return trace_id in self._traces and self._expected(trace_id) is None

    def knows(self, trace_id: int) -> bool:
        """Whether a mask was carried to this frame that is believed."""
        return self._expected(trace_id) is not None

    def carried(self, trace_id: int) -> Carried | None:
        """Where the object should be in this frame, at the small size; None: not known."""
        expected = self._expected(trace_id)
        if expected is None or self._window is None:
            return None
        return Carried(np.asarray(expected > 0), self._window)

    def moved(self, trace_id: int) -> Carried | None:
        """Where the mask of the frame before went, by motion alone; None: not known.

        Before ``fuse``. Colours, which ``carried`` asks too, speak for other places as well.
        """
        if self._expected(trace_id) is None or self._window is None:
            return None
        return Carried(np.asarray(self._traces[trace_id].odds > 0), self._window)

    def prior(self, trace_id: int) -> Field | None:
        """The carried mask in this frame's window as shares 0..1 at the small size, for the model;
        None: not known."""
        expected = self._expected(trace_id)
        return None if expected is None else share_of(expected)

    def fuse(
        self,
        trace_ids: Sequence[int],
        logits: Sequence[Field | None],
        seeds: Mapping[int, FloatArray],
        resting: Collection[int] = (),
    ) -> list[Field | None]:
        """The model's ``logits`` of this frame's window -> logits of it with the memory's say, in
        the same order.

        ``logits[i]`` None: the model was not asked; then the carried mask answers while it looks
        like the object, and that of a trace that is only ``resting`` in any case. ``seeds``
        (N, 2), 0..1 of the frame: keypoints that are surely on the object. Traces not in
        ``trace_ids`` are forgotten.
        """
        self._traces = {key: self._traces[key] for key in trace_ids if key in self._traces}
        if not self.config.enabled or self._is_blind or self._now is None:
            return list(logits)
        assert self._window is not None
        held = {trace_id: self._window.shares(places) for trace_id, places in seeds.items()}
        return [
            self._fuse_one(trace_id, logit, self._now, held.get(trace_id), trace_id in resting)
            for trace_id, logit in zip(trace_ids, logits, strict=True)
        ]

    def _expected(self, trace_id: int) -> Field | None:
        """The carried evidence where it is believed."""
        known = self._traces.get(trace_id)
        if self._is_blind or known is None or not known.is_alike:
            return None
        return known.carried

    def _picture(self, frame: Frame, window: Window) -> SmallPicture:
        size_hw = small_size(window.size_hw, self.config.long_side)
        return take_small(window.cut(frame.image_rgb), size_hw)

    def _expect(self, known: _Remembered, now: SmallPicture) -> Field:
        config = self.config
        if known.appearance is None or not config.colour_weight:
            return known.odds
        colours = config.colour_weight * known.appearance.log_ratio(now)
        expected = known.odds + np.clip(colours, -config.colour_bound, config.colour_bound)
        return np.asarray(expected, dtype=np.float32)

    def _fuse_one(
        self,
        trace_id: int,
        logit: Field | None,
        now: SmallPicture,
        seeds: FloatArray | None,
        is_resting: bool,
    ) -> Field | None:
        config = self.config
        size_hw = now.size_hw
        known = self._traces.get(trace_id)
        model = None if logit is None else of_model(logit, size_hw, config.model_bound)
        if known is None or known.carried is None:
            if model is None:
                return None
            known = self._traces.setdefault(trace_id, _Remembered(model))
            odds = model
        else:
            odds = known.carried
            if model is not None:
                odds = odds + trust_of_model(odds, model, config) * model
        if seeds is not None and len(seeds) and config.seed_weight:
            odds = odds + of_seeds(seeds, size_hw, config.seed_weight)
        odds = np.clip(odds, -config.carried_bound, config.carried_bound)
        known.odds = np.asarray(odds, dtype=np.float32)
        share = share_of(known.odds)
        lesson = _Lesson(known, now, self._looks, share)
        if model is not None:
            self._lessons.append(lesson)
        else:
            self._judge(lesson, is_told=False)
            if not (known.is_alike or is_resting):
                return None
        if config.edge_px:
            return odds_of(follow_edges(share, now.grey, config.edge_px))
        return known.odds

    def _judge(self, lesson: _Lesson, *, is_told: bool) -> None:
        """Say whether the mask looks like its object, and learn from it where it does."""
        known, now, looks, share = lesson
        if not (share > 0.5).any():
            known.is_alike = False
        elif known.appearance is None:
            known.is_alike = is_told
            if is_told:
                known.appearance = Appearance(now, share)
                known.look = ObjectLook(looks, share) if looks is not None else None
        else:
            known.is_alike = known.appearance.likeness(now, share) >= self.config.likeness
            if known.is_alike and is_told:
                known.appearance.renew(now, share)
                if known.look is not None and looks is not None:
                    known.look.renew(looks, share)
