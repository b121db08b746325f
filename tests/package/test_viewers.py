"""The RViz configuration and the Foxglove layout show what the node really publishes."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.package.conftest import Ends

ROOT = Path(__file__).parents[2]
LAYOUT = json.loads((ROOT / "foxglove" / "tracevlm.json").read_text())
TOPIC_KEYS = ("imageTopic", "topicPath", "topicToRender", "value")


def rviz_topics() -> dict[str, dict[str, Any]]:
    config = yaml.safe_load((ROOT / "rviz" / "tracevlm.rviz").read_text())
    displays = config["Visualization Manager"]["Displays"]
    return {display["Topic"]["Value"]: display for display in displays}


def foxglove_topics(value: Any = LAYOUT["configById"]) -> Iterator[str]:
    if isinstance(value, dict):
        for key, item in value.items():
            if key in TOPIC_KEYS and isinstance(item, str):
                yield item.partition(".")[0]
            else:
                yield from foxglove_topics(item)
    elif isinstance(value, list):
        for item in value:
            yield from foxglove_topics(item)


def panels(layout: Any = LAYOUT["layout"]) -> Iterator[str]:
    if isinstance(layout, str):
        yield layout
    else:
        yield from panels(layout["first"])
        yield from panels(layout["second"])


def test_rviz_shows_topics_of_the_node_with_a_qos_that_matches(ends: dict[str, Ends]) -> None:
    node, shown = ends["gaze_caption"], rviz_topics()
    assert shown.keys() <= node.publishes | node.subscribes
    on = {topic for topic, display in shown.items() if display["Enabled"]}
    assert on == {"/tracevlm/overlay/compressed", "/tracevlm/masks/binary", "/tracevlm/attention"}
    cameras = shown.keys() & node.subscribes
    best_effort = {
        topic
        for topic, display in shown.items()
        if display["Topic"]["Reliability Policy"] == "Best Effort"
    }
    assert best_effort == cameras, "cameras may be best effort, the node's outputs are reliable"


def test_foxglove_shows_topics_of_the_node(ends: dict[str, Ends]) -> None:
    shown = set(foxglove_topics())
    assert shown <= ends["gaze_caption"].publishes
    images = {"/tracevlm/overlay/compressed", "/tracevlm/masks/binary", "/tracevlm/attention"}
    assert images | {"/tracevlm/captions", "/tracevlm/traces", "/diagnostics"} == shown


def test_every_foxglove_panel_is_placed_once_and_configured() -> None:
    placed = list(panels())
    assert sorted(placed) == sorted(LAYOUT["configById"])


@pytest.mark.parametrize("name", ["masks", "captions", "traces", "attention"])
def test_the_viewers_command_reads_the_topics_that_the_node_publishes(
    ends: dict[str, Ends], name: str
) -> None:
    from tracevlm_ros.cli import view
    from tracevlm_ros.evaluation import predictions

    topics = {
        "masks": predictions.MASKS_TOPIC,
        "captions": predictions.CAPTIONS_TOPIC,
        "traces": predictions.TRACES_TOPIC,
        "attention": view.ATTENTION_TOPIC,
    }
    assert topics[name] in ends["gaze_caption"].publishes
