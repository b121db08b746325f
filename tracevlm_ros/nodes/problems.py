"""Problems as one log line each, the same one at most every few seconds."""

import threading
import time
from collections.abc import Callable

REPEAT_S = 5.0


class Problems:
    """Says each kind of problem at once, then at most every ``REPEAT_S`` with a count."""

    def __init__(self, log: Callable[[str], object], now_s: Callable[[], float] = time.monotonic):
        self._log = log
        self._now_s = now_s
        self._lock = threading.Lock()
        self._said_s: dict[str, float] = {}
        self._held_back: dict[str, int] = {}

    def say(self, kind: str, text: str) -> None:
        """Log ``text`` unless its ``kind`` was logged a moment ago; any thread may call."""
        with self._lock:
            now_s = self._now_s()
            if now_s - self._said_s.get(kind, -REPEAT_S) < REPEAT_S:
                self._held_back[kind] = self._held_back.get(kind, 0) + 1
                return
            self._said_s[kind] = now_s
            more = self._held_back.pop(kind, 0)
        self._log(f"{text} ({more} more of this kind before)" if more else text)
