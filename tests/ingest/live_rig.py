"""A live device's samples collected in a thread, and waiting on conditions."""

import threading
import time
from collections.abc import Callable
from typing import Any

from tracevlm_ros.core.errors import TraceVLMError
from tracevlm_ros.core.types import GazeSample
from tracevlm_ros.ingest.live_clock import wall_clock
from tracevlm_ros.ingest.live_device import DeviceConfig, Link, LiveDevice

WAIT_S = 20.0
QUICK = DeviceConfig(silence_s=0.5, pause_s=0.05, longest_pause_s=0.1)


def until(condition: Callable[[], Any], what: str) -> Any:
    """The first true value of ``condition``; fails when none comes in time."""
    limit_s = time.monotonic() + WAIT_S
    while not (value := condition()):
        assert time.monotonic() < limit_s, f"{what} did not come within {WAIT_S:.0f} s"
        time.sleep(0.005)
    return value


class Collector:
    """Runs ``device.samples()`` until the ``with`` block ends."""

    def __init__(self, link: Link, config: DeviceConfig = QUICK) -> None:
        self.events: list[str] = []
        self.samples: list[GazeSample] = []
        self.error: TraceVLMError | None = None
        self.device = LiveDevice(link, config, wall_clock(), self.events.append)
        self._thread = threading.Thread(target=self._run)

    def _run(self) -> None:
        try:
            for sample in self.device.samples():
                self.samples.append(sample)
        except TraceVLMError as error:
            self.error = error

    def __enter__(self) -> "Collector":
        self._thread.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self.device.stop()
        self._thread.join(WAIT_S)
        assert not self._thread.is_alive(), "the device does not stop"

    def wait_for(self, count: int) -> list[GazeSample]:
        """That many samples more than now."""
        return self._from(len(self.samples), count)

    def first(self, count: int) -> list[GazeSample]:
        """The first that many samples."""
        return self._from(0, count)

    def _from(self, have: int, count: int) -> list[GazeSample]:
        until(lambda: len(self.samples) >= have + count or self.error, f"{count} samples")
        assert self.error is None, self.error
        return self.samples[have : have + count]
