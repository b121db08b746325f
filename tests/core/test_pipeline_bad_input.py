"""What no camera and no tracker should do, through the whole pipeline."""

import cv2
import numpy as np
import pytest

from engine.runtime import load_engine
from tests.core.pipeline_scenes import MS, START_NS, by_stamp, dwell, frames, play
from tracevlm_ros.core.config import PipelineConfig
from tracevlm_ros.core.fovea import FoveaConfig
from tracevlm_ros.core.mask_memory import MaskMemoryConfig
from tracevlm_ros.core.pipeline import Pipeline
from tracevlm_ros.core.tracking import TraceTracker
from tracevlm_ros.core.types import Frame, GazeSample


def pipeline_of(config: PipelineConfig | None = None) -> Pipeline:
    return Pipeline(config or PipelineConfig(), load_engine("fake"))


def resized(frame: Frame, size_hw: tuple[int, int]) -> Frame:
    image = cv2.resize(frame.image_rgb, size_hw[::-1], interpolation=cv2.INTER_LINEAR)
    return frame._replace(image_rgb=np.asarray(image, np.uint8))


@pytest.mark.parametrize("size_hw", [(240, 320), (60, 80), (160, 120)])
def test_frames_that_change_size_end_the_trace_and_all_goes_on_at_the_new_size(
    size_hw: tuple[int, int],
) -> None:
    """With mask memory, window and dwell map at work; and back to the old size."""
    config = PipelineConfig(
        memory=MaskMemoryConfig(enabled=True), fovea=FoveaConfig(enabled=True, least=0.1)
    )
    pipeline = pipeline_of(config)
    pictures = frames(57)
    sizes = [(120, 160) if i < 19 or i >= 38 else size_hw for i in range(57)]
    shown = [resized(f, size) for f, size in zip(pictures, sizes, strict=True)]
    scale = np.array(size_hw[::-1]) / (160, 120)
    x_px, y_px = (np.array([40.0, 40.0]) * scale).tolist()
    gaze = by_stamp(dwell(40, 40, 0, 740), dwell(x_px, y_px, 760, 1500), dwell(40, 40, 1520, 2240))
    results, captions = play(
        pipeline, by_stamp(shown, [s for s in gaze if isinstance(s, GazeSample)])
    )
    assert [result.masks.labels.shape for result in results] == sizes
    assert {trace.trace_id for result in results for trace in result.traces} == {1, 2, 3}
    assert {caption.trace_id for caption in captions} == {1, 2, 3}
    for trace_id, size in ((1, sizes[0]), (2, sizes[20]), (3, sizes[-1])):
        masks = [r.masks for r in results if trace_id in r.masks.trace_ids]
        own = [mask for mask in masks if np.any(mask.labels == trace_id)]
        assert any(mask.labels.shape == size for mask in own)
    assert pipeline.drops["frame_size_changed"] == 2
    dwelt = pipeline.attention.render(sizes[-1])
    assert dwelt.shape == sizes[-1]
    y, x = np.unravel_index(np.argmax(dwelt), dwelt.shape)
    assert (x, y) == (pytest.approx(40, abs=8), pytest.approx(40, abs=8))


def ahead(samples: list[GazeSample], by_ms: int) -> list[GazeSample]:
    """Samples of a clock that is ahead."""
    return [sample._replace(stamp_ns=sample.stamp_ns + by_ms * MS) for sample in samples]


def test_gaze_whose_clock_leaps_ahead_is_lost_until_it_comes_back() -> None:
    """The tracker's clock is 30 s ahead for half a second; the camera's is not."""
    pipeline = pipeline_of()
    pictures = frames(50)
    items = [
        *by_stamp(pictures[:13], dwell(40, 40, 0, 500)),
        *(
            item if isinstance(item, Frame) else ahead([item], 30_000)[0]
            for item in by_stamp(pictures[13:25], dwell(40, 40, 500, 1000))
        ),
        *by_stamp(pictures[25:], dwell(120, 80, 1000, 2000)),
    ]
    results, _ = play(pipeline, items)
    assert [result.frame.stamp_ns for result in results] == [f.stamp_ns for f in pictures]
    assert {trace.trace_id for result in results for trace in result.traces} == {1, 2}
    assert pipeline.drops["gaze_reset"] == len(dwell(40, 40, 500, 1000))
    assert pipeline.attention.dwell_s() == {
        1: pytest.approx(0.5, abs=0.05),
        2: pytest.approx(1.0, abs=0.08),
    }


def wall(count: int, spot_px: int, drift_px: int = 0) -> list[Frame]:
    """A plain wall, lit from one side, with one red textured spot that drifts to the right."""
    shade = np.linspace(120, 200, 160).astype(np.uint8)
    texture = np.random.default_rng(5).integers(0, 90, (spot_px, spot_px, 1)).astype(np.uint8)
    spot = np.concatenate([200 - texture // 4, texture, texture], axis=2)
    pictures = []
    for index, frame in enumerate(frames(count)):
        image = np.repeat(np.broadcast_to(shade, (120, 160))[..., None], 3, axis=2)
        left = 40 + drift_px * index
        image[40 : 40 + spot_px, left : left + spot_px] = spot
        pictures.append(frame._replace(image_rgb=image))
    return pictures


def test_an_object_is_followed_where_the_background_has_no_features() -> None:
    """Too few corners for a homography: the trace moves by what is seen of the object alone."""
    pictures = wall(40, spot_px=14, drift_px=1)
    tracker = TraceTracker()
    assert not any([tracker.advance(frame).ok for frame in pictures[:10]][1:])
    pipeline = pipeline_of()
    gaze = [
        GazeSample(s.stamp_ns, s.x_px + (s.stamp_ns - START_NS) / (40 * MS), s.y_px)
        for s in dwell(47, 47, 0, 600)
    ]
    results, captions = play(pipeline, by_stamp(pictures, gaze))
    assert len(results) == 40
    assert {caption.trace_id for caption in captions} == {1}
    last = results[-1].traces[-1]
    assert not last.keypoints.lost.any()
    assert np.abs(last.keypoints.xy_px - (47 + 39, 47)).max() < 4
    assert any(np.any(result.masks.labels) for result in results[-5:])


def test_on_a_wall_without_any_feature_a_trace_is_honestly_lost_and_the_next_one_begins() -> None:
    pipeline = pipeline_of()
    results, captions = play(
        pipeline, by_stamp(wall(38, 0), dwell(60, 60, 0, 700), dwell(130, 20, 740, 1480, seed=6))
    )
    assert len(results) == 38
    assert {caption.trace_id for caption in captions} == {1, 2}
    for trace_id, place in ((1, (60, 60)), (2, (130, 20))):
        shown = [t for r in results for t in r.traces if t.trace_id == trace_id]
        assert shown[-1].keypoints.lost.all()
        assert np.abs(shown[-1].keypoints.xy_px - place).max() < 5
