"""The thread that draws the overlay, so that neither results nor the executor wait for a JPEG."""

from collections.abc import Callable, Mapping
from typing import NamedTuple

import cv2

from tracevlm_ros.core.errors import InputError
from tracevlm_ros.core.overlay import draw_overlay
from tracevlm_ros.core.pipeline import StepResult
from tracevlm_ros.core.types import Image
from tracevlm_ros.nodes.mailbox import Inbox, NewestQueue
from tracevlm_ros.nodes.problems import Problems
from tracevlm_ros.nodes.worker import Worker


class Picture(NamedTuple):
    """What one overlay shows; ``captions`` maps trace ids to text, ``quality`` is the JPEG's."""

    step: StepResult
    captions: Mapping[int, str]
    quality: int


class Painter(Worker):
    """Draws the newest picture; one that comes while another waits replaces it, counted
    as ``overlay_skipped``."""

    def __init__(self, publish: Callable[[bytes, StepResult], None], problems: Problems) -> None:
        inbox = Inbox()
        super().__init__("overlay", inbox, problems)
        self._publish = publish
        self._pictures: NewestQueue[Picture] = NewestQueue(inbox, 1, "overlay_skipped")

    def offer(self, picture: Picture) -> None:
        """Never blocks."""
        self._pictures.put(picture)

    def work(self) -> None:
        """Draw one picture, or wait for one."""
        picture = self._pictures.take()
        if picture is None:
            self.inbox.wait_for(lambda: self.is_stopping or len(self._pictures) > 0, None)
            return
        step = picture.step
        drawn = draw_overlay(step.frame.image_rgb, step.masks, step.traces, picture.captions)
        self._publish(jpeg_of(drawn, picture.quality), step)


def jpeg_of(image_rgb: Image, quality: int) -> bytes:
    """uint8 (H, W, 3) RGB -> JPEG bytes; InputError where OpenCV cannot."""
    done, data = cv2.imencode(
        ".jpg", image_rgb[..., ::-1], [int(cv2.IMWRITE_JPEG_QUALITY), int(quality)]
    )
    if not done:
        raise InputError(f"no JPEG of an image of {image_rgb.shape}; JPEG takes at most 65535 px")
    return bytes(data)
