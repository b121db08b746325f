"""An engine without a model: the same prompts always give the same words and discs.

For tests and for wiring a graph before a model is at hand. It reads nothing but colour and place,
and says so: its model id is ``fake``.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from engine.contract import CODEBOOK_TOKENS
from engine.runtime.limits import (
    require_image,
    require_index,
    require_open,
    require_priors,
    require_prompts,
    require_seg_embeddings,
)
from tracevlm_ros.core.engine import AnswerPart, EngineInfo, Location, TracePrompt, TraceQuestion
from tracevlm_ros.core.errors import EngineMismatch
from tracevlm_ros.core.types import Description, Image

RADIUS = 0.05
"""Radius of the disc round each keypoint, as a fraction of the frame's long side."""
SCORE = 0.5
"""Said of every description: this engine has no probabilities."""
LOGIT_LIMIT = 8.0
_EMBEDDING_WIDTH = 8
_COLOURS: dict[str, tuple[int, int, int]] = {
    "black": (0, 0, 0),
    "grey": (128, 128, 128),
    "white": (255, 255, 255),
    "red": (220, 40, 40),
    "green": (40, 180, 60),
    "blue": (40, 70, 220),
    "yellow": (230, 210, 50),
}
_ROWS = ("top", "middle", "bottom")
_COLUMNS = ("left", "centre", "right")


class FakeFeatures(NamedTuple):
    """``image_rgb`` is the caller's array, not copied: it must not change while in use."""

    image_rgb: Image


class FakeGrounded(NamedTuple):
    """One frame and its traces."""

    image_rgb: Image
    prompts: tuple[TracePrompt, ...]


class FakeEngine:
    """Implements ``core.engine.Engine``, ``JointDescriber`` and ``Locator``: discs round keypoints,
    captions of colour and place, and finding colours.

    ``between_words`` is called before each word of a description but the first; a test may wait in
    it, which makes the slow path as slow as the test needs. ``encode`` waits ``encode_ms``, as
    for a GPU, and leaves the cores to others.
    """

    def __init__(
        self,
        *,
        mask_size_hw: tuple[int, int] = (64, 64),
        max_traces: int = 8,
        max_keypoints: int = 64,
        max_answers: int = 1,
        between_words: Callable[[], None] = lambda: None,
        encode_ms: float = 0.0,
    ) -> None:
        self._info = EngineInfo(
            model_id="fake",
            backend="fake",
            image_size_hw=(224, 224),
            mask_size_hw=mask_size_hw,
            max_traces=max_traces,
            max_keypoints=max_keypoints,
            notes=("the fake engine answers from colour and place, no model is loaded",),
            locates=True,
            max_answers=max_answers,
            leaves_cores=encode_ms > 0.0,
        )
        self._encode_s = encode_ms / 1e3
        self._between_words = between_words
        self._closed = False

    @property
    def info(self) -> EngineInfo:
        return self._info

    @property
    def unspoken(self) -> None:
        """The size of a disc is said with the words."""

    def encode(self, image_rgb: Image) -> FakeFeatures:
        """Keep the frame (no copy)."""
        require_open(self._closed)
        require_image(image_rgb)
        time.sleep(self._encode_s)
        return FakeFeatures(image_rgb)

    def descriptors(self, features: Any) -> None:
        """None: colours are all that it looks at."""

    def ground(self, features: Any, prompts: Sequence[TracePrompt]) -> FakeGrounded:
        """Tie traces to the frame; any number of them."""
        require_open(self._closed)
        require_prompts(prompts, self._info)
        if not isinstance(features, FakeFeatures):
            raise EngineMismatch(f"features are {type(features).__name__}, not of this engine")
        return FakeGrounded(features.image_rgb, tuple(prompts))

    def segment(
        self,
        grounded: Any,
        seg_embeddings: Sequence[NDArray[np.float32] | None],
        priors: Sequence[NDArray[np.float32] | None] | None = None,
    ) -> list[NDArray[np.float32] | None]:
        """Logits above 0 inside discs round the keypoints, radius as the embeddings say; ``priors``
        change nothing."""
        require_open(self._closed)
        image_rgb, prompts = _require_grounded(grounded)
        require_seg_embeddings(len(seg_embeddings), len(prompts))
        require_priors(priors, len(prompts))
        return [
            None
            if embeddings is None
            else disc_logits(
                prompt.points, float(embeddings[0, 0]), image_rgb.shape[:2], self._info.mask_size_hw
            )
            for prompt, embeddings in zip(prompts, seg_embeddings, strict=True)
        ]

    def describe(
        self,
        grounded: Any,
        index: int,
        question: str | None = None,
        cancelled: Callable[[], bool] = lambda: False,
    ) -> Iterator[Description]:
        """Say one more word per part; a question is repeated in front of the same words."""
        require_open(self._closed)
        image_rgb, prompts = _require_grounded(grounded)
        require_index(index, len(prompts))
        caption = caption_of(image_rgb, prompts[index].points)
        text = caption if question is None else f"{question.strip()} {caption}"
        return self._say(text.split(), cancelled)

    def describe_together(
        self, asked: Sequence[TraceQuestion], cancelled: Callable[[int], bool] = lambda _: False
    ) -> Iterator[AnswerPart]:
        """One word of each description in turn."""
        size = self._info.max_answers
        said = [
            (place, self.describe(*question, partial(cancelled, place)))
            for place, question in enumerate(asked)
        ]
        for start in range(0, len(said), size):
            under_way = said[start : start + size]
            while under_way:
                going = []
                for place, parts in under_way:
                    part = next(parts, None)
                    if part is not None:
                        yield AnswerPart(place, part)
                        going.append((place, parts))
                under_way = going

    def _say(self, words: list[str], cancelled: Callable[[], bool]) -> Iterator[Description]:
        for count in range(1, len(words)):
            if cancelled():
                return
            yield Description(" ".join(words[:count]), False, SCORE)
            self._between_words()
        if cancelled():
            return
        embeddings = np.full((CODEBOOK_TOKENS, _EMBEDDING_WIDTH), RADIUS, dtype=np.float32)
        yield Description(" ".join(words), True, SCORE, embeddings)

    def locate(
        self, features: Any, text: str, cancelled: Callable[[], bool] = lambda: False
    ) -> Location | None:
        """Everything of the first colour that ``text`` names; None when it names none, or none of
        it is in the frame."""
        require_open(self._closed)
        if not isinstance(features, FakeFeatures):
            raise EngineMismatch(f"features are {type(features).__name__}, not of this engine")
        colour = next((word for word in text.lower().split() if word in _COLOURS), None)
        if colour is None or cancelled():
            return None
        is_it = _is_colour(features.image_rgb, colour, self._info.mask_size_hw)
        rows, columns = np.nonzero(is_it)
        if not len(rows):
            return None
        ends = [rows.argmin(), columns.argmax(), rows.argmax(), columns.argmin()]
        places = np.stack([columns[ends], rows[ends]], axis=1) + 0.5
        points = places / np.array(is_it.shape[::-1])
        return Location(points, np.where(is_it, LOGIT_LIMIT, -LOGIT_LIMIT).astype(np.float32))

    def close(self) -> None:
        self._closed = True


