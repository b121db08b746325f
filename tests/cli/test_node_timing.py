"""Latency per frame from logs that are made by hand."""

import json
from pathlib import Path

import pytest

from tracevlm_ros.cli.bench_node import evaluate
from tracevlm_ros.cli.node_timing import frame_times, read_trace, spread_ms
from tracevlm_ros.core.errors import InputError
from tracevlm_ros.nodes.problems import Problems
from tracevlm_ros.nodes.stopwatch import Stopwatch
from tracevlm_ros.nodes.trace_file import TraceFile

MS = 1e-3
PERIOD_S = 0.1


def stamp(index: int) -> int:
    return 1_000_000_000 + index * 100_000_000


def captured_s(index: int) -> float:
    return 50.0 + index * PERIOD_S


def write_trace(path: Path, frames: list[int], arrived: int) -> None:
    """Each frame arrives 2 ms after its capture, is decoded in 1, passes the fast path in 6 of
    which the engine takes 3 + 1, and is published 12 ms after its capture."""
    stopwatch = Stopwatch()
    stopwatch.listener = file = TraceFile(path, "node", Problems(lambda _text: None))
    for index in range(arrived):
        stopwatch.event("image", captured_s(index) + 2 * MS)
    for index in frames:
        at = captured_s(index)
        stopwatch.add("image_decode", at + 2 * MS, at + 3 * MS, stamp(index))
        stopwatch.add("engine_encode", at + 5 * MS, at + 8 * MS)
        stopwatch.add("engine_segment", at + 8.5 * MS, at + 9.5 * MS)
        stopwatch.add("fast_path", at + 4 * MS, at + 10 * MS, stamp(index))
        stopwatch.add("received_to_published", at + 2 * MS, at + 12 * MS, stamp(index))
    file.close()


def test_each_frame_is_timed_with_its_own_engine_calls(tmp_path: Path) -> None:
    write_trace(tmp_path / "trace.json", [0, 1], arrived=2)
    trace = read_trace(tmp_path / "trace.json")
    captured = {stamp(index): captured_s(index) for index in range(3)}
    times = frame_times(captured, trace, {stamp(1): captured_s(1) + 14 * MS})
    assert times.keys() == {stamp(0), stamp(1)}
    first, second = times[stamp(0)], times[stamp(1)]
    assert first.published_ms == pytest.approx(12.0)
    assert first.engine_ms == pytest.approx(4.0)
    assert first.without_engine_ms == pytest.approx(12.0 - 4.0 - 1.0)
    assert first.without_fast_path_ms == pytest.approx(12.0 - 6.0 - 1.0)
    assert first.received_ms is None
    assert second.received_ms == pytest.approx(14.0)


def test_losses_and_policy_drops_are_told_apart_and_the_warm_up_is_left_out(tmp_path: Path) -> None:
    """20 frames are sent, 18 arrive, 15 are published; the first 10 do not count."""
    write_trace(tmp_path / "trace.json", list(range(15)), arrived=18)
    sent = {
        "stamp_ns": [stamp(index) for index in range(20)],
        "due_s": [captured_s(index) for index in range(20)],
        "handed_s": [captured_s(index) for index in range(20)],
    }
    (tmp_path / "camera.json").write_text(json.dumps(sent))
    got = {"stamp_ns": [stamp(14)], "arrived_s": [captured_s(14) + 13 * MS]}
    (tmp_path / "masks.json").write_text(json.dumps(got))
    found = evaluate(
        tmp_path / "camera.json",
        read_trace(tmp_path / "trace.json"),
        tmp_path / "masks.json",
        10 * PERIOD_S,
        {"drops": {"message": "x", "level": 1, "image_queue_full": "3"}},
    )
    assert found["images_sent"] == 10
    assert (found["images_lost"], found["dropped_by_policy"]) == (2, 3)
    assert (found["masks_published"], found["masks_received"]) == (5, 1)
    assert found["capture_to_publish_minus_engine_ms"]["p50"] == pytest.approx(7.0)
    assert found["capture_to_subscriber_ms"]["max"] == pytest.approx(13.0)
    assert found["stages_ms"]["fast_path"]["p99"] == pytest.approx(6.0)
    assert found["drops_of_the_whole_run"] == {"image_queue_full": "3"}


def test_a_trace_of_a_killed_node_is_read_to_its_end(tmp_path: Path) -> None:
    write_trace(tmp_path / "trace.json", [0], arrived=1)
    path = tmp_path / "trace.json"
    path.write_text(path.read_text().removesuffix("\n]\n"))
    assert read_trace(path).stages["fast_path"].keys() == {stamp(0)}


def test_a_file_that_is_no_trace_is_named(tmp_path: Path) -> None:
    (tmp_path / "other.json").write_text("{")
    with pytest.raises(InputError, match=r"other\.json"):
        read_trace(tmp_path / "other.json")


def test_no_frames_have_no_percentiles() -> None:
    assert spread_ms([]) == {}
    assert spread_ms([1.0, 3.0])["p50"] == 2.0
