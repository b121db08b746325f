"""The benchmark of the node runs a real graph and accounts for every image."""

import argparse
import json
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("rclpy", reason="the ROS 2 wheels are not installed")
pytest.importorskip("tracevlm_msgs", reason="the message package is not installed")

from tracevlm_ros.cli import bench_node
from tracevlm_ros.core.errors import ConfigError

pytestmark = pytest.mark.graph

FRAMES = 12


def bench(*words: str) -> int:
    parser = argparse.ArgumentParser()
    bench_node.add_arguments(parser)
    return bench_node.run(parser.parse_args(words))


@pytest.mark.parametrize("transport", ["raw", "compressed"])
def test_every_image_is_accounted_for(transport: str, tmp_path: Path, capsys: Any) -> None:
    words = ["--transport", transport, "--size", "320x240", "--rate", "4", "--warm-up", "1"]
    assert bench(*words, "--seconds", str(FRAMES / 4), "--json") == 0
    result = json.loads(capsys.readouterr().out)
    found = result[transport]
    assert found["images_sent"] == FRAMES
    seen = found["masks_published"] + found["dropped_by_policy"] + found["images_lost"]
    assert seen == FRAMES
    assert found["images_lost"] == 0
    assert found["masks_published"] > 0
    whole = found["capture_to_publish_ms"]
    assert 0 < found["capture_to_publish_minus_engine_ms"]["p50"] < whole["p50"] <= whole["max"]
    assert result["goals"].keys() == {transport}


def test_a_size_that_is_none_is_refused() -> None:
    with pytest.raises(ConfigError, match="1280x720"):
        bench("--size", "large")
