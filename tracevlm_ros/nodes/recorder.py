"""Record topics into a bag: raw bytes as they come, never decoded, closed cleanly at the end.

Topics are found as they appear. QoS follows the publishers: reliable and latched where all of
them are; when one comes later that offers less, the topic is subscribed to anew, as it offers. Log
times are of the node's clock, so with use_sim_time they are bag time. Losses show in /diagnostics.
"""

import functools
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import Any, NamedTuple, TypeVar, cast

from diagnostic_msgs.msg import DiagnosticStatus
from rclpy.clock import Clock, ClockType
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy

from tracevlm_ros.core.drops import Drops
from tracevlm_ros.core.errors import InputError, TraceVLMError
from tracevlm_ros.ingest.bag_parts import BagParts
from tracevlm_ros.nodes import qos
from tracevlm_ros.nodes.driver_report import DriverReport, DriverState
from tracevlm_ros.nodes.params import NodeParameters, load_schema
from tracevlm_ros.nodes.player import ros_class
from tracevlm_ros.nodes.spin import StopRequest, run_node

SCHEMA = Path(__file__).with_name("recorder.yaml")
_LOOK_S = 0.1
_FLUSH_S = 0.5
"""A recorder that is killed leaves a bag that lacks at most this much."""
_LOSSES = {
    "message_disk_too_slow": "the disk was too slow",
    "message_disk_full": "the disk was full",
}
_HIDDEN = ("/rosout", "/parameter_events")
T = TypeVar("T")


class _Item(NamedTuple):
    topic: str
    msgtype: str
    log_ns: int
    raw: bytes


class _Job(NamedTuple):
    """Work for the writer's thread; whoever gave it waits for ``done``."""

    work: Callable[[], Any]
    done: Future[Any]

    def do(self) -> None:
        try:
            self.done.set_result(self.work())
        except Exception as error:  # raised again where it is waited for
            self.done.set_exception(error)


