"""Which nodes the launch file starts; needs no ROS."""

from pathlib import Path
from typing import Any

import pytest

from tests.graph.tiny_bag import write_tiny_bag
from tracevlm_ros.cli.launch_plan import Program, plan_programs
from tracevlm_ros.core.errors import ConfigError

DEFAULTS = {
    "source": "",
    "gaze": "",
    "device": "",
    "address": "",
    "words": "false",
    "namespace": "tracevlm",
    "use_sim_time": "false",
    "rate": "1.0",
    "start": "0.0",
    "loop": "false",
    "record": "",
    "keep_all": "false",
}


def plan(**values: str) -> dict[str, Program]:
    return {one.executable: one for one in plan_programs({**DEFAULTS, **values})}


def parameters(program: Program, *names: str) -> list[Any]:
    return [program.parameters[name] for name in names]


def test_a_bag_is_played_from_the_start_that_is_asked_for_and_looped(tmp_path: Path) -> None:
    bag = write_tiny_bag(tmp_path / "bag", frames=2)
    nodes = plan(source=str(bag.path), rate="2", start="1.5", loop="true", record="new")
    assert list(nodes) == ["gaze_caption", "player", "recorder"]
    player = nodes["player"]
    assert parameters(player, "bag", "rate", "start_s", "loop") == [str(bag.path), 2.0, 1.5, True]
    assert ("/image", "/tracevlm/image") in player.remappings
    assert not player.lasts
    assert not nodes["recorder"].lasts
    assert nodes["gaze_caption"].parameters == {"gaze_type": "gaze_sample"}


def test_a_camera_a_tracker_and_words_last_and_a_video_file_ends() -> None:
    nodes = plan(source="/dev/video0", device="neon", address="neon.local:8080", words="true")
    assert list(nodes) == ["gaze_caption", "sources", "gaze_driver", "words"]
    assert all(node.lasts for node in nodes.values())
    assert nodes["gaze_driver"].parameters == {"device": "neon", "address": "neon.local:8080"}
    file = plan(source="clip.mp4", gaze="gaze.tsv")["sources"]
    assert not file.lasts
    assert parameters(file, "video", "gaze", "loop") == ["clip.mp4", "gaze.tsv", False]


@pytest.mark.parametrize("other", ["gaze", "bag"])
def test_gaze_from_two_places_is_refused(tmp_path: Path, other: str) -> None:
    bag = str(write_tiny_bag(tmp_path / "bag", frames=2).path)
    given = {"source": "clip.mp4", "gaze": "gaze.tsv"} if other == "gaze" else {"source": bag}
    with pytest.raises(ConfigError, match=rf"device:=neon and .*{other}.* both bring gaze"):
        plan(device="neon", **given)
