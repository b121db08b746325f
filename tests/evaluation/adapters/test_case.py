"""Strokes and pictures as recordings."""

import numpy as np

from tests.evaluation.adapters.tiny_sets import PHOTO_HW, photo
from tracevlm_ros.core.types import Frame, GazeSample, PenState
from tracevlm_ros.evaluation.adapters.case import (
    clip_stamp_ns,
    drawn_on_still,
    pen_samples,
    stroke_settings,
    stroke_then_clip,
)

STROKE = np.array([[5.0, 6.0, 2.0], [8.0, 6.0, 2.1], [9.0, 9.0, 2.2]])


def test_a_stroke_is_pen_down_from_its_first_point_and_up_after_its_last() -> None:
    pen = pen_samples(STROKE, start_ns=7)
    assert [sample.pen for sample in pen] == [PenState.DOWN] * 3 + [PenState.UP]
    assert [sample.stamp_ns for sample in pen[:3]] == [7, 7 + 100_000_000, 7 + 200_000_000]
    assert (pen[0].x_px, pen[0].y_px) == (5.0, 6.0)
    assert pen[3].stamp_ns > pen[2].stamp_ns


def test_samples_of_a_still_come_in_order_and_the_last_frame_is_after_the_close() -> None:
    samples = list(drawn_on_still(photo(), pen_samples(STROKE)))
    stamps = [sample.stamp_ns for sample in samples]
    assert stamps == sorted(stamps)
    frames = [sample for sample in samples if isinstance(sample, Frame)]
    assert len(frames) == 3
    assert frames[0].image_rgb.shape[:2] == PHOTO_HW


def test_a_clip_waits_on_its_first_frame_until_the_stroke_is_drawn() -> None:
    images = [np.full((*PHOTO_HW, 3), value, np.uint8) for value in (1, 2, 3)]
    samples = list(stroke_then_clip(iter(images), STROKE, 10.0))
    shown = [int(s.image_rgb[0, 0, 0]) for s in samples if isinstance(s, Frame)]
    assert shown == [1, 1, 2, 3]
    assert isinstance(samples[1], GazeSample)
    stamps = [s.stamp_ns for s in samples if isinstance(s, Frame)]
    assert stamps[1:] == [clip_stamp_ns(STROKE, index, 10.0) for index in range(3)]
    assert stamps[3] - stamps[2] == 100_000_000


def test_settings_for_strokes_take_a_pointer_and_keep_the_trace_alive() -> None:
    settings = stroke_settings()
    assert settings.trace.source == "pointer"
    assert settings.live.linger_ms == 600_000.0
    assert settings.live.embedding_delay_ms == 0.0
