"""/clock of a bag, heard by everyone before the first message that it dates."""

import threading
import time

from rclpy.node import Node
from rosgraph_msgs.msg import Clock

from tracevlm_ros.nodes import convert, qos

_TOPIC = "/clock"
LEAD_S = 0.2
"""Ticks before the first message, once all are connected: a reader may learn of its writer a little
after the writer learns of it, and nodes read /clock best effort."""
_LEAD_TICK_S = 0.05
CONNECT_S = 5.0
"""Longest wait for listeners on the graph, which may be gone without having said so."""


class BagClock:
    """Publishes bag time. ``clock_hz`` > 0 is how often its owner means to tick."""

    def __init__(self, node: Node, clock_hz: float) -> None:
        self.clock_hz = clock_hz
        self._node = node
        self._publisher = node.create_publisher(Clock, _TOPIC, qos.reliable(10))

    def tick(self, bag_ns: int) -> None:
        """It is ``bag_ns`` now."""
        self._publisher.publish(Clock(clock=convert.time_of(bag_ns)))

    def lead_in(self, bag_ns: int, stop: threading.Event) -> None:
        """Stand at ``bag_ns`` until every listener on the graph is connected, and ``LEAD_S`` more.

        What a node receives before its first tick has no time there. Ends after ``CONNECT_S`` all
        the same, or when ``stop`` is set.
        """
        limit_s = time.monotonic() + CONNECT_S
        ready_s = None
        while not stop.wait(min(1.0 / self.clock_hz, _LEAD_TICK_S)):
            self.tick(bag_ns)
            now_s = time.monotonic()
            if not self._is_connected():
                ready_s = None
            elif ready_s is None:
                ready_s = now_s
            if now_s >= (limit_s if ready_s is None else ready_s + LEAD_S):
                return

    def _is_connected(self) -> bool:
        known = self._node.count_subscribers(_TOPIC)
        return bool(self._publisher.get_subscription_count() >= known)
