"""Which inputs come, and one log line when one falls silent or returns."""

from collections.abc import Callable, Mapping, Sequence

SILENT_LOOKS = 3
"""Looks, one a second, without a new message after which an input counts as gone."""


class Presence:
    """``look`` is called once a second with the totals of all streams.

    An input that never came is not missed: diagnostics say that it does not come.
    """

    def __init__(self, streams: Sequence[str], say: Callable[[str], object]) -> None:
        self._say = say
        self._totals = dict.fromkeys(streams, 0)
        self._silent_looks = dict.fromkeys(streams, 0)

    def look(self, totals: Mapping[str, int]) -> None:
        """Compare with the last look."""
        for stream, before in self._totals.items():
            now = totals.get(stream, 0)
            if now > before and self.is_gone(stream):
                self._say(f"{stream} comes again")
            self._silent_looks[stream] = 0 if now > before else self._silent_looks[stream] + 1
            self._totals[stream] = now
            if now and self._silent_looks[stream] == SILENT_LOOKS:
                self._say(f"{stream} has not come for {SILENT_LOOKS} s; waiting for it")

    def is_gone(self, stream: str) -> bool:
        """Whether it came once, and comes no more."""
        return self._totals[stream] > 0 and self._silent_looks[stream] >= SILENT_LOOKS

    def forget(self) -> None:
        """Inputs are no longer wanted: nothing is missed until it has come again."""
        self._silent_looks = dict.fromkeys(self._silent_looks, 0)
        self._totals = dict.fromkeys(self._totals, 0)
