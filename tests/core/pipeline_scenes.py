"""Tiny recordings for tests of the pipeline: a textured frame and a gaze that dwells on places."""

from collections.abc import Iterable, Iterator

import numpy as np

from tracevlm_ros.core.pipeline import Pipeline, StepResult
from tracevlm_ros.core.slow_path import DescribeRequest, describe
from tracevlm_ros.core.types import Caption, Frame, GazeSample

MS = 1_000_000
START_NS = 1_700_000_000_000_000_000
SIZE_HW = (120, 160)


def frames(count: int, period_ms: int = 40, start_ns: int = START_NS) -> list[Frame]:
    """A still camera on noise, which a tracker can follow."""
    image = np.random.default_rng(3).integers(0, 255, (*SIZE_HW, 3)).astype(np.uint8)
    return [Frame(start_ns + i * period_ms * MS, image, "scene_camera") for i in range(count)]


def dwell(
    x_px: float, y_px: float, start_ms: int, end_ms: int, seed: int = 5, start_ns: int = START_NS
) -> list[GazeSample]:
    """Gaze at 125 Hz round one place."""
    noise = np.random.default_rng(seed)
    return [
        GazeSample(
            start_ns + t * MS,
            x_px + float(noise.normal(0, 0.5)),
            y_px + float(noise.normal(0, 0.5)),
        )
        for t in range(start_ms, end_ms, 8)
    ]


def by_stamp(*streams: list[Frame] | list[GazeSample]) -> Iterator[Frame | GazeSample]:
    """All samples and frames in the order of their stamps; at a tie the frame comes first."""
    merged: list[Frame | GazeSample] = [item for stream in streams for item in stream]
    yield from sorted(merged, key=lambda item: (item.stamp_ns, isinstance(item, GazeSample)))


def answer(pipeline: Pipeline, request: DescribeRequest) -> Caption:
    """Run a request to its end and hand the answer back."""
    *_, (caption, description) = describe(pipeline.engine, request)
    pipeline.deliver(request, description)
    return caption


def play(
    pipeline: Pipeline, items: Iterable[Frame | GazeSample]
) -> tuple[list[StepResult], list[Caption]]:
    """Offline: every request is answered before the next step."""
    results, captions = play_on(pipeline, items)
    pipeline.flush()
    last_results, last_captions = play_on(pipeline, [])
    return results + last_results, captions + last_captions


def play_on(
    pipeline: Pipeline, items: Iterable[Frame | GazeSample]
) -> tuple[list[StepResult], list[Caption]]:
    """The same, and more may follow."""
    results: list[StepResult] = []
    captions: list[Caption] = []

    def drain() -> None:
        while (result := pipeline.step()) is not None:
            results.append(result)
            captions.extend(answer(pipeline, request) for request in pipeline.requests())

    drain()
    for item in items:
        if isinstance(item, Frame):
            pipeline.add_frame(item)
        else:
            pipeline.add_gaze(item)
        drain()
    return results, captions
