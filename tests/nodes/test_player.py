"""The player in this process, with real DDS: pause, loop, rate and renamed topics."""

from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("rclpy", reason="the ROS 2 wheels are not installed")
pytest.importorskip("tracevlm_msgs", reason="the message package is not installed")

from rclpy.node import Node
from rclpy.parameter import Parameter
from rosgraph_msgs.msg import Clock
from std_srvs.srv import SetBool

from tests.graph.tiny_bag import START_NS, TinyBag, write_tiny_bag
from tests.nodes.conftest import Ros
from tracevlm_msgs.msg import GazeSample
from tracevlm_ros.nodes import convert, qos
from tracevlm_ros.nodes.player import Player
from tracevlm_ros.nodes.spin import StopRequest

EQUAL_TICKS = 10


class Rig:
    """A player of a tiny bag, and a listener to its gaze under another name."""

    def __init__(self, ros: Ros, folder: Path, **parameters: Any) -> None:
        self.ros = ros
        self.bag: TinyBag = write_tiny_bag(folder / "bag", frames=20)
        self.node: Node = ros.add(Node("listener", namespace="test"))
        self.stamps: list[int] = []
        self.ticks: list[int] = []
        self.ticks_before = 0
        self.node.create_subscription(GazeSample, "/seen", self._on_gaze, qos.reliable(1000))
        self.node.create_subscription(Clock, "/clock", self._on_tick, qos.reliable(1000))
        values = {
            "bag": str(self.bag.path),
            "topics": "/gaze",
            "wait_for": "/gaze",
            **parameters,
        }
        self.stop = StopRequest()
        self.player = ros.add(
            Player(
                self.stop,
                namespace="test",
                cli_args=["--ros-args", "-r", "/gaze:=/seen"],
                parameter_overrides=[Parameter(name, value=v) for name, v in values.items()],
            )
        )

    def _on_gaze(self, message: GazeSample) -> None:
        if not self.stamps:
            self.ticks_before = len(self.ticks)
        self.stamps.append(convert.ns_of(message.header.stamp))

    def _on_tick(self, message: Clock) -> None:
        self.ticks.append(convert.ns_of(message.clock))

    def pause(self, is_paused: bool) -> None:
        request = SetBool.Request(data=is_paused)
        assert self.ros.call(self.node, SetBool, "/test/player/pause", request).success

    def until_clock_stands(self) -> None:
        def stands() -> bool:
            newest = self.ticks[-EQUAL_TICKS:]
            return len(newest) == EQUAL_TICKS and len(set(newest)) == 1

        self.ros.until(stands, "a clock that stands")

    def until_all_came(self) -> None:
        self.ros.until(self.stop.is_set, "the end of the bag")
        self.ros.until(lambda: len(self.stamps) >= self.bag.gaze_count, "every message")
        assert self.stop.status == 0


def test_a_pause_holds_clock_and_messages_and_loses_none(ros: Ros, tmp_path: Path) -> None:
    rig = Rig(ros, tmp_path)
    ros.until(lambda: len(rig.stamps) > 5, "the first messages")
    rig.pause(True)
    rig.until_clock_stands()
    held = len(rig.stamps)
    assert held < rig.bag.gaze_count
    assert rig.stamps[-1] <= rig.ticks[-1]
    rig.pause(False)
    rig.until_all_came()
    assert len(rig.stamps) == rig.bag.gaze_count
    assert rig.stamps == sorted(rig.stamps)
    assert rig.ticks == sorted(rig.ticks)


def test_a_loop_begins_again_until_it_is_switched_off(ros: Ros, tmp_path: Path) -> None:
    rig = Rig(ros, tmp_path, loop=True, rate=20.0)
    ros.until(lambda: len(rig.stamps) > rig.bag.gaze_count, "a second round")
    rig.player.set_parameters([Parameter("loop", value=False)])
    ros.until(rig.stop.is_set, "the end of the round")
    whole_rounds = rig.player.published // rig.bag.gaze_count
    assert rig.player.published == whole_rounds * rig.bag.gaze_count
    ros.until(lambda: len(rig.stamps) == rig.player.published, "every message")
    one = rig.bag.gaze_count
    assert rig.stamps[:one] == sorted(rig.stamps[:one]) == rig.stamps[one : 2 * one]


def test_the_rate_changes_while_it_plays(ros: Ros, tmp_path: Path) -> None:
    rig = Rig(ros, tmp_path, rate=0.01)
    ros.until(lambda: rig.stamps, "the first message")
    refused = rig.player.set_parameters([Parameter("rate", value=0.0)])[0]
    assert not refused.successful
    rig.player.set_parameters([Parameter("rate", value=50.0)])
    rig.until_all_came()


@pytest.mark.parametrize("clock_hz", [100.0, 0.01])
def test_the_clock_is_heard_before_the_first_message(
    ros: Ros, tmp_path: Path, clock_hz: float
) -> None:
    rig = Rig(ros, tmp_path, clock_hz=clock_hz)
    rig.until_all_came()
    assert rig.ticks_before > 0
    assert set(rig.ticks[: rig.ticks_before]) == {START_NS}
