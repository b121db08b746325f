"""A stroke on the first frame, masks through the clip, by the pipeline of the robot.

DAVIS rules: J and F of every frame but the first and the last, mean over frames, then over clips.
Peers in the same run: GrabCut per frame, seeded by the pipeline's tracked keypoints; the first
GrabCut mask carried by dense optical flow; the hull of the tracked keypoints.
"""

import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from tracevlm_ros.core.config import PipelineConfig
from tracevlm_ros.core.engine import Engine
from tracevlm_ros.core.pipeline import Pipeline
from tracevlm_ros.core.types import BoolArray, FloatArray, Image, Keypoints
from tracevlm_ros.evaluation.adapters.case import clip_stamp_ns, stroke_settings, stroke_then_clip
from tracevlm_ros.evaluation.adapters.davis import RATE_HZ, DavisClip
from tracevlm_ros.evaluation.benchmarks.clip_sets import ClipToFollow, of_davis
from tracevlm_ros.evaluation.benchmarks.scores import MODEL, MethodOnClip, judge
from tracevlm_ros.evaluation.outcome import FrameOutcome
from tracevlm_ros.evaluation.peers.flow_warp import FlowWarp
from tracevlm_ros.evaluation.peers.grabcut import grabcut_mask
from tracevlm_ros.evaluation.peers.hull import hull_mask
from tracevlm_ros.evaluation.replay import replay

PEERS = ("grabcut", "flow_warp", "hull")


class ClipAnswers(NamedTuple):
    """Of each frame of a clip: mask and the keypoints of its trace (None where there is none).

    ``seconds`` is the time of the pipeline on the frames after the first, tracking and
    preprocessing included and reading of files not; ``describe_seconds`` that of the words.
    """

    masks: list[BoolArray]
    keypoints: list[Keypoints | None]
    seconds: float
    describe_seconds: float
    caption: str


def benchmark_clip(
    clip: DavisClip,
    engine: Engine,
    config: PipelineConfig | None = None,
    peers: Sequence[str] = PEERS,
    every: int = 1,
) -> list[MethodOnClip]:
    """The pipeline and ``peers`` on one clip. Peers that need no past (GrabCut, the hull) run on
    every ``every``-th frame only, counted from the second."""
    read = of_davis(clip)
    frames, truths = read.frames, read.truths
    answers = follow_clip(read, engine, config)
    inner = list(range(1, len(frames) - 1))
    model = score_clip(read, MODEL, answers.masks)
    rows = [model._replace(seconds=answers.seconds, frames=len(frames) - 1)]
    size_hw = truths[0].shape
    for peer in peers:
        if peer == "flow_warp":
            carried = _carried(frames, clip.stroke_xyt)
            rows.append(_scored(clip.name, peer, inner, truths, carried))
        elif peer == "grabcut":
            rows.append(
                _scored(
                    clip.name, peer, inner[::every], truths,
                    lambda i: _grabcut(frames[i], answers.keypoints[i]),
                )
            )  # fmt: skip
        else:
            rows.append(
                _scored(
                    clip.name, peer, inner[::every], truths,
                    lambda i: hull_mask(_places(answers.keypoints[i]), size_hw),
                )
            )  # fmt: skip
    return rows


def follow_clip(
    clip: ClipToFollow, engine: Engine, config: PipelineConfig | None = None
) -> ClipAnswers:
    """Run the pipeline over the clip with its stroke; no ground truth is looked at."""
    frames = clip.frames
    pipeline = Pipeline(stroke_settings(config), engine)
    index_of = {clip_stamp_ns(clip.stroke_xyt, i, RATE_HZ): i for i in range(len(frames))}
    masks = [np.zeros(frame.shape[:2], dtype=bool) for frame in frames]
    keypoints: list[Keypoints | None] = [None] * len(frames)
    step_ms = describe_ms = 0.0
    caption = ""
    for outcome in replay(stroke_then_clip(frames, clip.stroke_xyt, RATE_HZ), pipeline, engine):
        caption = _caption(outcome) or caption
        index = index_of.get(outcome.frame.stamp_ns)
        if index is None:
            continue
        if outcome.masks is not None:
            masks[index] = outcome.masks.labels > 0
        if outcome.traces:
            keypoints[index] = outcome.traces[0].keypoints
        step_ms += (outcome.step_ms or 0.0) if index else 0.0
        describe_ms += outcome.describe_ms or 0.0
    return ClipAnswers(masks, keypoints, step_ms / 1e3, describe_ms / 1e3, caption)


def score_clip(clip: ClipToFollow, method: str, masks: Sequence[BoolArray]) -> MethodOnClip:
    """J and F of every frame but the first and the last; the time is not that of ``method``."""
    inner = range(1, len(clip.frames) - 1)
    return _scored(clip.name, method, inner, clip.truths, masks.__getitem__)


def _scored(
    clip: str,
    method: str,
    indices: Sequence[int],
    truths: Sequence[BoolArray],
    answer: Callable[[int], BoolArray],
) -> MethodOnClip:
    scores, seconds = [], 0.0
    for index in indices:
        before = time.perf_counter()
        mask = answer(index)
        seconds += time.perf_counter() - before
        scores.append(judge(mask, truths[index]))
    places = np.asarray(indices, dtype=np.float64) / len(truths)
    j, f = (np.array([getattr(score, key) for score in scores]) for key in ("j", "f"))
    return MethodOnClip(clip, method, j, f, places, seconds, len(indices))


def _carried(frames: Sequence[Image], stroke_xyt: FloatArray) -> Callable[[int], BoolArray]:
    """Masks of the flow warp, asked for one frame after the other."""
    warp = FlowWarp(frames[0], grabcut_mask(frames[0], stroke_xyt[:, :2]))
    return lambda index: warp.advance(frames[index])


def _grabcut(image_rgb: Image, keypoints: Keypoints | None) -> BoolArray:
    if keypoints is None:
        return np.zeros(image_rgb.shape[:2], dtype=bool)
    return grabcut_mask(image_rgb, _places(keypoints), keypoints.pen_up)


def _places(keypoints: Keypoints | None) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    """Where the keypoints are (K, 2); NaN where they are lost."""
    if keypoints is None:
        return np.zeros((0, 2))
    return np.where(keypoints.lost[:, None], np.nan, keypoints.xy_px)


def _caption(outcome: FrameOutcome) -> str:
    finals = [spoken.caption.text for spoken in outcome.captions if spoken.caption.is_final]
    return finals[-1] if finals else ""
