"""One engine serves several cameras as if each had its own, and looks at every frame once."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

pytest.importorskip("onnx", reason="the tiny model is built with the package `onnx`")

from engine.runtime.loading import load_backend
from engine.runtime.manifest import read_manifest
from engine.runtime.model_engine import ModelEngine
from tests.core.pipeline_scenes import by_stamp, dwell, frames
from tests.engine.tiny_model import write_tiny_model
from tracevlm_ros.core.config import PipelineConfig
from tracevlm_ros.core.pipeline import Pipeline, StepResult
from tracevlm_ros.core.slow_path import describe
from tracevlm_ros.core.types import Caption, Frame, GazeSample

FRAMES = 24
SIZES_HW = ((120, 160), (96, 200))


class Looks:
    """A back end that counts the calls of each graph."""

    def __init__(self, inner: Any) -> None:
        self._inner = inner
        self.calls: dict[str, int] = {}

    def run(self, graph: str, *given: Any, **named: Any) -> Any:
        self.calls[graph] = self.calls.get(graph, 0) + 1
        return self._inner.run(graph, *given, **named)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("cameras") / "tiny"
    return write_tiny_model(directory, masks_from_stroke=True)


def open_engine(model: Path) -> tuple[ModelEngine, Looks]:
    manifest = read_manifest(model)
    looks = Looks(load_backend(manifest, "onnxruntime-cpu").backend)
    return ModelEngine(manifest, looks), looks


class Camera:
    """A recording of one camera, and what a pipeline makes of it."""

    def __init__(self, number: int, engine: ModelEngine) -> None:
        height, width = SIZES_HW[number]
        self.pipeline = Pipeline(PipelineConfig(), engine)
        self.results: list[StepResult] = []
        self.captions: list[Caption] = []
        gaze = dwell(40 + 60 * number, 40 + 20 * number, 0, 760, seed=number)
        self._items: Iterator[Frame | GazeSample] = by_stamp(
            [
                frame._replace(image_rgb=cv2.resize(frame.image_rgb, (width, height)))
                for frame in frames(FRAMES)
            ],
            gaze,
        )

    def play_one(self) -> bool:
        """One more item of the recording; False at its end."""
        item = next(self._items, None)
        if item is None:
            self.pipeline.flush()
        elif isinstance(item, Frame):
            self.pipeline.add_frame(item)
        else:
            self.pipeline.add_gaze(item)
        while (result := self.pipeline.step()) is not None:
            self.results.append(result)
            for request in self.pipeline.requests():
                *_, (caption, description) = describe(self.pipeline.engine, request)
                self.pipeline.deliver(request, description)
                self.captions.append(caption)
        return item is not None


def test_two_cameras_over_one_engine_get_what_each_gets_over_its_own(model: Path) -> None:
    separate = []
    for number in range(2):
        engine, _ = open_engine(model)
        camera = Camera(number, engine)
        while camera.play_one():
            pass
        separate.append(camera)
        engine.close()

    engine, looks = open_engine(model)
    shared = [Camera(number, engine) for number in range(2)]
    going = list(shared)
    while going:
        going = [camera for camera in going if camera.play_one()]
    engine.close()

    for camera, alone in zip(shared, separate, strict=True):
        assert len(camera.results) == FRAMES
        assert any(result.masks.labels.any() for result in camera.results)
        assert camera.captions
        for found, wanted in zip(camera.results, alone.results, strict=True):
            assert found.frame.stamp_ns == wanted.frame.stamp_ns
            np.testing.assert_array_equal(found.masks.labels, wanted.masks.labels)
            assert [item.trace_id for item in found.traces] == [
                item.trace_id for item in wanted.traces
            ]
        assert [caption.text for caption in camera.captions] == [c.text for c in alone.captions]
        assert [c.region_xyxy_px for c in camera.captions] == [
            c.region_xyxy_px for c in alone.captions
        ]
    with_traces = sum(bool(result.traces) for camera in shared for result in camera.results)
    assert looks.calls["vision"] == with_traces > FRAMES