class Recorder(Node):  # type: ignore[misc]
    """Writes in a thread of its own, so that a slow disk does not hold up taking messages. That
    thread alone opens, writes and closes the bag: SQLite allows no other."""

    def __init__(self, stop: StopRequest, **node_options: Any) -> None:
        super().__init__("recorder", **node_options)
        self._stop = stop
        self.parameters = NodeParameters(self, load_schema(SCHEMA))
        if not self.parameters["bag"]:
            raise InputError("the parameter 'bag' is empty; name the folder of the new bag")
        self._wanted = {
            self.resolve_topic_name(name.strip())
            for name in self.parameters["topics"].split(",")
            if name.strip()
        }
        self._items: deque[_Item | _Job] = deque()
        self._waiting_bytes = 0
        self._changed = threading.Condition()
        self._is_closing = False
        self._has_ended = False
        self._refused: set[str] = set()
        self._topics: dict[str, Any] = {}
        self._callbacks: dict[str, Callable[[bytes], None]] = {}
        self.written = 0
        self.drops = Drops()
        """Each reason is counted by one thread only: ``message_disk_too_slow`` by the executor's,
        ``message_disk_full`` by the writer's."""
        self._report = DriverReport(self, "messages", own_words=("message_",))
        self._writer: BagParts | None = None
        self._thread = threading.Thread(target=self._write_all, name="writer", daemon=True)
        self._thread.start()
        try:
            self._writer = self._at_the_writer(self._open)
        except InputError:
            self._end_writer()
            raise
        self._report.every_second(self.state)
        self._look()
        self.create_timer(_LOOK_S, self._look, clock=Clock(clock_type=ClockType.STEADY_TIME))

    def _open(self) -> BagParts:
        return BagParts(
            Path(self.parameters["bag"]),
            self.parameters["storage"],
            self.get_logger().error,
            compress=self.parameters["compress"],
            min_free_bytes=self.parameters["min_free_mb"] * 1_000_000,
        )

    def state(self) -> DriverState:
        """What diagnostics show."""
        is_paused = self._bag().is_paused
        return DriverState(
            level=DiagnosticStatus.ERROR if is_paused else DiagnosticStatus.OK,
            text="paused: the disk is full" if is_paused else "recording",
            source=self.parameters["bag"],
            drops=Drops(self.drops),
        )

    # --- finding topics ----------------------------------------------------------------------

    def _look(self) -> None:
        for topic, types in self.get_topic_names_and_types():
            is_wanted = topic in self._wanted if self._wanted else topic not in _HIDDEN
            if not is_wanted or topic in self._refused:
                continue
            if topic in self._topics:
                self._follow_newcomers(topic)
            else:
                self._subscribe(topic, types)

    def _follow_newcomers(self, topic: str) -> None:
        """Subscribe anew when a publisher has come that offers less than is asked for."""
        taken = self._topics[topic]
        infos = self.get_publishers_info_by_topic(topic)
        unfit = {
            f"{info.node_namespace.rstrip('/')}/{info.node_name}": unmet
            for info in infos
            if (unmet := qos.unmet_policies(info.qos_profile, taken.qos_profile))
        }
        if not unfit:
            return
        profile = _follow([info.qos_profile for info in infos], self.parameters["depth"])
        self._topics[topic] = self.create_subscription(
            taken.msg_type, topic, self._callbacks[topic], profile, raw=True
        )
        self.destroy_subscription(taken)
        for peer, unmet in unfit.items():
            self.get_logger().warning(
                f"{topic}: {peer} offers less than was recorded by ({'; '.join(unmet)}); recording "
                "goes on as it offers, what came in between is lost"
            )

    def _subscribe(self, topic: str, types: Sequence[str]) -> None:
        infos = self.get_publishers_info_by_topic(topic)
        if not infos:
            return
        try:
            if len(types) > 1:
                raise InputError(f"it has {len(types)} types at once: {', '.join(types)}")
            msg_type = ros_class(types[0])
            profile = _follow([info.qos_profile for info in infos], self.parameters["depth"])
            declare = functools.partial(
                self._bag().add_topic,
                topic,
                types[0],
                reliable=profile.reliability == ReliabilityPolicy.RELIABLE,
                latched=profile.durability == DurabilityPolicy.TRANSIENT_LOCAL,
            )
            self._at_the_writer(declare)
        except InputError as error:
            self._refused.add(topic)
            self.get_logger().warning(f"topic {topic} is not recorded: {error}")
            return
        self._callbacks[topic] = self._callback(topic, types[0])
        self._topics[topic] = self.create_subscription(
            msg_type, topic, self._callbacks[topic], profile, raw=True
        )
        self.get_logger().info(f"recording {topic} ({types[0]})")

    def _callback(self, topic: str, msgtype: str) -> Callable[[bytes], None]:
        limit = self.parameters["max_waiting_mb"] * 1_000_000

        def take(raw: bytes) -> None:
            item = _Item(topic, msgtype, int(self.get_clock().now().nanoseconds), raw)
            with self._changed:
                if self._waiting_bytes + len(raw) > limit:
                    self.drops["message_disk_too_slow"] += 1
                    return
                self._items.append(item)
                self._waiting_bytes += len(raw)
                self._changed.notify()

        return take

    # --- writing -----------------------------------------------------------------------------

    def _bag(self) -> BagParts:
        assert self._writer is not None, "the constructor opens it"
        return self._writer

    def _at_the_writer(self, work: Callable[[], T]) -> T:
        """The result of ``work`` in the writer's thread, before all messages that wait."""
        job = _Job(work, Future())
        with self._changed:
            if self._has_ended:
                raise InputError("recording has ended")
            self._items.appendleft(job)
            self._changed.notify()
        return cast(T, job.done.result())

    def _write_all(self) -> None:
        try:
            while not self._is_finished():
                self._write_waiting()
                if self._writer is not None:
                    self._writer.flush()
                    self._count_lost(self._writer)
            if self._writer is not None:
                self._writer.close()
        except TraceVLMError as error:
            self.get_logger().error(f"recording ends: {error}")
            self._stop.fail()
        finally:
            if self._writer is not None:
                self._count_lost(self._writer)
            self._refuse_jobs()

    def _count_lost(self, writer: BagParts) -> None:
        """What was taken for written, and a write that failed afterwards has lost."""
        lost = writer.take_lost()
        self.written -= lost
        self.drops["message_disk_full"] += lost

    def _refuse_jobs(self) -> None:
        with self._changed:
            self._has_ended = True
            for job in self._items:
                if isinstance(job, _Job):
                    job.done.set_exception(InputError("recording has ended"))
            self._items.clear()

    def _write_waiting(self) -> None:
        """Write what comes during ``_FLUSH_S``, or until the end."""
        limit_s = time.monotonic() + _FLUSH_S
        while (item := self._next(limit_s)) is not None:
            if isinstance(item, _Job):
                item.do()
            elif self._bag().write_raw(item.topic, item.msgtype, item.log_ns, item.raw):
                self._report.sent()
                self.written += 1
            else:
                self.drops["message_disk_full"] += 1

    def _next(self, limit_s: float) -> _Item | _Job | None:
        """The oldest item; None at ``limit_s`` (monotonic), or when no more will come."""
        with self._changed:
            left_s = limit_s - time.monotonic()
            if left_s <= 0:
                return None
            self._changed.wait_for(lambda: self._items or self._is_closing, left_s)
            if not self._items:
                return None
            item = self._items.popleft()
            if isinstance(item, _Item):
                self._waiting_bytes -= len(item.raw)
            return item

    def _is_finished(self) -> bool:
        with self._changed:
            return self._is_closing and not self._items

    def close(self) -> None:
        """Write what waits, then the index."""
        self._end_writer()
        text = f"recorded {self.written} messages of {len(self._topics)} topics"
        told = [f"lost {self.drops[key]}: {why}" for key, why in _LOSSES.items() if self.drops[key]]
        if told:
            self.get_logger().warning("; ".join([text, *told]))
        else:
            self.get_logger().info(text)

    def _end_writer(self) -> None:
        with self._changed:
            self._is_closing = True
            self._changed.notify()
        self._thread.join()


def _follow(offered: Sequence[QoSProfile], depth: int) -> QoSProfile:
    """What every publisher can give: reliable only if all are, latched only if all are."""
    if any(profile.reliability != ReliabilityPolicy.RELIABLE for profile in offered):
        return qos.sensor(depth)
    if all(profile.durability == DurabilityPolicy.TRANSIENT_LOCAL for profile in offered):
        return qos.keep_all(qos.latched(depth))
    return qos.keep_all(qos.reliable(depth))


def main(argv: Sequence[str] | None = None) -> int:
    return run_node(Recorder, argv)


if __name__ == "__main__":
    sys.exit(main())
