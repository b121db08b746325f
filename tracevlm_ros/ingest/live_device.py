"""Gaze from a live device: connect, read, map its clock, survive whatever the peer does.

A ``Link`` speaks one protocol and knows nothing of retries; ``LiveDevice`` owns one and gives its
readings with stamps of this computer. Whatever is thrown away is counted in ``drops``.
"""

import threading
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from math import isfinite, nan
from typing import NamedTuple, Protocol

from tracevlm_ros.core.clock import ClockMapper, ClockReport
from tracevlm_ros.core.drops import Drops
from tracevlm_ros.core.errors import InputError
from tracevlm_ros.core.settings import require_range
from tracevlm_ros.core.types import GazeSample
from tracevlm_ros.ingest.live_clock import Clock, wall_clock

_TURN_S = 0.1
_REST_S = 0.05
_NS = 1_000_000_000


class BadMessage(Exception):
    """A message that is no reading; ``reason`` is the key under which it is counted."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class Message(NamedTuple):
    """One packet: when it arrived by the local clock and, where the packet and not its payload
    tells them, its stamp by the device's clock and the number of its stream."""

    payload: bytes
    arrival_ns: int
    device_ns: int | None = None
    channel: int = 0


class Inbox:
    """The newest ``depth`` messages that wait; those displaced are counted as they go."""

    def __init__(self, depth: int, drops: Drops) -> None:
        self._messages: deque[Message] = deque(maxlen=depth)
        self._drops = drops
        self._put = 0

    @property
    def is_flooded(self) -> bool:
        """More came since ``take`` than can be kept."""
        return self._put > (self._messages.maxlen or 0)

    def put(self, message: Message) -> bool:
        """Keep ``message``; False when the reader should stop reading and work off what waits."""
        maxlen = self._messages.maxlen or 0
        if len(self._messages) == maxlen:
            self._drops["gaze_queue_full"] += 1
        self._messages.append(message)
        self._put += 1
        return self._put < 8 * maxlen

    def miss(self, reason: str) -> None:
        """Count something that should have come and did not."""
        self._drops[reason] += 1

    def take(self) -> list[Message]:
        """All that wait, oldest first; empties the inbox."""
        messages = list(self._messages)
        self._messages.clear()
        self._put = 0
        return messages


class Link(Protocol):
    """One protocol. All calls come from one thread; ``open`` and ``close`` alternate.

    ``open``, ``receive`` and ``close`` raise OSError (what the network does) or InputError (what
    the peer says) and leave the link closable.
    """

    name: str
    silence_hint: str

    def open(self, clock: ClockMapper, now: Clock) -> None:
        """Connect. ``clock`` is to be fed from now on, with local times of ``now``."""

    def receive(self, inbox: Inbox, wait_s: float) -> None:
        """Wait at most ``wait_s`` for messages, then put all that are there into ``inbox``."""

    def decode(self, message: Message) -> GazeSample | None:
        """A reading with the device's stamp, x and y in 0..1 of the scene image, y down.

        None for messages of another kind. Raises BadMessage for what cannot be read.
        """

    def close(self) -> None:
        """Let go of everything; never fails."""


@dataclass(frozen=True, kw_only=True, slots=True)
class DeviceConfig:
    """``silence_s`` without a reading counts as a failure and ends the connection. After a failure
    the pause is ``pause_s``, doubled up to ``longest_pause_s``; ``max_failures`` in a row end the
    stream (0: never). ``queue_depth`` messages wait at most. A reading whose stamp, mapped to the
    local clock, is ``max_skew_s`` from its arrival or more is dropped.
    """

    silence_s: float = 5.0
    pause_s: float = 0.5
    longest_pause_s: float = 10.0
    max_failures: int = 0
    queue_depth: int = 256
    max_skew_s: float = 5.0

    def __post_init__(self) -> None:
        require_range("silence_s", self.silence_s, 0.1, 600.0)
        require_range("pause_s", self.pause_s, 0.0, 60.0)
        require_range("longest_pause_s", self.longest_pause_s, self.pause_s, 3600.0)
        require_range("max_failures", self.max_failures, 0, 1_000_000)
        require_range("queue_depth", self.queue_depth, 1, 100_000)
        require_range("max_skew_s", self.max_skew_s, 0.1, 3600.0)


