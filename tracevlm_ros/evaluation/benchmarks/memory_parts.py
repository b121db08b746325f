"""What each part of the mask memory is worth: the pipeline with and without it, on three sets."""

import dataclasses
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

from tracevlm_ros.core.config import PipelineConfig
from tracevlm_ros.core.engine import Engine
from tracevlm_ros.core.engine_wrapper import EngineWrapper
from tracevlm_ros.core.types import Image
from tracevlm_ros.evaluation.benchmarks.clip_sets import ClipToFollow
from tracevlm_ros.evaluation.benchmarks.davis import follow_clip, score_clip
from tracevlm_ros.evaluation.benchmarks.scores import MethodOnClip, silent, summarize_clips

PARTS: dict[str, dict[str, Any]] = {
    "model alone": {"enabled": False, "steer": False},
    "whole memory": {},
    "without colours": {"colour_weight": 0.0},
    "without carrying": {"kept": 0.0},
    "without steering": {"steer": False},
    "without doubt": {"least_trust": 1.0},
    "without keypoints": {"seed_weight": 0.0},
    "without edges": {"edge_px": 0},
    "asked every other frame": {"ask_every": 2},
}


class EncodedOnce(EngineWrapper):
    """An engine that reads each picture of one clip once, however often the clip is run.

    Features are kept by the place of the pixels: hold the pictures as long as this engine.
    """

    def __init__(self, inner: Engine) -> None:
        super().__init__(inner)
        self._features: dict[tuple[Any, ...], Any] = {}

    def encode(self, image_rgb: Image) -> Any:
        place = image_rgb.__array_interface__["data"][0]
        key = (place, image_rgb.shape, image_rgb.strides)
        if key not in self._features:
            self._features[key] = self.inner.encode(image_rgb)
        return self._features[key]

    def close(self) -> None:
        """The inner engine belongs to the caller and stays open."""
        self._features.clear()


class PartOnSet(NamedTuple):
    """``figures`` as ``summarize_clips`` makes them, without times: pictures were encoded once."""

    part: str
    figures: dict[str, Any]


def compare_parts(
    clips: Iterable[ClipToFollow],
    engine: Engine,
    config: PipelineConfig | None = None,
    parts: Sequence[str] = tuple(PARTS),
    progress: Callable[[int], None] = silent,
) -> list[PartOnSet]:
    """J and F of ``clips`` for the settings ``config`` with each of ``parts`` changed."""
    base = config or PipelineConfig()
    rows: list[MethodOnClip] = []
    for done, clip in enumerate(clips, start=1):
        once = EncodedOnce(engine)
        for part in parts:
            memory = dataclasses.replace(base.memory, **PARTS[part])
            answers = follow_clip(clip, once, dataclasses.replace(base, memory=memory))
            rows.append(score_clip(clip, part, answers.masks))
        once.close()
        progress(done)
    return [
        PartOnSet(part, {key: value for key, value in found.items() if key != "ms_per_frame"})
        for part, found in summarize_clips(rows).items()
    ]
