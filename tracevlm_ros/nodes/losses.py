"""Messages that were sent and never came, counted by the numbers that publishers give them.

The middleware itself tells only what was lost on the way (the event message_lost). What a full
queue of the subscription overwrites before the executor takes it is told by nobody; both leave the
same gap between the numbers of two messages that come.
"""

from collections.abc import Callable, Mapping
from typing import Any


class Losses:
    """Counts for one subscription; ``count`` is called with how many are missing.

    Middlewares without numbers, and rclpy before publishers could be told apart, leave the event.
    """

    def __init__(self, count: Callable[[int], None]) -> None:
        self._count = count
        self._newest: dict[bytes, int] = {}
        self._has_numbers = True

    def message(self, info: Mapping[str, Any]) -> None:
        """One message came with ``info``, rclpy's second argument of a callback."""
        number, publisher = info.get("publication_sequence_number"), info.get("publisher_gid")
        self._has_numbers = number is not None and publisher is not None
        if number is None or publisher is None:
            return
        newest = self._newest.get(publisher["data"])
        self._newest[publisher["data"]] = number
        if newest is not None and number > newest + 1:
            self._count(number - newest - 1)

    def event(self, info: Any) -> None:
        """The middleware's own message_lost."""
        if not self._has_numbers:
            self._count(info.total_count_change)