class LiveDevice:
    """Readings of one device until ``stop``, across failures of the device and the network.

    ``state`` is ``connecting``, ``connected``, ``receiving`` or ``failed: why``. ``on_event`` hears
    one line for each change worth telling. Nothing here but ``samples`` may block; ``stop``,
    ``state``, ``drops`` and ``clock_report`` may be used from any thread.
    """

    def __init__(
        self,
        link: Link,
        config: DeviceConfig | None = None,
        now: Clock | None = None,
        on_event: Callable[[str], object] | None = None,
    ) -> None:
        self.link = link
        self.config = config or DeviceConfig()
        self.drops = Drops()
        self.state = "connecting"
        self._now = now or wall_clock()
        self._say = on_event or (lambda _text: None)
        self._clock = ClockMapper()
        self._clock_report: ClockReport | None = None
        self._reported_ns = 0
        self._inbox = Inbox(self.config.queue_depth, self.drops)
        self._stopped = threading.Event()

    def stop(self) -> None:
        """End ``samples`` within moments (a link that is being opened may finish first)."""
        self._stopped.set()

    def clock_report(self) -> ClockReport | None:
        """Offset and drift of the device's clock, at most a second old; None before anything was
        measured."""
        return self._clock_report

    def samples(self) -> Iterator[GazeSample]:
        """Readings with local stamps, x and y in 0..1 of the scene image (y down).

        A reading without a place, as in a blink, has NaN and confidence 0. Raises InputError after
        ``max_failures`` failures in a row.
        """
        failures = 0
        while not self._stopped.is_set():
            try:
                for sample in self._connection():
                    if failures or self.state != "receiving":
                        self._say(f"{self.link.name}: receiving gaze")
                    failures, self.state = 0, "receiving"
                    yield sample
                reason, why = "device_silent", self._silence()
            except (OSError, InputError) as error:
                reason, why = "device_connection_failed", str(error) or type(error).__name__
            if self._stopped.is_set():
                return
            failures += 1
            self.drops[reason] += 1
            self._fail(why, failures)
            self._stopped.wait(self.pause_after(failures))

    def pause_after(self, failures: int) -> float:
        """Seconds to wait after that many failures in a row."""
        doubled = self.config.pause_s * 2.0 ** min(failures - 1, 30)
        return min(self.config.longest_pause_s, doubled)

    def _silence(self) -> str:
        return f"no gaze for {self.config.silence_s:g} s{self.link.silence_hint}"

    def _fail(self, why: str, failures: int) -> None:
        self.state = f"failed: {why}"
        if failures == self.config.max_failures:
            raise InputError(
                f"{self.link.name} failed {failures} times in a row, the last time by: {why}; "
                "check that it runs, its address and the network"
            )
        self._say(f"{self.link.name}: {why}; connecting again (failure {failures} in a row)")

    def _connection(self) -> Iterator[GazeSample]:
        """Readings of one connection; ends when it is silent for too long. The clock starts anew:
        what answers next may be another device, or the same with its clock reset."""
        self._clock = ClockMapper()
        self._clock_report, self._reported_ns = None, 0
        self._inbox.take()
        try:
            self.link.open(self._clock, self._now)
            self.state = "connected"
            yield from self._read()
        finally:
            self.link.close()

    def _read(self) -> Iterator[GazeSample]:
        silence_ns = round(self.config.silence_s * _NS)
        heard_ns = self._now()
        while not self._stopped.is_set() and self._now() - heard_ns < silence_ns:
            self.link.receive(self._inbox, min(_TURN_S, self.config.silence_s))
            is_flooded = self._inbox.is_flooded
            for message in self._inbox.take():
                sample = self._reading(message)
                if sample is not None:
                    heard_ns = self._now()
                    yield sample
                if self._stopped.is_set():
                    return
            self._report_clock()
            if is_flooded:
                self._stopped.wait(_REST_S)

    def _report_clock(self) -> None:
        """Here and not where it is asked for: the mapper belongs to this thread."""
        now_ns = self._now()
        if self._clock.is_ready and now_ns - self._reported_ns >= _NS:
            self._clock_report, self._reported_ns = self._clock.report(), now_ns

    def _reading(self, message: Message) -> GazeSample | None:
        try:
            sample = self.link.decode(message)
        except BadMessage as error:
            self.drops[error.reason] += 1
            return None
        if sample is None:
            return None
        stamp_ns = self._clock.to_local(sample.stamp_ns)
        if abs(stamp_ns - message.arrival_ns) >= self.config.max_skew_s * _NS:
            self.drops["gaze_stamp_implausible"] += 1
            return None
        if not (isfinite(sample.x_px) and isfinite(sample.y_px)):
            if sample.confidence > 0:
                self.drops["gaze_place_not_finite"] += 1
            return GazeSample(stamp_ns, nan, nan, 0.0, sample.pen)
        return sample._replace(stamp_ns=stamp_ns)


def seconds_as_ns(value: object) -> int:
    """A device's stamp in seconds -> ns. Raises BadMessage unless it is a number of sane size."""
    seconds = _number(value, "gaze_stamp_invalid")
    if not 0 <= seconds < 2**33:
        raise BadMessage("gaze_stamp_invalid")
    whole = int(seconds)
    return whole * _NS + round((seconds - whole) * _NS)


def place_of(value: object) -> tuple[float, float]:
    """A pair of numbers, NaN allowed. Raises BadMessage for anything else."""
    if not isinstance(value, list | tuple) or len(value) != 2:
        raise BadMessage("gaze_malformed")
    return _number(value[0], "gaze_malformed"), _number(value[1], "gaze_malformed")


def _number(value: object, reason: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise BadMessage(reason)
    try:
        return float(value)
    except OverflowError as error:
        raise BadMessage(reason) from error
