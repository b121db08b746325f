"""The machinery behind every live device, with links made for the occasion."""

import time
from math import isnan, nan

import pytest

from tests.ingest.live_rig import Collector, until
from tracevlm_ros.core.clock import ClockMapper
from tracevlm_ros.core.drops import Drops
from tracevlm_ros.core.errors import ConfigError
from tracevlm_ros.core.types import GazeSample
from tracevlm_ros.ingest.gaze_devices import DEVICES, link_to, parse_address
from tracevlm_ros.ingest.live_clock import Clock
from tracevlm_ros.ingest.live_device import (
    BadMessage,
    DeviceConfig,
    Inbox,
    LiveDevice,
    Message,
    place_of,
    seconds_as_ns,
)


class Script:
    """A link that refuses as often as told, then gives ``batches`` and falls silent."""

    name = "script"
    silence_hint = ""

    def __init__(self, batches: list[list[GazeSample]], refusals: int = 0) -> None:
        self._batches = batches
        self._refusals = refusals
        self.calls: list[str] = []

    def open(self, clock: ClockMapper, now: Clock) -> None:
        self.calls.append("open")
        self._now = now
        if self._refusals:
            self._refusals -= 1
            raise ConnectionRefusedError("nobody there")
        clock.add_exchange(now(), now() - 1_000_000_000, now())

    def receive(self, inbox: Inbox, wait_s: float) -> None:
        if self._batches:
            self._samples = self._batches.pop(0)
            for index in range(len(self._samples)):
                inbox.put(Message(bytes([index]), self._now()))
        else:
            time.sleep(wait_s)  # as a link waits for its socket

    def decode(self, message: Message) -> GazeSample:
        sample = self._samples[message.payload[0]]
        return sample._replace(stamp_ns=message.arrival_ns - 1_000_000_000)

    def close(self) -> None:
        self.calls.append("close")


SAMPLE = GazeSample(0, 0.5, 0.5)


def test_an_inbox_keeps_the_newest_and_counts_the_displaced() -> None:
    drops = Drops()
    inbox = Inbox(3, drops)
    for index in range(5):
        inbox.put(Message(bytes([index]), index))
    assert inbox.is_flooded
    assert [message.arrival_ns for message in inbox.take()] == [2, 3, 4]
    assert drops == {"gaze_queue_full": 2}
    assert not inbox.is_flooded
    assert inbox.take() == []


def test_an_inbox_asks_to_stop_reading_a_peer_that_never_pauses() -> None:
    inbox = Inbox(4, Drops())
    answers = [inbox.put(Message(b"", 0)) for _ in range(32)]
    assert answers == [True] * 31 + [False]


def test_a_connection_that_fails_is_closed_and_opened_again() -> None:
    link = Script([[SAMPLE]], refusals=2)
    with Collector(link, DeviceConfig(pause_s=0.0, silence_s=0.1)) as collector:
        collector.first(1)
    assert link.calls[:5] == ["open", "close", "open", "close", "open"]
    assert collector.device.drops["device_connection_failed"] == 2
    assert collector.events[0] == "script: nobody there; connecting again (failure 1 in a row)"
    assert collector.events[2] == "script: receiving gaze"
    assert link.calls[-1] == "close"


def test_the_pause_doubles_up_to_its_limit() -> None:
    device = LiveDevice(Script([]), DeviceConfig(pause_s=0.5, longest_pause_s=3.0))
    assert [device.pause_after(count) for count in (1, 2, 3, 4, 1000)] == [0.5, 1, 2, 3, 3]


def test_stamps_are_mapped_and_a_place_without_numbers_is_lost_gaze() -> None:
    link = Script([[SAMPLE, SAMPLE._replace(x_px=nan), GazeSample(0, nan, nan, 0.0)]])
    with Collector(link, DeviceConfig(silence_s=5.0)) as collector:
        first, second, third = collector.first(3)
        report = until(collector.device.clock_report, "a report")
    assert abs(report.offset_ns - 1_000_000_000) < 50_000_000
    assert (first.x_px, first.y_px, first.confidence) == (0.5, 0.5, 1.0)
    assert isnan(second.x_px) and isnan(second.y_px) and second.confidence == 0.0
    assert isnan(third.x_px)
    assert collector.device.drops == {"gaze_place_not_finite": 1}


@pytest.mark.parametrize("value", [True, None, "1", [1], nan, float("inf"), -1, 2**40, 10**400])
def test_a_stamp_that_is_no_sane_number_is_no_reading(value: object) -> None:
    with pytest.raises(BadMessage) as caught:
        seconds_as_ns(value)
    assert caught.value.reason == "gaze_stamp_invalid"


@pytest.mark.parametrize(
    "value, stamp_ns",
    [(0, 0), (1.5, 1_500_000_000), (1_700_000_001.25, 1_700_000_001_250_000_000)],
)
def test_stamps_in_seconds_lose_nothing(value: float, stamp_ns: int) -> None:
    assert seconds_as_ns(value) == stamp_ns


@pytest.mark.parametrize("value", [None, "12", [1], [1, 2, 3], [1, None], [True, 1], [1, 10**400]])
def test_a_place_that_is_no_pair_of_numbers_is_no_reading(value: object) -> None:
    with pytest.raises(BadMessage) as caught:
        place_of(value)
    assert caught.value.reason == "gaze_malformed"


@pytest.mark.parametrize(
    "text, parts",
    [
        ("", {}),
        ("eye.local", {"host": "eye.local"}),
        ("10.0.0.2:50021", {"host": "10.0.0.2", "port": 50021}),
        ("[fe80::1%eth0]:49152", {"host": "fe80::1%eth0", "port": 49152}),
        ("fe80::1", {"host": "fe80::1"}),
        ("[::1]", {"host": "::1"}),
    ],
)
def test_an_address_is_a_host_and_perhaps_a_port(text: str, parts: dict[str, object]) -> None:
    assert parse_address(text) == parts


@pytest.mark.parametrize("text", ["tcp://10.0.0.2", ":50020", "host:many", "[::1", "[]:1"])
def test_an_address_that_is_none_is_told(text: str) -> None:
    with pytest.raises(ConfigError, match="write host"):
        parse_address(text)


def test_every_device_but_neon_needs_no_extra_package() -> None:
    for device in DEVICES:
        if device != "neon":
            assert link_to(device, "10.0.0.2").name
    with pytest.raises(ConfigError, match="gaze device is 'eyelink'"):
        link_to("eyelink")
