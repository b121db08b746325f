"""Which frames the report shows: an even strip through the recording, and the best and worst."""

from collections.abc import Callable
from typing import NamedTuple

import cv2
import numpy as np

from tracevlm_ros.core.types import Image
from tracevlm_ros.evaluation.outcome import FrameOutcome
from tracevlm_ros.evaluation.samples import MaskSample

STRIP_LENGTH = 8
CASES = 4
_WIDTH = 480
_JPEG_QUALITY = 78


class Picture(NamedTuple):
    """A small JPEG and what to write below it. ``value`` is what cases are ordered by."""

    jpeg: bytes
    time_s: float
    note: str
    value: float = 0.0


class Cases(NamedTuple):
    """The best frame of each object of one recording, best first, and the worst, worst first."""

    best: list[Picture]
    worst: list[Picture]


class Gallery:
    """Feed every frame with its overlay; memory stays bounded whatever the recording's length."""

    def __init__(self) -> None:
        self._strip: list[Picture] = []
        self._stride = 1
        self._seen = 0
        self._start_ns: int | None = None
        self._best: dict[int, Picture] = {}
        self._worst: dict[int, Picture] = {}

    def add(
        self,
        outcome: FrameOutcome,
        overlay_rgb: Callable[[], Image],
        scores: tuple[MaskSample, ...],
    ) -> None:
        """``overlay_rgb`` draws the frame when it is wanted; ``scores`` are its mask samples,
        without any it can only join the strip."""
        stamp_ns = outcome.frame.stamp_ns
        if self._start_ns is None:
            self._start_ns = stamp_ns
        time_s = (stamp_ns - self._start_ns) / 1e9
        if self._seen % self._stride == 0:
            self._strip.append(Picture(_jpeg(overlay_rgb()), time_s, f"{time_s:.1f} s"))
            if len(self._strip) >= 8 * STRIP_LENGTH:
                self._strip = self._strip[::2]
                self._stride *= 2
        self._seen += 1
        for score in scores:
            self._keep_extremes(score, overlay_rgb, time_s)

    def strip(self) -> list[Picture]:
        """At most STRIP_LENGTH pictures, evenly through the recording."""
        if len(self._strip) <= STRIP_LENGTH:
            return list(self._strip)
        chosen = np.linspace(0, len(self._strip) - 1, STRIP_LENGTH).round().astype(int)
        return [self._strip[index] for index in chosen]

    def cases(self) -> Cases:
        """A frame that is both the best and the worst of its object counts as its best."""
        worst = [
            picture
            for label, picture in self._worst.items()
            if picture.time_s != self._best[label].time_s
        ]
        return Cases(
            sorted(self._best.values(), key=lambda picture: -picture.value),
            sorted(worst, key=lambda picture: picture.value),
        )

    def _keep_extremes(
        self, score: MaskSample, overlay_rgb: Callable[[], Image], time_s: float
    ) -> None:
        value = score.overlap.iou
        known = self._best.get(score.label), self._worst.get(score.label)
        is_best = known[0] is None or value > known[0].value
        is_worst = known[1] is None or value < known[1].value
        if not is_best and not is_worst:
            return
        note = f"object {score.label} at {time_s:.1f} s: J {value:.2f}, F {score.boundary_f:.2f}"
        picture = Picture(_jpeg(overlay_rgb()), time_s, note, value)
        if is_best:
            self._best[score.label] = picture
        if is_worst:
            self._worst[score.label] = picture


def _jpeg(image_rgb: Image) -> bytes:
    height, width = image_rgb.shape[:2]
    if width > _WIDTH:
        size = (_WIDTH, max(1, round(height * _WIDTH / width)))
        image_rgb = np.asarray(cv2.resize(image_rgb, size, interpolation=cv2.INTER_AREA), np.uint8)
    bgr = cv2.cvtColor(image_rgb, cv2.COLOR_RGB2BGR)
    done, data = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY])
    assert done, "an RGB image always encodes as JPEG"
    return bytes(data)
