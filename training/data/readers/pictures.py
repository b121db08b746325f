"""Pictures that are read when they are looked at, not before."""

from functools import lru_cache
from pathlib import Path
from typing import NamedTuple, Protocol

import cv2
import numpy as np

from tracevlm_ros.core.errors import InputError
from tracevlm_ros.core.types import Image
from tracevlm_ros.synthetic.clip import Clip, ClipConfig, ClipFrame
from tracevlm_ros.synthetic.render import Rendered, render
from tracevlm_ros.synthetic.scene import Scene
from training.data.photos_on_disk import read_photo


class Picture(Protocol):
    """Something that can be looked at. ``load`` raises InputError when it is damaged."""

    def load(self) -> Image:
        """uint8 RGB (H, W, 3)."""

    def exists(self) -> bool:
        """Whether the file that holds it is there; it may still be damaged."""


class PhotoFile(NamedTuple):
    """An image file."""

    path: Path

    def load(self) -> Image:
        return read_photo(self.path)

    def exists(self) -> bool:
        return self.path.is_file()


class VideoFrame(NamedTuple):
    """Frame ``number`` (from 0) of a video file."""

    path: Path
    number: int

    def load(self) -> Image:
        video = cv2.VideoCapture(str(self.path))
        try:
            if self.number:
                video.set(cv2.CAP_PROP_POS_FRAMES, self.number)
            found, image = video.read()
        finally:
            video.release()
        if not found:
            raise InputError(
                f"{self.path} has no readable frame {self.number}; check the annotation's frame "
                "numbers or copy the video again"
            )
        return np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2RGB), np.uint8)

    def exists(self) -> bool:
        return self.path.is_file()


class SceneFrame(NamedTuple):
    """A synthetic scene drawn at ``size_hw``; the same scene always gives the same bytes."""

    scene: Scene
    size_hw: tuple[int, int]

    def render(self) -> Rendered:
        """Picture and labels (object index + 1)."""
        return _rendered(self)

    def load(self) -> Image:
        return self.render().image_rgb

    def labels(self) -> Image:
        """uint8 (H, W): object index + 1."""
        return self.render().labels

    def exists(self) -> bool:
        return True


class ClipPicture(NamedTuple):
    """Frame ``number`` of a synthetic clip."""

    config: ClipConfig
    number: int

    def load(self) -> Image:
        return _frame(self).image_rgb

    def labels(self) -> Image:
        """uint8 (H, W): object index + 1."""
        return _frame(self).labels

    def exists(self) -> bool:
        return True


@lru_cache(maxsize=8)
def _rendered(picture: SceneFrame) -> Rendered:
    """Kept for a while: each object's mask asks for the same labels again."""
    rendered = render(picture.scene, picture.size_hw)
    for plane in rendered:
        plane.setflags(write=False)
    return rendered


@lru_cache(maxsize=8)
def _frame(picture: ClipPicture) -> ClipFrame:
    frame = _clip(picture.config).frame_at(picture.number)
    for plane in (frame.image_rgb, frame.labels):
        plane.setflags(write=False)
    return frame


@lru_cache(maxsize=2)
def _clip(config: ClipConfig) -> Clip:
    return Clip(config)
