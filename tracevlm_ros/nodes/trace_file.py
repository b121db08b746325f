"""Every duration and event of a running node in a file that Perfetto and chrome://tracing open.

The Trace Event Format's JSON array: one event a line, and the closing bracket may be missing, so a
killed node leaves a file that opens. Durations are asynchronous pairs (``b``, ``e``), because those
of one stage may overlap (two frames wait at once) and begin in another thread than they end in.
Times are ``time.monotonic``.
"""

import json
import os
import threading
from pathlib import Path
from typing import Any

from tracevlm_ros.core.errors import InputError
from tracevlm_ros.nodes.problems import Problems

MAX_BYTES = 512 * 2**20
"""The file ends there, after an hour and a half: nine stages of a camera at 30 Hz take 294 bytes
each (20,000 durations written and counted), a tracker at 120 Hz takes 13 kB a second."""


class TraceFile:
    """A StopwatchListener that writes ``path`` anew; any thread may call it.

    Raises InputError when the file cannot be made. When it can no longer be written or is full,
    that is one log line, and the node goes on without it.
    """

    def __init__(
        self, path: Path, process: str, problems: Problems, max_bytes: int = MAX_BYTES
    ) -> None:
        try:
            self._file = path.open("w", encoding="utf-8")
        except OSError as error:
            raise InputError(
                f"trace file {path} cannot be written: {error}; name another in trace_file"
            ) from error
        self._path = path
        self._problems = problems
        self._max_bytes = max_bytes
        self._pid = os.getpid()
        self._lock = threading.Lock()
        self._pairs = 0
        self._bytes = 0
        self._is_open = True
        self._write([{"ph": "M", "name": "process_name", "args": {"name": process}}])

    def duration(
        self, stage: str, start_s: float, end_s: float, frame_ns: int | None = None
    ) -> None:
        """One pass of a stage; the stamp of its frame, where it is known, is an argument of it."""
        frame = {} if frame_ns is None else {"args": {"frame_ns": frame_ns}}
        with self._lock:
            self._pairs += 1
            pair = {"cat": "stage", "name": stage, "id": self._pairs}
            self._write(
                [
                    {"ph": "b", **pair, "ts": 1e6 * start_s, **frame},
                    {"ph": "e", **pair, "ts": 1e6 * max(start_s, end_s)},
                ]
            )

    def event(self, stream: str, now_s: float) -> None:
        """Something came in or went out."""
        with self._lock:
            self._write([{"ph": "i", "s": "p", "cat": "stream", "name": stream, "ts": 1e6 * now_s}])

    def flush(self) -> None:
        """Bring what was written to the disk's file; what a kill loses is what came since."""
        with self._lock:
            if self._is_open:
                try:
                    self._file.flush()
                except OSError as error:
                    self._give_up(f"cannot be written any more: {error}")

    def close(self) -> None:
        """End the file. Harmless when it has ended."""
        with self._lock:
            if self._is_open:
                self._end()

    def _write(self, events: list[dict[str, Any]]) -> None:
        if not self._is_open:
            return
        text = "".join(
            f"{',' if self._bytes or index else '['}\n"
            f"{json.dumps({**event, 'pid': self._pid, 'tid': self._pid})}"
            for index, event in enumerate(events)
        )
        if self._bytes + len(text) > self._max_bytes:
            self._give_up(f"has reached {self._max_bytes} bytes and ends")
            return
        try:
            self._file.write(text)
            self._bytes += len(text)
        except OSError as error:
            self._give_up(f"cannot be written any more: {error}")

    def _give_up(self, why: str) -> None:
        self._end()
        self._problems.say("trace_file", f"trace file {self._path} {why}")

    def _end(self) -> None:
        self._is_open = False
        try:
            self._file.write("\n]\n")
            self._file.close()
        except OSError as error:
            self._problems.say("trace_file", f"trace file {self._path} was cut off: {error}")
