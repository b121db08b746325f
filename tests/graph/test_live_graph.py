"""What the commands do before and around the processes."""

import argparse
import json
from pathlib import Path
from typing import Any

import pytest

from tests.graph.tiny_bag import write_tiny_bag
from tracevlm_ros.cli import replay, run
from tracevlm_ros.cli.bag_plan import plan_bag
from tracevlm_ros.cli.live_graph import Watcher, keep_all
from tracevlm_ros.cli.processes import NodeError
from tracevlm_ros.core.errors import ConfigError, InputError


def report(**parts: dict[str, Any]) -> str:
    return json.dumps({"diagnostics": parts})


@pytest.fixture
def watcher() -> Watcher:
    return Watcher(lambda _caption: None, lambda _node, _line: None)


def parsed(module: Any, *words: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    module.add_arguments(parser)
    return parser.parse_args(words)


def test_the_topics_of_a_bag_become_the_inputs_of_the_namespace(tmp_path: Path) -> None:
    raw = plan_bag(write_tiny_bag(tmp_path / "raw", frames=2).path, "/left/")
    assert raw.remappings == {"/image": "/left/image", "/gaze": "/left/gaze"}
    assert (raw.wait_for, raw.gaze_type) == ("/image,/gaze", "gaze_sample")
    jpeg = plan_bag(write_tiny_bag(tmp_path / "jpeg", frames=2, compressed=True).path, "")
    assert jpeg.remappings["/image/compressed"] == "/image/compressed"


def test_a_topic_that_the_bag_lacks_is_named(tmp_path: Path) -> None:
    bag = write_tiny_bag(tmp_path / "bag", frames=2)
    with pytest.raises(InputError, match="/other"):
        plan_bag(bag.path, "tracevlm", image="/other")


def test_captions_and_logs_are_told_apart(watcher: Watcher) -> None:
    captions: list[dict[str, Any]] = []
    logs: list[tuple[str, str]] = []
    watcher = Watcher(captions.append, lambda node, line: logs.append((node, line)))
    watcher.line("monitor", json.dumps({"caption": {"text": "a cup"}}))
    watcher.line("monitor", "[INFO] hello")
    watcher.line("player", '{"caption": 1}')
    assert captions == [{"text": "a cup"}]
    assert logs == [("monitor", "[INFO] hello"), ("player", '{"caption": 1}')]


def test_an_engine_that_failed_ends_the_wait_for_activation(watcher: Watcher) -> None:
    watcher.line("monitor", report(engine={"state": "failed: no file"}))
    with pytest.raises(NodeError, match="no file"):
        watcher.wait_until_active()


def test_a_wait_that_is_in_vain_names_what_did_not_happen(watcher: Watcher) -> None:
    with pytest.raises(NodeError, match="tea time"):
        watcher.wait_for(lambda: False, 0.01, "tea time")


def test_the_summary_tells_frames_latency_and_drops(watcher: Watcher) -> None:
    watcher.line(
        "monitor",
        report(
            input={"image_total": "30", "masks_total": "28", "captions_total": "2"},
            latency={"message": "p50 12.0 ms"},
            drops={"message": "x", "level": 1, "image_queue_full": "2"},
        ),
    )
    assert watcher.summary() == (
        "30 images in, 28 masks and 2 captions out, p50 12.0 ms; dropped: image_queue_full 2"
    )


def test_keeping_everything_asks_for_reliable_inputs() -> None:
    parameters = keep_all("left")
    assert parameters["qos_overrides./left/image.subscription.reliability"] == "reliable"
    assert parameters["image_depth"] == 1000


def test_a_video_file_without_gaze_and_a_camera_without_domain_are_refused() -> None:
    with pytest.raises(ConfigError, match="--gaze"):
        run.run(parsed(run, "--video", "clip.mp4"))
    with pytest.raises(ConfigError, match="--domain"):
        run.run(parsed(run, "--video", "/dev/video0"))


def test_a_remapping_without_its_sign_is_refused() -> None:
    with pytest.raises(ConfigError, match="FROM:=TO"):
        replay.run(parsed(replay, "bag", "--remap", "/a=/b"))
