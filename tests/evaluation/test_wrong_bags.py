"""Bags that are not what ``tracevlm evaluate`` needs: one line each, never a traceback."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.evaluation.scenes import copy_bag, write_bag
from tracevlm_ros.cli.main import main
from tracevlm_ros.ingest.bag import BagRecord
from tracevlm_ros.ingest.bag_writer import BagWriter
from tracevlm_ros.ingest.message_types import message_class

IMAGES, GAZE = "/camera/image/compressed", "/gaze"
MASKS, CAPTIONS = "/ground_truth/masks", "/ground_truth/captions"


@pytest.fixture(scope="module")
def bag(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_bag(tmp_path_factory.mktemp("bags") / "one", seconds=1.0)


def complaint(
    capsys: pytest.CaptureFixture[str], out: Path, *words: object, status: int = 1
) -> str:
    """What ``evaluate`` says in its one line."""
    given = ["evaluate", *map(str, words), "--report", str(out), "--model", "fake", "--no-java"]
    assert main(given) == status
    error = capsys.readouterr().err
    assert error.count("\n") == 1, error
    return error


def without(topic: str) -> Callable[[BagRecord, BagWriter], bytes | None]:
    return lambda record, _: None if record.topic == topic else bytes(record.raw)


def saying(topic: str, text: str) -> Callable[[BagRecord, BagWriter], bytes | None]:
    """``topic`` carries this std_msgs/String instead of what it did."""
    message: Any = message_class("std_msgs/msg/String")(text)

    def change(record: BagRecord, copy: BagWriter) -> bytes | None:
        if record.topic != topic:
            return bytes(record.raw)
        copy.write(topic, message, record.log_ns)
        return None

    return change


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--gaze-topic", "/eye"], ["/eye", GAZE]),
        (["--image-topic", "/camera"], ["/camera", IMAGES]),
        (["--image-topic", GAZE], [GAZE, "GazeSample"]),
        (["--gaze-topic", IMAGES], [IMAGES, "CompressedImage"]),
    ],
)
def test_topics_that_are_absent_or_of_another_type_are_named_beside_what_is_there(
    words: list[str], told: list[str], bag: Path, tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    error = complaint(capsys, tmp_path / "out", bag, *words)
    assert all(part in error for part in told), error


@pytest.mark.parametrize("topic", [IMAGES, GAZE])
def test_a_bag_without_images_or_gaze_is_told(
    topic: str, bag: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bare = copy_bag(bag, tmp_path / "bare", without(topic))
    error = complaint(capsys, tmp_path / "out", bare)
    assert ("image" if topic == IMAGES else "gaze") in error


def test_of_two_topics_one_must_be_named(
    bag: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def doubled(record: BagRecord, copy: BagWriter) -> bytes:
        if record.topic == GAZE:
            copy.write_raw("/other_gaze", record.msgtype, record.log_ns, record.raw)
        return bytes(record.raw)

    two = copy_bag(bag, tmp_path / "two", doubled)
    error = complaint(capsys, tmp_path / "out", two)
    assert GAZE in error and "/other_gaze" in error


@pytest.mark.parametrize(
    ("topic", "text", "told"),
    [
        (CAPTIONS, "{", "is no caption"),
        (CAPTIONS, "[]", "is no caption"),
        (CAPTIONS, '{"label": 1, "text": "a"}', "start_ns"),
        (MASKS, "a mask", "std_msgs/msg/String"),
    ],
)
def test_ground_truth_of_another_form_is_told_by_topic(
    topic: str, text: str, told: str, bag: Path, tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    wrong = copy_bag(bag, tmp_path / "wrong", saying(topic, text))
    error = complaint(capsys, tmp_path / "out", wrong)
    assert topic in error and told in error


@pytest.mark.parametrize("content", ["{", "[1]", '{"masks": {"x": "a.png"}}'])
def test_a_sidecar_that_is_no_ground_truth_is_told(
    content: str, bag: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "truth.json"
    path.write_text(content, encoding="utf-8")
    assert "truth.json" in complaint(capsys, tmp_path / "out", bag, "--ground-truth", path)


@pytest.mark.parametrize("content", ["{", "[]", '{"format": 99, "figures": {}}'])
def test_a_report_that_cannot_be_compared_with_is_told_before_anything_runs(
    content: str, bag: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "other.json"
    path.write_text(content, encoding="utf-8")
    assert "other.json" in complaint(capsys, tmp_path / "out", bag, "--compare", path)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("topic", ["/tracevlm/masks", "/tracevlm/captions", "/tracevlm/traces"])
def test_answers_of_another_type_are_told_by_topic(
    topic: str, bag: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [str(bag), "--report", str(tmp_path / "replay"), "--model", "fake", "--no-java"]
    assert main(["evaluate", *words]) == 0
    capsys.readouterr()
    answers = tmp_path / "replay" / "one" / "bag"
    wrong = copy_bag(answers, tmp_path / "wrong", saying(topic, "no answer"))
    error = complaint(capsys, tmp_path / "out", bag, "--recorded", wrong)
    assert topic in error and "std_msgs/msg/String" in error


def test_a_good_bag_beside_bad_ones_is_scored_and_each_bad_one_named(
    bag: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    wrong = copy_bag(bag, tmp_path / "wrong", saying(MASKS, "a mask"))
    given = ["evaluate", str(bag), str(wrong), "--report", str(tmp_path / "out")]
    assert main([*given, "--model", "fake", "--no-java", "--json"]) == 0
    printed = capsys.readouterr()
    document = json.loads(printed.out)
    assert [one["error"] is None for one in document["recordings"]] == [True, False]
    assert document["figures"]["frames"]["value"] == 10
    assert "wrong: " in printed.err
