"""What is handed from one thread of the node to another, and when it came."""

from collections.abc import Callable
from typing import Any, NamedTuple

from tracevlm_ros.core.engine import Location
from tracevlm_ros.core.types import Frame


class Arrival(NamedTuple):
    """When something reached the node: by the node's clock in ns, and ``time.monotonic`` in s."""

    received_ns: int
    received_s: float


class Question(NamedTuple):
    """Something asked about the newest trace; ``reply`` takes the reason when it cannot be."""

    text: str
    arrival: Arrival
    answered: Callable[[Any], None] | None = None
    refused: Callable[[str], None] | None = None


class Search(NamedTuple):
    """Something to be found in the newest frame; ``refused`` takes the reason when it cannot be."""

    text: str
    found: Callable[[Frame, Location], None]
    refused: Callable[[str], None]
