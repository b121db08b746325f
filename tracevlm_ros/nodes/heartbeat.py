"""A sign of life: the lifecycle state, several times a second, while the node can do its work.

``~/heartbeat`` (lifecycle_msgs/State) is published with the liveliness MANUAL_BY_TOPIC: the
middleware tells a supervisor that subscribes with the same lease when the process is gone, and when
it is there but its executor hangs. A transition may take minutes (configure builds engines); the
heart beats on meanwhile.
"""

import threading
import time
from collections.abc import Callable
from typing import NamedTuple

from lifecycle_msgs.msg import State
from rclpy.clock import Clock, ClockType
from rclpy.duration import Duration
from rclpy.node import Node
from rclpy.qos import LivelinessPolicy, QoSProfile

from tracevlm_ros.nodes import qos

TOPIC = "~/heartbeat"
LEASE_S = 2.0
"""A supervisor's lease. On a busy machine a beat may come a second late."""
PATIENCE_S = 1.5
"""An executor that has not turned for this long, outside a transition, hangs."""


class Pulse(NamedTuple):
    """The lifecycle state, and whether a transition is under way."""

    state_id: int
    label: str
    in_transition: bool


def profile() -> QoSProfile:
    """What the node offers, and what a supervisor should request."""
    found = qos.reliable(1)
    found.liveliness = LivelinessPolicy.MANUAL_BY_TOPIC
    found.liveliness_lease_duration = Duration(seconds=LEASE_S)
    return found


class Heartbeat:
    """Beats every ``period_s`` from construction to ``close``, in a thread of its own.

    ``pulse`` is asked in that thread.
    """

    def __init__(self, node: Node, pulse: Callable[[], Pulse], period_s: float) -> None:
        self._pulse = pulse
        self._period_s = period_s
        self._turned_s = time.monotonic()
        self._stopping = threading.Event()
        self._voice = node.create_publisher(
            State, TOPIC, profile(), event_callbacks=qos.QUIET_PUBLISHER
        )
        self._timer = node.create_timer(
            period_s, self.executor_turned, clock=Clock(clock_type=ClockType.STEADY_TIME)
        )
        self._thread = threading.Thread(target=self._run, name="heartbeat", daemon=True)
        self._thread.start()

    def executor_turned(self) -> None:
        """The executor calls this; as long as it does, it does not hang."""
        self._turned_s = time.monotonic()

    def close(self) -> None:
        """Stop beating. The node destroys the publisher and the timer."""
        self._stopping.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stopping.wait(self._period_s):
            pulse = self._pulse()
            if pulse.in_transition or time.monotonic() - self._turned_s < PATIENCE_S:
                self._voice.publish(State(id=pulse.state_id, label=pulse.label))