def _require_grounded(grounded: Any) -> FakeGrounded:
    if not isinstance(grounded, FakeGrounded):
        raise EngineMismatch(f"grounded is {type(grounded).__name__}, not of this engine")
    return grounded


def disc_logits(
    points: NDArray[np.float64],
    radius: float,
    frame_hw: tuple[int, ...],
    mask_hw: tuple[int, int],
) -> NDArray[np.float32]:
    """Logits (``mask_hw``) of the union of discs; ``radius`` is a fraction of the long side.

    0 on the rims, rising to ``LOGIT_LIMIT`` at the points, falling to minus that outside.
    """
    height, width = frame_hw[:2]
    x_px = (np.arange(mask_hw[1]) + 0.5) / mask_hw[1] * width
    y_px = (np.arange(mask_hw[0]) + 0.5) / mask_hw[0] * height
    squared_x = (x_px[None, :] - points[:, :1] * width) ** 2
    squared_y = (y_px[None, :] - points[:, 1:] * height) ** 2
    nearest = np.sqrt((squared_y[:, :, None] + squared_x[:, None, :]).min(axis=0))
    logits = LOGIT_LIMIT * (1.0 - nearest / (radius * max(height, width)))
    return np.asarray(np.maximum(logits, -LOGIT_LIMIT), dtype=np.float32)


def _is_colour(image_rgb: Image, colour: str, size_hw: tuple[int, int]) -> NDArray[np.bool_]:
    """(h, w): where the pixel at the centre of each cell is nearest to ``colour``."""
    rows, columns = (
        ((np.arange(cells) + 0.5) / cells * pixels).astype(np.int64)
        for cells, pixels in zip(size_hw, image_rgb.shape[:2], strict=True)
    )
    seen = image_rgb[rows[:, None], columns[None, :]].astype(np.int64)
    known = np.array(list(_COLOURS.values()))
    nearest = ((seen[:, :, None, :] - known) ** 2).sum(axis=-1).argmin(axis=-1)
    return np.asarray(nearest == list(_COLOURS).index(colour))


def caption_of(image_rgb: Image, points: NDArray[np.float64]) -> str:
    """Name the median colour under ``points`` (0..1) and the ninth of the frame they are in."""
    height, width = image_rgb.shape[:2]
    columns = np.minimum((points[:, 0] * width).astype(np.int64), width - 1)
    rows = np.minimum((points[:, 1] * height).astype(np.int64), height - 1)
    seen = np.median(image_rgb[rows, columns].astype(np.float64), axis=0)
    colour = min(_COLOURS, key=lambda name: float(((np.asarray(_COLOURS[name]) - seen) ** 2).sum()))
    x, y = points.mean(axis=0)
    place = f"{_ROWS[min(int(y * 3), 2)]} {_COLUMNS[min(int(x * 3), 2)]}"
    return f"something {colour} at the {place}"
