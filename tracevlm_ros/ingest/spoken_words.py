"""Words of a speech recogniser: ``{"word": "cup", "start": 1.2, "end": 1.5}``, times in seconds.

``text`` is accepted in place of ``word``. Times are Unix time, or seconds of the recogniser's own
stream of audio; how those lie on the local clock is told by lines ``{"now": 3.4}`` (the stream's
time as the line is sent) or, without any, estimated from when words arrive after they were spoken.
"""

from dataclasses import dataclass

from tracevlm_ros.core.clock import ClockConfig, ClockMapper, ClockReport
from tracevlm_ros.core.settings import require_choice, require_range
from tracevlm_ros.core.types import Word
from tracevlm_ros.ingest.json_lines import Record
from tracevlm_ros.ingest.live_device import BadMessage, seconds_as_ns

_NS_PER_MS = 1_000_000
_MAX_TEXT = 200
_GUESSED = ClockConfig(jump_ms=10_000.0, jump_confirm_s=10.0)
"""Recognisers take from tenths of a second to seconds: no sign that their clock was set anew."""


@dataclass(frozen=True, kw_only=True, slots=True)
class WordsConfig:
    """``clock``: ``unix`` or ``stream``. ``recognition_ms`` is the least time from the end of a
    word to its line, used only where it has to be guessed. A word that ended more than
    ``max_skew_s`` from its arrival is dropped."""

    clock: str = "stream"
    recognition_ms: float = 300.0
    max_skew_s: float = 60.0

    def __post_init__(self) -> None:
        require_choice("clock", self.clock, ("unix", "stream"))
        require_range("recognition_ms", self.recognition_ms, 0.0, 60_000.0)
        require_range("max_skew_s", self.max_skew_s, 0.1, 3600.0)


class SpokenWords:
    """Turns records into words with local stamps."""

    def __init__(self, config: WordsConfig | None = None) -> None:
        self.config = config or WordsConfig()
        self._clock = ClockMapper(_GUESSED)
        self._is_told = False

    def clock_report(self) -> ClockReport | None:
        """Offset and drift of the stream's clock; None where there is nothing to map."""
        return self._clock.report() if self._clock.is_ready else None

    def word_of(self, record: Record) -> Word | None:
        """The word; None for a line that tells the time. Raises BadMessage for anything else."""
        values = record.values
        if "now" in values:
            self._tell_time(_seconds(values["now"]), record.arrival_ns)
            return None
        text = values.get("word", values.get("text"))
        if text is None or "start" not in values or "end" not in values:
            raise BadMessage("word_key_missing")
        if not isinstance(text, str) or not text.strip() or len(text) > _MAX_TEXT:
            raise BadMessage("word_malformed")
        start_ns, end_ns = _seconds(values["start"]), _seconds(values["end"])
        if end_ns < start_ns:
            raise BadMessage("word_ends_before_start")
        if self.config.clock == "stream":
            if not self._is_told:
                delay_ns = round(self.config.recognition_ms * _NS_PER_MS)
                self._clock.add_pair(end_ns, record.arrival_ns - delay_ns)
            start_ns, end_ns = self._clock.to_local(start_ns), self._clock.to_local(end_ns)
        if abs(end_ns - record.arrival_ns) > self.config.max_skew_s * 1e9:
            raise BadMessage("word_stamp_implausible")
        return Word(text.strip(), start_ns, end_ns)

    def _tell_time(self, stream_ns: int, arrival_ns: int) -> None:
        if not self._is_told:
            self._clock, self._is_told = ClockMapper(), True
        self._clock.add_pair(stream_ns, arrival_ns)


def _seconds(value: object) -> int:
    try:
        return seconds_as_ns(value)
    except BadMessage as error:
        raise BadMessage("word_stamp_invalid") from error
