"""Prompts on a Qwen vocabulary: text, pictures, clips and traces laid out with their rope ids.

The three rope axes are time, row and column. Text counts on along all three; a picture spans its
merged grid; the steps of a clip lie ``tokens_per_second`` x seconds apart on the time axis.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tracevlm_ros.core.errors import InputError
from training.model.config import QwenConfig
from training.model.qwen.layout import Grid, check_grid


class Text(NamedTuple):
    """Token ids, control tokens included."""

    ids: tuple[int, ...]


class Picture(NamedTuple):
    grid: Grid


class Clip(NamedTuple):
    """``seconds_per_step``: between two temporal steps, each of ``temporal_patch`` frames."""

    grid: Grid
    seconds_per_step: float


class TraceSlots(NamedTuple):
    """``<traj>``, one placeholder per valid keypoint, ``</traj>``."""

    keypoints: int


Part = Text | Picture | Clip | TraceSlots


class QwenPrompt(NamedTuple):
    """``ids`` (L,), ``position_ids`` (3, L); the columns of merged visual tokens (N,) and of
    keypoints (K,), in the order of the parts; the rope id of the first answer token."""

    ids: NDArray[np.int64]
    position_ids: NDArray[np.int64]
    visual_columns: NDArray[np.int64]
    trace_columns: NDArray[np.int64]
    next_position: int


def lay_out(parts: Sequence[Part], config: QwenConfig) -> QwenPrompt:
    """Raises InputError for no parts at all, and for a grid that cannot be merged."""
    ids: list[int] = []
    places: list[NDArray[np.int64]] = []
    visual: list[int] = []
    trace: list[int] = []
    tokens, at = config.tokens, 0

    def say(text: Sequence[int]) -> None:
        nonlocal at
        places.append(np.tile(np.arange(at, at + len(text), dtype=np.int64), (3, 1)))
        ids.extend(text)
        at += len(text)

    for part in parts:
        if isinstance(part, Text):
            say(part.ids)
        elif isinstance(part, TraceSlots):
            first = len(ids) + 1
            trace.extend(range(first, first + part.keypoints))
            say([tokens.traj_start, *[tokens.traj_pad] * part.keypoints, tokens.traj_end])
        else:
            say([tokens.vision_start])
            span = visual_positions(part, config)
            visual.extend(range(len(ids), len(ids) + span.shape[1]))
            pad = tokens.image_pad if isinstance(part, Picture) else tokens.video_pad
            ids.extend([pad] * span.shape[1])
            places.append(span + at)
            axes = span if config.text_after_video == "furthest" else span[1:]
            at += int(axes.max()) + 1
            say([tokens.vision_end])
    if not ids:
        raise InputError("the prompt is empty; give at least one part")
    position_ids = np.concatenate(places, axis=1)
    return QwenPrompt(
        np.array(ids, np.int64),
        position_ids,
        np.array(visual, np.int64),
        np.array(trace, np.int64),
        int(position_ids.max()) + 1,
    )


def visual_positions(part: Picture | Clip, config: QwenConfig) -> NDArray[np.int64]:
    """Rope ids (3, N) of the merged tokens, counted from 0.

    Time is reckoned in fp32, as transformers does: a product just below a whole number decides.
    """
    merge = config.vision.merge
    check_grid(part.grid, merge)
    steps = np.arange(part.grid.steps, dtype=np.float32)
    if isinstance(part, Clip):
        steps = steps * (
            np.float32(config.vision.tokens_per_second) * np.float32(part.seconds_per_step)
        )
    axes = (
        steps.astype(np.int64),
        np.arange(part.grid.rows // merge),
        np.arange(part.grid.columns // merge),
    )
    return np.stack([axis.ravel() for axis in np.meshgrid(*axes, indexing="ij")]).astype(np.int64)


def chat(
    config: QwenConfig,
    encode: Callable[[str], Sequence[int]],
    media: Sequence[Picture | Clip],
    request: str,
    trace: TraceSlots | None = None,
    system: str = "You are a helpful assistant.",
) -> QwenPrompt:
    """One turn of Qwen's chat form: media, then the trace, then ``request``, then the answer.

    ``encode`` turns plain text into ids, control tokens never among them.
    """
    start, end = config.tokens.turn_start, config.tokens.turn_end
    newline = tuple(encode("\n"))

    def turn(role: str, text: str) -> tuple[int, ...]:
        return (start, *encode(f"{role}\n{text}"))

    middle: list[Part] = [*media, *([] if trace is None else [trace])]
    return lay_out(
        [
            Text((*turn("system", system), end, *newline, *turn("user", ""))),
            *middle,
            Text((*encode(request), end, *newline, *turn("assistant", ""))),
        ],
        config,
    )
