"""What a running graph tells, joined by stamps; the log is a list."""

from typing import Any

import numpy as np

from tests.evaluation.scenes import box, keypoints_at
from tracevlm_ros.cli.live_scene import HELD_FRAMES, LiveScene
from tracevlm_ros.core.label_image import label_of
from tracevlm_ros.core.types import Caption, Frame, GazeSample, Masks, TraceSnapshot
from tracevlm_ros.evaluation.outcome import FrameOutcome, SpokenCaption

IMAGE = np.zeros((40, 60, 3), dtype=np.uint8)


class Log:
    """Stands for a RerunLog."""

    def __init__(self) -> None:
        self.outcomes: list[FrameOutcome] = []
        self.texts: list[dict[int, str]] = []
        self.captions: list[SpokenCaption] = []
        self.gaze: list[GazeSample] = []

    def add_frame(self, outcome: FrameOutcome, texts: dict[int, str]) -> None:
        self.outcomes.append(outcome)
        self.texts.append(texts)

    def add_caption(self, spoken: SpokenCaption) -> None:
        self.captions.append(spoken)

    def add_gaze(self, samples: list[GazeSample]) -> None:
        self.gaze += samples


def scene_and_log() -> tuple[LiveScene, Log]:
    log: Any = Log()
    return LiveScene(log), log


def masks(stamp_ns: int) -> Masks:
    return Masks(stamp_ns, "camera", box(3, 4, 20, 30, label_of(2)), (2,))


def trace(sample_count: int) -> TraceSnapshot:
    return TraceSnapshot(2, 0, 5, True, sample_count, keypoints_at((1.0, 2.0), (3.0, 4.0)))


def test_a_frame_is_written_once_with_all_that_came_for_it_in_whatever_order() -> None:
    scene, log = scene_and_log()
    scene.add_masks(masks(10))
    scene.add_frame(Frame(10, IMAGE))
    scene.add_gaze(GazeSample(9, 1.0, 2.0))
    scene.add_trace(10, trace(4))
    scene.add_trace(10, trace(5))
    assert log.outcomes == []
    scene.add_frame(Frame(20, IMAGE))
    scene.add_masks(masks(20))
    (first,) = log.outcomes
    assert (first.frame.stamp_ns, first.masks.stamp_ns) == (10, 10)
    assert [one.sample_count for one in first.traces] == [5]
    assert [one.stamp_ns for one in log.gaze] == [9]
    scene.finish()
    assert [one.masks.stamp_ns for one in log.outcomes] == [10, 20]
    assert scene.frames == 2
    assert not +scene.drops


def test_frames_are_shown_where_nobody_makes_masks_and_counted() -> None:
    scene, log = scene_and_log()
    for stamp_ns in range(1, HELD_FRAMES + 6):
        scene.add_frame(Frame(stamp_ns, IMAGE))
    assert [one.frame.stamp_ns for one in log.outcomes] == [1, 2, 3, 4, 5]
    assert scene.drops["frame_without_masks"] == 5


def test_masks_of_a_frame_that_never_came_are_counted() -> None:
    scene, log = scene_and_log()
    scene.add_masks(masks(10))
    scene.add_frame(Frame(20, IMAGE))
    scene.add_masks(masks(20))
    scene.finish()
    assert len(log.outcomes) == 1
    assert scene.drops["masks_without_frame"] == 1


def test_stamps_that_fall_begin_a_new_recording() -> None:
    scene, log = scene_and_log()
    for stamp_ns in (1010, 1020, 10, 20):
        scene.add_frame(Frame(stamp_ns, IMAGE))
        scene.add_masks(masks(stamp_ns))
    scene.finish()
    shown = {one.frame.stamp_ns: one.masks for one in log.outcomes}
    assert shown.keys() == {1010, 1020, 10, 20}
    assert shown[20] is not None
    assert shown[1020] is not None


def test_a_caption_stands_beside_its_trace_from_when_it_came() -> None:
    scene, log = scene_and_log()
    caption = Caption(
        trace_id=2,
        stamp_ns=10,
        frame_id="camera",
        text="a ball",
        score=0.5,
        is_final=True,
        trace_is_open=False,
        start_ns=0,
        end_ns=5,
        keypoints=keypoints_at((1.0, 2.0)),
        region_xyxy_px=(0.0, 0.0, 1.0, 1.0),
        question="",
        model_id="test",
    )
    for stamp_ns in (10, 20, 30):
        scene.add_frame(Frame(stamp_ns, IMAGE))
        scene.add_masks(masks(stamp_ns))
        if stamp_ns == 20:
            scene.add_caption(SpokenCaption(caption, published_ns=10**18))
    scene.finish()
    assert [one.caption.text for one in log.captions] == ["a ball"]
    assert log.texts == [{}, {2: "a ball"}, {2: "a ball"}]
