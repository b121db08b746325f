"""The diagnostics of a driver: two statuses, device and drops, once a second."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from rclpy.clock import Clock, ClockType
from rclpy.node import Node

from tracevlm_ros.core.clock import ClockReport
from tracevlm_ros.core.drops import Drops
from tracevlm_ros.nodes import qos
from tracevlm_ros.nodes.stopwatch import Stopwatch

PERIOD_S = 1.0


@dataclass(frozen=True, kw_only=True, slots=True)
class DriverState:
    """``level`` is of the device; ``clock`` is None where there is none to map."""

    level: bytes
    text: str
    source: str
    clock: ClockReport | None = None
    drops: Drops = field(default_factory=Drops)


class DriverReport:
    """Publishes what ``state`` says; count what is published with ``sent``.

    The first drop of each reason is a line in the log, too, unless the reason begins with one of
    ``own_words``: those the node tells itself.
    """

    def __init__(self, node: Node, stream: str, own_words: tuple[str, ...] = ()) -> None:
        self._node = node
        self._stream = stream
        self._watch = Stopwatch()
        self._before = Drops()
        self._own_words = own_words
        self._publisher = node.create_publisher(DiagnosticArray, "/diagnostics", qos.reliable(10))

    def every_second(self, state: Callable[[], DriverState]) -> None:
        """Report ``state()`` from now on, in the node's executor."""
        clock = Clock(clock_type=ClockType.STEADY_TIME)
        self._node.create_timer(PERIOD_S, lambda: self.report(state()), clock=clock)

    def sent(self) -> None:
        """One message went out; any thread."""
        self._watch.event(self._stream)

    def report(self, state: DriverState) -> None:
        """Publish now."""
        message = DiagnosticArray(status=[self._device(state), self._drops(state)])
        message.header.stamp = self._node.get_clock().now().to_msg()
        self._publisher.publish(message)

    def _device(self, state: DriverState) -> DiagnosticStatus:
        values = {
            "source": state.source,
            "state": state.text,
            f"{self._stream}_hz": f"{self._watch.rates_hz().get(self._stream, 0.0):.2f}",
            f"{self._stream}_total": str(self._watch.totals().get(self._stream, 0)),
        }
        if state.clock is not None:
            values |= clock_values(state.clock)
        return self._status("device", state.level, state.text, values, state.source)

    def _drops(self, state: DriverState) -> DiagnosticStatus:
        fresh = state.drops - self._before
        for reason in sorted(fresh):
            if self._before[reason] == 0 and not reason.startswith(self._own_words):
                self._node.get_logger().warning(
                    f"{fresh[reason]} dropped as {reason}; later ones are counted in /diagnostics"
                )
        self._before = Drops(state.drops)
        values = {reason: str(count) for reason, count in sorted(state.drops.items())}
        if not fresh:
            text, level = "nothing dropped since the last report", DiagnosticStatus.OK
        else:
            parts = ", ".join(f"{reason} {count}" for reason, count in sorted(fresh.items()))
            text, level = f"dropped since the last report: {parts}", DiagnosticStatus.WARN
        return self._status("drops", level, text, values, state.source)

    def _status(
        self, part: str, level: bytes, text: str, values: Mapping[str, str], source: str
    ) -> DiagnosticStatus:
        return DiagnosticStatus(
            level=level,
            name=f"{self._node.get_fully_qualified_name().lstrip('/')}: {part}",
            message=text,
            hardware_id=source,
            values=[KeyValue(key=key, value=value) for key, value in values.items()],
        )


def clock_values(clock: ClockReport) -> dict[str, str]:
    """``clock_jitter_ms`` is half the median round trip, or the median latency above the least."""
    return {
        "clock_offset_ms": f"{clock.offset_ns / 1e6:.3f}",
        "clock_drift_ppm": f"{clock.drift_ppm:.2f}",
        "clock_jitter_ms": f"{clock.jitter_ns / 1e6:.3f}",
        "clock_jumps": str(clock.jump_count),
        "clock_measured_by": "request and response" if clock.is_exchange else "arrival",
    }
