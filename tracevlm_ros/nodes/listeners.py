"""Wait, for a bounded time, until someone listens: what is published before is lost."""

import threading
import time
from collections.abc import Collection, Mapping
from typing import Any

_LOOK_S = 0.02


def wait_for_listeners(
    publishers: Mapping[str, Any],
    wanted: Collection[str],
    timeout_s: float,
    stop: threading.Event,
) -> list[str]:
    """Wait until each of ``wanted`` (none: any of ``publishers``) has a subscription.

    Returns the names that still have none when the time is up or ``stop`` is set; empty when
    everything that was waited for is heard.
    """
    limit_s = time.monotonic() + timeout_s
    while True:
        silent = [name for name, each in publishers.items() if not each.get_subscription_count()]
        missing = [name for name in silent if name in wanted]
        is_heard = not missing if wanted else len(silent) < len(publishers)
        if is_heard:
            return []
        if time.monotonic() >= limit_s or stop.wait(_LOOK_S):
            return missing or silent
