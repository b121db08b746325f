"""The node under a player's /clock that runs five times as fast, stands still, and begins again."""

from pathlib import Path
from typing import Any, NamedTuple

import pytest

pytest.importorskip("rclpy", reason="the ROS 2 wheels are not installed")
pytest.importorskip("tracevlm_msgs", reason="the message package is not installed")

from diagnostic_msgs.msg import DiagnosticArray
from lifecycle_msgs.msg import State, Transition
from rclpy.parameter import Parameter
from std_srvs.srv import SetBool

from tests.graph.tiny_bag import START_NS, write_tiny_bag
from tests.nodes.conftest import Ros
from tests.nodes.rig import Rig, make_node, stamps_of, trace_ids
from tracevlm_ros.nodes import convert, qos
from tracevlm_ros.nodes.heartbeat import profile
from tracevlm_ros.nodes.player import Player
from tracevlm_ros.nodes.spin import StopRequest

FRAMES = 40
FRAME_NS, GAZE_NS = 200_000_000, 40_000_000
PATIENT = {
    "image_depth": 500,
    "gaze_depth": 5000,
    "max_gaze_wait_ms": 10_000,
    "pipeline.sync.max_waiting_frames": 500,
}
"""A slow computer falls behind a clock that runs fast: nothing is dropped, no frame gives up."""


class Report(NamedTuple):
    """Diagnostics as they come: their stamp, and the masks that came before."""

    stamp_ns: int
    mask_count: int


class Replay(Rig):
    """The rig without its camera and tracker, and a player in their place."""

    def __init__(self, ros: Ros, folder: Path) -> None:
        super().__init__(ros)
        for publisher in (self.images, self.gaze):
            self.node.destroy_publisher(publisher)
        self.beats: list[str] = []
        self.reports: list[Report] = []
        self.node.create_subscription(
            State, "gaze_caption/heartbeat", lambda beat: self.beats.append(beat.label), profile()
        )
        self.node.create_subscription(
            DiagnosticArray, "/diagnostics", self._on_report, qos.reliable(10)
        )
        self.bag = write_tiny_bag(folder / "bag", FRAMES, frame_ns=FRAME_NS, gaze_ns=GAZE_NS)

    def _on_report(self, message: DiagnosticArray) -> None:
        self.reports.append(Report(convert.ns_of(message.header.stamp), len(self.masks)))

    def play(self, **parameters: Any) -> Player:
        values = {"bag": str(self.bag.path), "wait_for": "/image,/gaze", **parameters}
        renamed = ["-r", "/image:=/test/image", "-r", "/gaze:=/test/gaze"]
        self.stop = StopRequest()
        player: Player = self.ros.add(
            Player(
                self.stop,
                namespace="test",
                cli_args=["--ros-args", *renamed],
                parameter_overrides=[Parameter(name, value=v) for name, v in values.items()],
            )
        )
        return player

    def pause(self, is_paused: bool) -> None:
        request = SetBool.Request(data=is_paused)
        assert self.ros.call(self.node, SetBool, "/test/player/pause", request).success

    def live_through_a_pause(self) -> None:
        """Heart and diagnostics go on, the clock and the masks do not."""
        self.pause(True)
        heard = len(self.reports)

        def stands() -> bool:
            newest = self.reports[heard:][-2:]
            return len(newest) == 2 and newest[0] == newest[1]

        self.ros.until(stands, "a clock and masks that stand")
        masks, beats, reports = len(self.masks), len(self.beats), len(self.reports)
        self.ros.until(lambda: len(self.reports) >= reports + 2, "diagnostics in the pause")
        assert len(self.beats) >= beats + 5
        assert set(self.beats[beats:]) == {"active"}
        assert len(self.masks) == masks
        assert START_NS < self.reports[-1].stamp_ns <= self.bag.frame_stamps_ns[-1] + FRAME_NS
        self.pause(False)


def test_pauses_speed_and_loops_of_the_clock_are_followed(ros: Ros, tmp_path: Path) -> None:
    rig = Replay(ros, tmp_path)
    make_node(ros, use_sim_time=True, **PATIENT)
    assert rig.change(Transition.TRANSITION_CONFIGURE)
    assert rig.change(Transition.TRANSITION_ACTIVATE)
    player = rig.play(loop=True, rate=5.0)
    ros.until(lambda: len(rig.masks) > 10, "masks of the first round")
    rig.live_through_a_pause()
    ros.until(lambda: len(rig.masks) > FRAMES + 10, "masks of the second round")
    player.set_parameters([Parameter("loop", value=False)])
    rig.live_through_a_pause()
    ros.until(rig.stop.is_set, "the end of the round")
    rounds = player.published // (FRAMES + rig.bag.gaze_count)
    assert rounds >= 2
    ros.until(lambda: len(rig.masks) >= rounds * FRAMES, "every mask")
    assert stamps_of(rig.masks) == rounds * list(rig.bag.frame_stamps_ns)
    first, second = (trace_ids(rig.masks[at : at + FRAMES]) for at in (0, FRAMES))
    assert first, rig.drops()
    assert second, rig.drops()
    assert max(first) < min(second)
    assert set(stamps_of(rig.captions)) <= set(rig.bag.frame_stamps_ns)
    assert {caption.trace_id for caption in rig.captions} & second
    assert not {reason for reason in rig.drops() if reason.startswith("image_")}
    last_ns = rig.bag.frame_stamps_ns[-1] + FRAME_NS
    for caption in rig.captions:
        assert START_NS <= convert.ns_of(caption.received) <= convert.ns_of(caption.published)
        assert convert.ns_of(caption.published) <= last_ns
