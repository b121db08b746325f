"""The SROS2 policy allows what the processes do, and no more."""

import importlib
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

pytest.importorskip("rclpy", reason="the ROS 2 wheels are not installed")
pytest.importorskip("tracevlm_msgs", reason="the message package is not installed")

import rclpy
from rclpy.parameter import Parameter

from tests.graph.tiny_bag import write_tiny_bag
from tests.package.conftest import NAMESPACE, Ends, ends_of
from tracevlm_ros.nodes import pointer_window
from tracevlm_ros.nodes.spin import StopRequest

ROOT = Path(__file__).parents[2]
POLICY = ElementTree.parse(ROOT / "sros2" / "tracevlm.policy.xml").getroot()
OF_EVERY_NODE = {"/rosout", "/parameter_events", "/clock", "/diagnostics"}


def full_name(name: str, node: str) -> str:
    if name.startswith("/"):
        return name
    return f"{NAMESPACE}/{node}{name[1:]}" if name.startswith("~/") else f"{NAMESPACE}/{name}"


def allowed(enclave: str) -> dict[str, dict[str, frozenset[str]]]:
    """By node of an enclave and by verb (publish, subscribe, reply, request), full names."""
    (found,) = [one for one in POLICY.iter("enclave") if one.get("path") == enclave]
    nodes: dict[str, dict[str, frozenset[str]]] = {}
    for profile in found.iter("profile"):
        assert profile.get("ns") == NAMESPACE
        node = profile.get("node", "")
        verbs = nodes.setdefault(node, {})
        for group in profile:
            ((verb, rule),) = group.attrib.items()
            assert rule == "ALLOW"
            assert verb not in verbs
            names = [full_name(item.text or "", node) for item in group]
            assert len(set(names)) == len(names)
            verbs[verb] = frozenset(names)
    return nodes


def test_gaze_caption_may_do_exactly_what_it_does(ends: dict[str, Ends]) -> None:
    nodes = allowed(f"{NAMESPACE}/gaze_caption")
    assert nodes.keys() == ends.keys()
    for name, node in ends.items():
        assert nodes[name].get("publish", frozenset()) == node.publishes
        assert nodes[name].get("subscribe", frozenset()) == node.subscribes
        assert nodes[name].get("reply", frozenset()) == node.serves


@pytest.mark.parametrize("source", ["sources", "player", "gaze_driver", "pointer", "words"])
def test_a_source_may_publish_inputs_of_the_graph_and_nothing_else(
    ends: dict[str, Ends], source: str
) -> None:
    (verbs,) = allowed(f"{NAMESPACE}/{source}").values()
    published = verbs["publish"] - OF_EVERY_NODE
    assert published
    assert published <= ends["gaze_caption"].subscribes
    assert "request" not in verbs


def test_recorder_and_operator_may_read_every_output_and_write_none(ends: dict[str, Ends]) -> None:
    outputs = {
        topic
        for topic in ends["gaze_caption"].publishes - OF_EVERY_NODE
        if not topic.endswith(("/transition_event", "/heartbeat"))
    }
    for reader in ("recorder", "operator"):
        (verbs,) = allowed(f"{NAMESPACE}/{reader}").values()
        assert outputs <= verbs["subscribe"]
        assert not outputs & verbs["publish"]


def test_the_operator_may_ask_and_drive_the_lifecycle(ends: dict[str, Ends]) -> None:
    (verbs,) = allowed(f"{NAMESPACE}/operator").values()
    served = ends["gaze_caption"].serves | {f"{NAMESPACE}/{name}" for name in ("ask", "locate")}
    of_player = {one for one in verbs["request"] if one.startswith(f"{NAMESPACE}/player/")}
    assert verbs["request"] - of_player == served
    (player,) = allowed(f"{NAMESPACE}/player").values()
    assert f"{NAMESPACE}/player/pause" in of_player
    assert of_player <= player["reply"]


RUN_AS: list[tuple[str, str, dict[str, Any]]] = [
    ("player", "player.Player", {"topics": "/image", "wait_for": "/image"}),
    ("recorder", "recorder.Recorder", {"topics": "captions"}),
    ("pointer", "pointer.PointerNode", {"show": "image"}),
    ("pointer", "pointer.PointerNode", {"show": "compressed"}),
    ("pointer", "pointer.PointerNode", {"show": "overlay"}),
    ("pointer", "pointer.PointerNode", {"input": "point"}),
    ("words", "words.Words", {"port": 0}),
    ("monitor", "monitor.Monitor", {}),
    ("await_idle", "await_idle.AwaitIdle", {}),
]


@pytest.mark.parametrize(
    ("name", "place", "values"), RUN_AS, ids=[f"{n} {[*v.values()]}" for n, _, v in RUN_AS]
)
def test_every_other_node_may_do_all_that_it_does(
    ros_domain: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    place: str,
    values: dict[str, Any],
) -> None:
    monkeypatch.setattr(pointer_window, "require_display", lambda: None)
    module, _, kind = place.partition(".")
    make = getattr(importlib.import_module(f"tracevlm_ros.nodes.{module}"), kind)
    if name in ("player", "recorder"):
        values = {**values, "bag": str(tmp_path / name)}
    if name == "player":
        write_tiny_bag(tmp_path / name, 2)
    rclpy.init(args=["--ros-args", "-r", f"/image:={NAMESPACE}/image"])
    values = {**values, "use_sim_time": name != "player"}  # it tells the time
    given = [Parameter(key, value=value) for key, value in values.items()]
    node = None
    try:
        node = make(StopRequest(), namespace=NAMESPACE, parameter_overrides=given)
        does = ends_of(node, name)
    finally:
        if hasattr(node, "close"):
            node.close()
        if node is not None:
            node.destroy_node()
        rclpy.try_shutdown()
    (verbs,) = allowed(f"{NAMESPACE}/{name}").values()
    assert does.publishes <= verbs["publish"]
    assert does.subscribes <= verbs.get("subscribe", frozenset())
    assert does.serves <= verbs["reply"]
