"""Player, gaze_caption and recorder in one process, and what happens when one of them ends."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

pytest.importorskip("rclpy", reason="the ROS 2 wheels are not installed")
pytest.importorskip("tracevlm_msgs", reason="the message package is not installed")

from tests.graph.test_processes import until
from tests.graph.tiny_bag import write_tiny_bag
from tracevlm_ros.cli.bag_plan import plan_bag
from tracevlm_ros.cli.dds import own_domain
from tracevlm_ros.cli.live_graph import OUTPUT_TOPICS, keep_all
from tracevlm_ros.cli.processes import NodeGraph, NodeProcess
from tracevlm_ros.core.errors import ConfigError
from tracevlm_ros.ingest.bag import BagReader
from tracevlm_ros.nodes.container import makers_of

pytestmark = pytest.mark.graph
SIDES = {"left": 10, "right": 14}


@pytest.fixture
def graph() -> Iterator[NodeGraph]:
    with own_domain() as domain_id, NodeGraph(domain_id=domain_id) as graph:
        yield graph


def write_parameters(path: Path, **nodes: dict[str, Any]) -> Path:
    sections = {f"/**/{node}": {"ros__parameters": values} for node, values in nodes.items()}
    path.write_text(yaml.safe_dump(sections))
    return path


def said(process: NodeProcess, text: str) -> bool:
    return any(text in line for line in process.last_lines)


def test_a_bag_goes_through_the_whole_graph_in_one_process(
    graph: NodeGraph, tmp_path: Path
) -> None:
    bag = write_tiny_bag(tmp_path / "in", frames=12)
    plan = plan_bag(bag.path, "tracevlm")
    parameters = write_parameters(
        tmp_path / "parameters.yaml",
        gaze_caption={
            "model": "fake",
            "autostart": True,
            "use_sim_time": True,
            "gaze_type": plan.gaze_type,
            **keep_all("tracevlm"),
        },
        player={"bag": str(bag.path), "wait_for": plan.wait_for},
        recorder={"bag": str(tmp_path / "out"), "topics": ",".join(OUTPUT_TOPICS)},
    )
    process = graph.start(
        "container",
        words=("recorder", "gaze_caption", "player"),
        namespace="tracevlm",
        params_file=parameters,
        remappings={f"player:{source}": target for source, target in plan.remappings.items()},
    )
    until(lambda: said(process, "player has finished"), "the end of the bag")
    idle = graph.start("await_idle", namespace="tracevlm")
    graph.wait_for(idle, 30.0)
    assert process.status is None
    assert process.end() == 0
    with BagReader(tmp_path / "out") as reader:
        counts = {topic.name: topic.message_count for topic in reader.topics}
    assert counts["/tracevlm/masks"] == len(bag.frame_stamps_ns)
    assert counts["/tracevlm/captions"] > 0


def test_a_node_that_fails_ends_all_with_its_status(graph: NodeGraph, tmp_path: Path) -> None:
    parameters = write_parameters(
        tmp_path / "parameters.yaml",
        player={"bag": str(write_tiny_bag(tmp_path / "in", frames=2).path), "wait_for": "/none"},
    )
    process = graph.start("container", words=("monitor", "player"), params_file=parameters)
    assert process.wait(30.0) == 1
    assert said(process, "/none")


def test_a_node_that_cannot_be_built_is_one_line(graph: NodeGraph, tmp_path: Path) -> None:
    parameters = write_parameters(
        tmp_path / "parameters.yaml", player={"bag": str(tmp_path / "nowhere")}
    )
    process = graph.start("container", words=("monitor", "player"), params_file=parameters)
    assert process.wait(30.0) == 1
    assert said(process, "nowhere")


def test_two_of_a_kind_work_each_in_its_namespace(graph: NodeGraph, tmp_path: Path) -> None:
    """A bag for each, and one recorder that hears both."""
    bags = {side: write_tiny_bag(tmp_path / side, frames=n) for side, n in SIDES.items()}
    sections: dict[str, Any] = {
        "/**/gaze_caption": {
            "model": "fake",
            "autostart": True,
            **keep_all("left"),
            **keep_all("right"),
        },
        "/**/recorder": {
            "bag": str(tmp_path / "out"),
            "topics": ",".join(f"/{side}/masks" for side in SIDES),
        },
    }
    for side, bag in bags.items():
        sections[f"/{side}/player"] = {"bag": str(bag.path), "wait_for": "/image,/gaze"}
    (tmp_path / "p.yaml").write_text(
        yaml.safe_dump({name: {"ros__parameters": values} for name, values in sections.items()})
    )
    process = graph.start(
        "container",
        words=("recorder", *(f"gaze_caption:{side}" for side in SIDES)),
        params_file=tmp_path / "p.yaml",
    )
    players = [
        graph.start(
            "player",
            namespace=side,
            params_file=tmp_path / "p.yaml",
            remappings={"/image": f"/{side}/image", "/gaze": f"/{side}/gaze"},
        )
        for side in SIDES
    ]
    for player, side in zip(players, SIDES, strict=True):
        graph.wait_for(player, 60.0)
        graph.wait_for(graph.start("await_idle", namespace=side), 30.0)
    assert process.end() == 0
    with BagReader(tmp_path / "out") as reader:
        counts = {topic.name: topic.message_count for topic in reader.topics}
    assert counts == {f"/{side}/masks": count for side, count in SIDES.items()}


@pytest.mark.parametrize("names", [[], ["gaze_caption", "gaze_caption"], ["teapot"], ["teapot:a"]])
def test_names_that_are_none_are_refused_with_those_that_are(names: list[str]) -> None:
    with pytest.raises(ConfigError, match="gaze_caption"):
        makers_of(names)
