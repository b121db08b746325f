"""The lifecycle node through its states, in this process, with real DDS."""

import gc
from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("rclpy", reason="the ROS 2 wheels are not installed")
pytest.importorskip("tracevlm_msgs", reason="the message package is not installed")

import rclpy
from lifecycle_msgs.msg import State, Transition
from rclpy.context import Context

from tests.nodes.conftest import Ros
from tests.nodes.rig import Rig, make_node, stranger
from tracevlm_ros.nodes.gaze_caption import GazeCaption


def test_the_node_walks_through_its_life_twice(ros: Ros, rig: Rig) -> None:
    make_node(ros)
    for _ in range(2):
        assert rig.state() == State.PRIMARY_STATE_UNCONFIGURED
        assert rig.change(Transition.TRANSITION_CONFIGURE)
        assert rig.state() == State.PRIMARY_STATE_INACTIVE
        assert rig.change(Transition.TRANSITION_ACTIVATE)
        assert rig.state() == State.PRIMARY_STATE_ACTIVE
        assert rig.change(Transition.TRANSITION_DEACTIVATE)
        assert rig.change(Transition.TRANSITION_CLEANUP)
    assert rig.change(Transition.TRANSITION_UNCONFIGURED_SHUTDOWN)
    assert rig.state() == State.PRIMARY_STATE_FINALIZED


def test_a_damaged_model_directory_fails_configure_and_the_node_stays_usable(
    ros: Ros, rig: Rig, no_model: Path
) -> None:
    node = make_node(ros, model=str(no_model))
    lines: list[str] = []
    logger = node.get_logger()
    logger.error = lines.append
    node.get_logger = lambda: logger
    assert not rig.change(Transition.TRANSITION_CONFIGURE)
    assert rig.state() == State.PRIMARY_STATE_UNCONFIGURED
    assert len(lines) == 1
    assert "\n" not in lines[0]
    assert "manifest.json" in lines[0]
    ros.until(lambda: "engine" in rig.statuses and rig.statuses["engine"].level == b"\x02")
    assert rig.set_parameter("model", "fake").successful
    assert rig.change(Transition.TRANSITION_CONFIGURE)
    assert rig.state() == State.PRIMARY_STATE_INACTIVE


def test_a_missing_model_directory_fails_configure(ros: Ros, rig: Rig, tmp_path: Path) -> None:
    make_node(ros, model=str(tmp_path / "nowhere"))
    assert not rig.change(Transition.TRANSITION_CONFIGURE)
    assert rig.state() == State.PRIMARY_STATE_UNCONFIGURED


def test_transitions_out_of_order_are_refused_and_change_nothing(ros: Ros, rig: Rig) -> None:
    make_node(ros)
    wrong = {
        State.PRIMARY_STATE_UNCONFIGURED: ("ACTIVATE", "DEACTIVATE", "CLEANUP"),
        State.PRIMARY_STATE_INACTIVE: ("CONFIGURE", "DEACTIVATE", "ACTIVE_SHUTDOWN"),
        State.PRIMARY_STATE_ACTIVE: ("CONFIGURE", "ACTIVATE", "CLEANUP", "INACTIVE_SHUTDOWN"),
    }
    for state, step in zip(wrong, ("CONFIGURE", "ACTIVATE", "ACTIVE_SHUTDOWN"), strict=True):
        assert rig.state() == state
        for name in wrong[state]:
            assert not rig.change(getattr(Transition, f"TRANSITION_{name}")), name
            assert rig.state() == state
        assert rig.change(getattr(Transition, f"TRANSITION_{step}"))
    assert rig.state() == State.PRIMARY_STATE_FINALIZED
    assert not rig.change(Transition.TRANSITION_CONFIGURE)


def test_shutdown_of_a_configured_node_frees_its_engine(ros: Ros, rig: Rig) -> None:
    node = make_node(ros)
    assert rig.change(Transition.TRANSITION_CONFIGURE)
    engine = node._engine
    ended: list[bool] = []
    engine.close = lambda: ended.append(True)
    assert rig.change(Transition.TRANSITION_INACTIVE_SHUTDOWN)
    assert ended == [True]


@pytest.mark.parametrize("step", ["configure", "activate", "deactivate", "cleanup"])
def test_a_bug_in_any_transition_is_said_and_the_node_can_be_used_again(
    ros: Ros, rig: Rig, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    from tracevlm_ros.nodes import gaze_caption
    from tracevlm_ros.nodes.session import Session

    node = make_node(ros)
    lines: list[str] = []
    logger = node.get_logger()
    logger.error = lines.append
    node.get_logger = lambda: logger
    places = {
        "configure": (gaze_caption, "warm_up"),
        "activate": (Session, "start"),
        "deactivate": (Session, "stop"),
        "cleanup": (Session, "close"),
    }

    def broken(*_: object) -> None:
        context.undo()
        raise RuntimeError("a bug")

    context = pytest.MonkeyPatch()
    context.setattr(*places[step], broken)
    try:
        for name in ("CONFIGURE", "ACTIVATE", "DEACTIVATE", "CLEANUP"):
            done = rig.change(getattr(Transition, f"TRANSITION_{name}"))
            assert done == (name != step.upper())
            if not done:
                break
    finally:
        context.undo()
    assert "a bug" in lines[0]
    assert rig.state() == State.PRIMARY_STATE_UNCONFIGURED
    rig.activate()
    rig.look(1, 3)


def test_autostart_makes_the_node_active(ros: Ros, rig: Rig) -> None:
    make_node(ros, autostart=True)
    ros.until(lambda: rig.state() == State.PRIMARY_STATE_ACTIVE, "the active state")


def test_nothing_is_published_after_deactivation_and_ids_count_on(ros: Ros, rig: Rig) -> None:
    make_node(ros)
    rig.activate()
    rig.look(1, 8)
    ros.until(lambda: any(c.is_final for c in rig.captions), "a final caption")
    first_id = max(c.trace_id for c in rig.captions)
    assert rig.change(Transition.TRANSITION_DEACTIVATE)
    before = (len(rig.masks), len(rig.captions))
    ros.until(lambda: rig.images.get_subscription_count() == 0, "the end of the subscription")
    for index in range(20, 24):
        rig.send_image(index)
    assert rig.change(Transition.TRANSITION_ACTIVATE)
    assert (len(rig.masks), len(rig.captions)) == before
    ros.until(rig.images.get_subscription_count, "the image subscription")
    ros.until(rig.gaze.get_subscription_count, "the gaze subscription")
    rig.look(40, 8)
    ros.until(lambda: max(c.trace_id for c in rig.captions) > first_id, "a new trace")


@pytest.fixture
def no_collection() -> Iterator[None]:
    gc.collect()
    gc.disable()
    yield
    gc.enable()


@pytest.mark.usefixtures("ros_domain", "no_collection")
def test_a_node_destroyed_once_or_twice_leaves_no_thread_behind() -> None:
    with stranger():
        pass  # what the first participant of a process starts, stays
    before = threads()
    context = Context()
    rclpy.init(args=[], context=context)
    node = GazeCaption(context=context)
    assert threads() > before
    node.close()
    node.destroy_node()
    node.destroy_node()
    rclpy.shutdown(context=context)
    Ros.until(lambda: threads() <= before, "the end of the participant's threads")


def threads() -> int:
    """Of this process, those of libraries too."""
    return sum(1 for _ in Path("/proc/self/task").iterdir())
