"""The SROS2 policy allows what the processes do, and no more."""

from pathlib import Path
from xml.etree import ElementTree

import pytest

from tests.package.conftest import NAMESPACE, Ends

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
    assert verbs["request"] == served
