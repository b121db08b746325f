"""Publish the words of a speech recogniser that speaks JSON lines, over TCP or standard input.

    my_recogniser | python -m tracevlm_ros.nodes.words --ros-args -p input:=stdin

One word a line, times in seconds: ``{"word": "cup", "start": 1.2, "end": 1.5}``; see
``ingest/spoken_words.py`` for clocks. With standard input the node ends with it.
"""

import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from diagnostic_msgs.msg import DiagnosticStatus
from rclpy.node import Node

from tracevlm_msgs.msg import Word as WordMessage
from tracevlm_ros.core.clock import ClockReport
from tracevlm_ros.core.drops import Drops
from tracevlm_ros.core.types import Word
from tracevlm_ros.ingest.json_lines import JsonLines, Record
from tracevlm_ros.ingest.live_device import BadMessage
from tracevlm_ros.ingest.spoken_words import SpokenWords, WordsConfig
from tracevlm_ros.nodes import convert, qos
from tracevlm_ros.nodes.driver_report import DriverReport, DriverState
from tracevlm_ros.nodes.params import NodeParameters, load_schema
from tracevlm_ros.nodes.spin import StopRequest, run_node

SCHEMA = Path(__file__).with_name("words.yaml")


class Words(Node):  # type: ignore[misc]
    """Reads and publishes in a thread of its own."""

    def __init__(self, stop: StopRequest, **node_options: Any) -> None:
        super().__init__("words", **node_options)
        self._stop = stop
        self.parameters = NodeParameters(self, load_schema(SCHEMA))
        values = self.parameters
        is_tcp = values["input"] == "tcp"
        self.lines = JsonLines(
            values["port"] if is_tcp else None, values["host"], on_event=self.get_logger().info
        )
        self._words = SpokenWords(
            WordsConfig(clock=values["clock"], recognition_ms=values["recognition_ms"])
        )
        self._drops = Drops()
        self._clock_report: ClockReport | None = None
        self._voice = self.create_publisher(
            WordMessage, "words", qos.reliable(100), qos_overriding_options=qos.overridable()
        )
        self._report = DriverReport(self, "words")
        self._source = f"tcp://{values['host']}:{self.lines.port}" if is_tcp else "standard input"
        self._report.every_second(self.state)
        self.get_logger().info(f"words are read from {self._source}")
        self._thread = threading.Thread(target=self._run, name="words", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """End the thread."""
        self.lines.stop()
        self._thread.join()

    def state(self) -> DriverState:
        """What diagnostics show. Silence is nothing wrong: people do not always talk."""
        drops = Drops(self._drops)
        drops.update(Drops(self.lines.drops))
        return DriverState(
            level=DiagnosticStatus.OK,
            text="reading",
            source=self._source,
            clock=self._clock_report,
            drops=drops,
        )

    def _run(self) -> None:
        for record in self.lines.records():
            word = self._word_of(record)
            self._clock_report = self._words.clock_report()
            if word is not None:
                self._publish(word, record.arrival_ns)
        self._stop.set()

    def _word_of(self, record: Record) -> Word | None:
        try:
            return self._words.word_of(record)
        except BadMessage as error:
            self._drops[error.reason] += 1
            return None

    def _publish(self, word: Word, arrival_ns: int) -> None:
        frame_id = self.parameters["frame_id"]
        message = WordMessage(
            header=convert.header_of(arrival_ns, frame_id),
            text=word.text,
            start=convert.time_of(word.start_ns),
            end=convert.time_of(word.end_ns),
        )
        self._voice.publish(message)
        self._report.sent()


def main(argv: Sequence[str] | None = None) -> int:
    return run_node(Words, argv)


if __name__ == "__main__":
    sys.exit(main())
