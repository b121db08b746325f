import math

import cv2
import numpy as np
import pytest

pytest.importorskip("rclpy", reason="the ROS 2 wheels are not installed")
pytest.importorskip("tracevlm_msgs", reason="the message package is not installed")

from geometry_msgs.msg import PointStamped
from sensor_msgs.msg import CompressedImage, Image

from tracevlm_msgs import msg as messages
from tracevlm_ros.core.errors import InputError
from tracevlm_ros.core.types import Caption, GazeSample, Keypoints, Masks, PenState, TraceSnapshot
from tracevlm_ros.nodes import convert

STAMP_NS = 1_700_000_000_123_456_789


def keypoints() -> Keypoints:
    return Keypoints(
        xy_px=np.array([[1.25, 2.5], [30.0, 40.0]]),
        stamp_ns=np.array([STAMP_NS - 5, STAMP_NS], dtype=np.int64),
        weight=np.array([0.25, 1.0]),
        pen_up=np.array([False, True]),
        lost=np.array([True, False]),
    )


def test_stamps_survive_both_ways_to_the_nanosecond() -> None:
    for stamp_ns in (0, 999_999_999, STAMP_NS):
        assert convert.ns_of(convert.time_of(stamp_ns)) == stamp_ns


def test_a_gaze_sample_survives_both_ways() -> None:
    sample = GazeSample(STAMP_NS, 12.5, -3.25, 0.5, PenState.DOWN)
    gaze = convert.gaze_of_sample(convert.gaze_message(sample, "scene", "mouse"))
    assert gaze == convert.Gaze(sample, is_normalised=False)


def test_normalised_gaze_becomes_pixels_with_the_origin_at_the_first_pixels_centre() -> None:
    message = PointStamped()
    message.point.x, message.point.y = 0.0, 1.0
    gaze = convert.gaze_of_point(message, is_normalised=True)
    assert gaze.in_pixels((100, 200))[1:3] == (-0.5, 99.5)
    message.point.x, message.point.y = 0.5, 0.5
    gaze = convert.gaze_of_point(message, is_normalised=True)
    assert gaze.in_pixels((100, 200))[1:3] == (99.5, 49.5)


def test_a_nan_confidence_is_none_and_an_unknown_pen_state_is_unknown() -> None:
    message = messages.GazeSample(confidence=math.nan, pen=77)
    sample = convert.gaze_of_sample(message).sample
    assert sample.confidence == 0.0
    assert sample.pen is PenState.UNKNOWN


def test_masks_keep_their_pixels_stamp_and_frame_id_from_message_to_message() -> None:
    messages_of = convert.MaskMessages()
    for index, size in enumerate([(6, 4), (6, 4), (3, 5), (6, 4)]):
        labels = np.arange(size[0] * size[1], dtype=np.uint16).reshape(size) * 300 + index
        message = messages_of.of(Masks(STAMP_NS + index, "scene", labels, (1,)))
        shape = (message.height, message.width, message.step)
        assert (message.encoding, *shape) == ("16UC1", *size, 2 * size[1])
        assert convert.ns_of(message.header.stamp) == STAMP_NS + index
        assert message.header.frame_id == "scene"
        back = np.frombuffer(message.data, np.uint16).reshape(size)
        np.testing.assert_array_equal(back, labels)


def test_pixels_that_are_no_contiguous_block_are_sent_row_by_row() -> None:
    image = np.random.default_rng(0).integers(0, 255, (5, 7, 3), dtype=np.uint8)
    message = convert.image_message(image[:, ::-1], "rgb8", convert.header_of(1, "a"))
    assert message.step == 21
    np.testing.assert_array_equal(convert.frame_of(message).image_rgb, image[:, ::-1])


def test_an_rgb_image_is_read_without_a_copy() -> None:
    image = np.random.default_rng(0).integers(0, 255, (5, 7, 3), dtype=np.uint8)
    message = convert.image_message(image, "rgb8", convert.header_of(STAMP_NS, "scene"))
    frame = convert.frame_of(message)
    assert (frame.stamp_ns, frame.frame_id) == (STAMP_NS, "scene")
    assert np.shares_memory(frame.image_rgb, np.frombuffer(message.data, np.uint8))


def test_a_jpeg_is_decoded_to_rgb() -> None:
    image = np.full((16, 16, 3), (250, 10, 10), dtype=np.uint8)
    data = bytes(cv2.imencode(".jpg", image[..., ::-1])[1])
    frame = convert.frame_of(convert.jpeg_message(data, convert.header_of(STAMP_NS, "scene")))
    assert np.abs(frame.image_rgb.astype(int) - image).max() < 12


def test_unknown_encodings_and_broken_jpegs_are_named() -> None:
    with pytest.raises(InputError, match="32FC1"):
        convert.frame_of(Image(encoding="32FC1", height=1, width=1, step=4))
    with pytest.raises(InputError, match="jpeg"):
        convert.frame_of(CompressedImage(format="jpeg"))


def test_a_trace_message_holds_every_keypoint() -> None:
    trace = TraceSnapshot(7, STAMP_NS - 5, STAMP_NS, True, 12, keypoints())
    message = convert.trace_message(trace, convert.header_of(STAMP_NS, "scene"))
    assert (message.trace_id, message.is_open, message.sample_count) == (7, True, 12)
    assert [(k.x, k.y, k.weight, k.pen_up, k.lost) for k in message.keypoints] == [
        (1.25, 2.5, 0.25, False, True),
        (30.0, 40.0, 1.0, True, False),
    ]
    assert convert.ns_of(message.keypoints[0].stamp) == STAMP_NS - 5


def test_a_caption_message_says_when_everything_happened() -> None:
    caption = Caption(
        trace_id=3,
        stamp_ns=STAMP_NS,
        frame_id="scene",
        text="a red square",
        score=0.75,
        is_final=True,
        trace_is_open=False,
        start_ns=STAMP_NS - 9,
        end_ns=STAMP_NS - 1,
        keypoints=keypoints(),
        region_xyxy_px=(1.25, 2.5, 30.0, 40.0),
        question="what?",
        model_id="nano",
    )
    message = convert.caption_message(caption, convert.Stamps(10, 20, 30))
    assert (message.text, message.score, message.is_final) == ("a red square", 0.75, True)
    stamps = (message.captured, message.received, message.inferred, message.published)
    assert [convert.ns_of(stamp) for stamp in stamps] == [STAMP_NS, 10, 20, 30]
    region = message.region
    assert (region.x_offset, region.y_offset, region.width, region.height) == (1, 2, 30, 39)
    assert (message.question, message.model_id) == ("what?", "nano")
