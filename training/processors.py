"""How many threads a step should use on a machine that others use too."""

import os
from pathlib import Path

_LOAD = Path("/proc/loadavg")


def idle_processors() -> int:
    """Processors that no other task runs on at this moment (Linux), at least 1.

    Threads that wait for a sibling which has to share its processor cost more than they bring:
    32 traces took 1.7 s on two idle cores, 3.3 s on one, and 5 to 14 s on two shared ones.
    """
    count = os.cpu_count() or 1
    try:
        running = int(_LOAD.read_text(encoding="ascii").split()[3].split("/")[0])
    except (OSError, ValueError, IndexError):
        return count
    return max(1, count - (running - 1))
