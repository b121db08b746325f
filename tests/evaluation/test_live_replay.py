"""Replay at the recording's own pace."""

import threading
from collections.abc import Iterator

import numpy as np
import pytest

from engine.runtime.fake import FakeEngine
from tracevlm_ros.core.errors import InputError
from tracevlm_ros.core.pipeline import Pipeline
from tracevlm_ros.core.types import Frame
from tracevlm_ros.evaluation.adapters.case import drawn_on_still, pen_samples, stroke_settings
from tracevlm_ros.evaluation.live_replay import FRAME_DEPTH, replay_live
from tracevlm_ros.evaluation.recording import Sample

STROKE = np.array([[20.0 + i, 24.0 + (i % 3), i / 30] for i in range(15)])
IMAGE = np.full((48, 64, 3), 90, dtype=np.uint8)


def drawn() -> Iterator[Sample]:
    yield from drawn_on_still(IMAGE, pen_samples(STROKE))


def test_a_fast_machine_drops_nothing_and_words_come_after_their_frame() -> None:
    engine = FakeEngine()
    pipeline = Pipeline(stroke_settings(), engine)
    outcomes = list(replay_live(drawn(), pipeline, engine, speed=4.0))
    assert len(outcomes) == 3
    assert pipeline.drops["frame_not_processed"] == 0
    spoken = [one for outcome in outcomes for one in outcome.captions]
    assert spoken[-1].caption.is_final
    assert all(one.published_ns >= one.caption.stamp_ns for one in spoken)


def test_frames_that_come_while_the_fast_path_is_busy_are_dropped_oldest_first() -> None:
    taken, fed = threading.Event(), threading.Event()

    class SlowPipeline(Pipeline):
        def add_frame(self, frame: Frame) -> None:
            taken.set()
            assert fed.wait(10)
            super().add_frame(frame)

    def burst() -> Iterator[Sample]:
        for index in range(8):
            yield Frame(1_000_000_000 + index, IMAGE)
            assert taken.wait(10)
        fed.set()

    engine = FakeEngine()
    pipeline = SlowPipeline(stroke_settings(), engine)
    outcomes = list(replay_live(burst(), pipeline, engine))
    assert [outcome.frame.stamp_ns - 1_000_000_000 for outcome in outcomes] == [0, 6, 7]
    assert pipeline.drops["frame_not_processed"] == 8 - 1 - FRAME_DEPTH


def test_an_error_of_the_source_reaches_the_caller() -> None:
    def broken() -> Iterator[Sample]:
        yield Frame(1_000_000_000, IMAGE)
        raise InputError("the file ends here")

    engine = FakeEngine()
    with pytest.raises(InputError, match="ends here"):
        list(replay_live(broken(), Pipeline(stroke_settings(), engine), engine))


def test_threads_end_when_the_caller_stops_early() -> None:
    before = threading.active_count()
    engine = FakeEngine()
    run = replay_live(drawn(), Pipeline(stroke_settings(), engine), engine, speed=4.0)
    next(run)
    run.close()
    assert threading.active_count() == before
