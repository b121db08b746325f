"""Publish a bag as it was recorded: raw bytes, in time, with /clock that is heard first.

Topic names are remapped as for every node: ``--ros-args -r /camera/image:=/tracevlm/image``.
The service ``~/pause`` (std_srvs/SetBool) and the space bar hold it. The process ends after the
last message.
"""

import importlib
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rclpy.duration import Duration
from rclpy.node import Node
from std_srvs.srv import SetBool

from tracevlm_ros.core.errors import InputError, TraceVLMError
from tracevlm_ros.ingest.bag import BagReader, BagRecord
from tracevlm_ros.nodes import qos
from tracevlm_ros.nodes.bag_clock import BagClock
from tracevlm_ros.nodes.keyboard import Keyboard, is_ours
from tracevlm_ros.nodes.listeners import wait_for_listeners
from tracevlm_ros.nodes.pace import Pace
from tracevlm_ros.nodes.params import NodeParameters, load_schema
from tracevlm_ros.nodes.spin import StopRequest, run_node

SCHEMA = Path(__file__).with_name("player.yaml")
_LATCHED = ("/tf_static", "/robot_description")
_ACKNOWLEDGE_S = 5.0
"""Longest wait at the end for reliable subscribers. Fast DDS asks them every 3 s, so this is no way
to throttle while playing: the pace of the bag and ``depth`` are."""


def ros_class(msgtype: str) -> Any:
    """The Python class of ``package/msg/Name``; InputError when its package is not installed."""
    package, _, name = msgtype.split("/")
    try:
        return getattr(importlib.import_module(f"{package}.msg"), name)
    except (ImportError, AttributeError) as error:
        raise InputError(f"message type {msgtype} is not installed: {error}") from error


class Player(Node):  # type: ignore[misc]
    """Plays in a thread of its own; ends the process through ``stop``."""

    def __init__(self, stop: StopRequest, **node_options: Any) -> None:
        super().__init__("player", **node_options)
        self._stop = stop
        self.parameters = NodeParameters(self, load_schema(SCHEMA))
        self._bag = BagReader(self.parameters["bag"])
        if self._bag.damage:
            self.get_logger().warning(self._bag.damage)
        self._voices: dict[str, Any] = {}
        self._types: dict[str, str] = {}
        self._add_publishers()
        clock_hz = self.parameters["clock_hz"]
        self._bag_clock = BagClock(self, clock_hz) if clock_hz > 0 else None
        self._pace = Pace()
        self.create_service(SetBool, "~/pause", self._on_pause)
        self._keyboard = (
            Keyboard(sys.stdin, {" ": self._on_space})
            if self.parameters["keyboard"] and is_ours(sys.stdin)
            else None
        )
        self.published = 0
        self._thread = threading.Thread(target=self._run, name="player", daemon=True)
        self._thread.start()

    def _add_publishers(self) -> None:
        wanted = _names(self.parameters["topics"])
        known = {topic.name for topic in self._bag.topics}
        if missing := sorted(wanted - known):
            raise InputError(
                f"bag {self._bag.path} has no topic {missing[0]}; it has {', '.join(sorted(known))}"
            )
        for topic in self._bag.topics:
            if wanted and topic.name not in wanted:
                continue
            try:
                msg_type = ros_class(topic.msgtype)
            except InputError as error:
                self.get_logger().warning(f"topic {topic.name} is not played: {error}")
                continue
            depth = self.parameters["depth"]
            profile = qos.latched(depth) if topic.name in _LATCHED else qos.reliable(depth)
            self._voices[topic.name] = self.create_publisher(
                msg_type, topic.name, profile, qos_overriding_options=qos.overridable()
            )
            self._types[topic.name] = topic.msgtype
        if not self._voices:
            raise InputError(f"bag {self._bag.path} has no topic whose type is installed")

    def _on_pause(self, request: Any, response: Any) -> Any:
        self._pace.pause(request.data)
        response.success = True
        response.message = "paused" if request.data else "playing"
        return response

    def _on_space(self) -> None:
        self.get_logger().info("paused" if self._pace.toggle() else "playing")

    def close(self) -> None:
        """End the threads, leave the terminal as it was, close the bag."""
        self._stop.set()
        if self._keyboard is not None:
            self._keyboard.close()
        self._thread.join()
        self._bag.close()

    # --- the thread --------------------------------------------------------------------------

    def _run(self) -> None:
        try:
            self._wait_for_subscribers()
            if self._bag_clock is not None:
                self._bag_clock.lead_in(self._start_ns(), self._stop)
            while not self._stop.is_set():
                self._play_once()
                if not self.parameters["loop"]:
                    break
            self._wait_for_acknowledgement()
            self.get_logger().info(f"played {self.published} messages")
            self._stop.set()
        except TraceVLMError as error:
            self.get_logger().error(str(error))
            self._stop.fail()

    def _wait_for_subscribers(self) -> None:
        wanted = _names(self.parameters["wait_for"])
        if unknown := sorted(wanted - self._voices.keys()):
            raise InputError(f"wait_for names {unknown[0]}, which is not played")
        wait_s = self.parameters["wait_s"]
        silent = wait_for_listeners(self._voices, wanted, wait_s, self._stop)
        if silent and not self._stop.is_set():
            self.get_logger().warning(
                f"after {wait_s:.0f} s nobody listens to {', '.join(silent)}; playing all the same"
            )

    def _start_ns(self) -> int:
        return self._bag.start_ns + int(self.parameters["start_s"] * 1e9)

    def _play_once(self) -> None:
        start_ns = self._start_ns()
        duration_ns = int(self.parameters["duration_s"] * 1e9)
        stop_ns = start_ns + duration_ns if duration_ns else None
        self._publish_standing(start_ns)
        self._pace.begin(start_ns)
        for record in self._bag.records(self._voices, start_ns, stop_ns):
            if not self._wait_until(record.log_ns):
                return
            self._publish(record)

    def _publish_standing(self, start_ns: int) -> None:
        """What was said before ``start_ns`` and still holds, such as /tf_static."""
        standing = [topic for topic in _LATCHED if topic in self._voices]
        if standing and start_ns > self._bag.start_ns:
            for record in self._bag.records(standing, None, start_ns):
                self._publish(record)

    def _wait_until(self, bag_ns: int) -> bool:
        """Wait, ticking /clock, until ``bag_ns`` is due; False when the process is to end."""
        clock = self._bag_clock
        while True:
            now_ns = self._pace.now_ns(self.parameters["rate"])
            due_s = self._pace.seconds_until(bag_ns)
            if clock is not None and self._pace.tick_is_due(clock.clock_hz):
                clock.tick(min(now_ns, bag_ns))
            if due_s <= 0:
                return not self._stop.is_set()
            tick_s = due_s if clock is None else self._pace.until_tick_s(clock.clock_hz)
            if self._stop.wait(min(due_s, tick_s, 0.1)):
                return False

    def _publish(self, record: BagRecord) -> None:
        if record.msgtype != self._types[record.topic]:
            return
        self._voices[record.topic].publish(bytes(record.raw))
        self.published += 1

    def _wait_for_acknowledgement(self) -> None:
        for publisher in self._voices.values():
            publisher.wait_for_all_acked(Duration(seconds=_ACKNOWLEDGE_S))


def _names(listed: str) -> set[str]:
    return {name.strip() for name in listed.split(",") if name.strip()}


def main(argv: Sequence[str] | None = None) -> int:
    return run_node(Player, argv)


if __name__ == "__main__":
    sys.exit(main())
