"""The environment in which nodes find each other: domain, shared memory, discovery range."""

import contextlib
import fcntl
import os
import random
import socket
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from tracevlm_ros.core.errors import InputError

SHM_PROFILE = "config/fastdds_shm.xml"
MALLOC = {
    "MALLOC_ARENA_MAX": "1",
    "MALLOC_MMAP_THRESHOLD_": "33554432",
    "MALLOC_TRIM_THRESHOLD_": "268435456",
    "MALLOC_TOP_PAD_": "33554432",
}
"""glibc keeps the memory of images instead of asking the kernel for fresh pages for each: labels of
three masks at 1280x720 took 18 ms (p99 48) without the last three and 9 ms (p99 16) with them
(2 cores, alone on the machine)."""
DOMAINS = range(1, 102)
"""Above 101 the ports of a domain run into the ephemeral ones of Linux."""
_SHARED_MEMORY = Path("/dev/shm")


def shared_file(relative: str) -> Path:
    """A file of ``share/tracevlm_ros``: installed, else in the checkout beside this package."""
    prefixes = [part for part in os.environ.get("AMENT_PREFIX_PATH", "").split(os.pathsep) if part]
    places = [Path(prefix) / "share" / "tracevlm_ros" for prefix in (*prefixes, sys.prefix)]
    for place in (*places, Path(__file__).parents[2]):
        if (place / relative).is_file():
            return place / relative
    raise InputError(f"{relative} is not installed under {', '.join(map(str, places))}")


def environment(domain_id: int | None = None) -> dict[str, str]:
    """Variables for node processes; what the user has set wins, except the domain when given.

    The shared-memory profile and ``MALLOC`` let raw 720p images through at 2 ms (without: 35 ms, or
    lost when best effort; measured on 2 cores at 30 Hz).
    """
    variables = dict(os.environ)
    defaults = {
        "AMENT_PREFIX_PATH": sys.prefix,
        "FASTDDS_DEFAULT_PROFILES_FILE": str(shared_file(SHM_PROFILE)),
        "PYTHONUNBUFFERED": "1",
        **MALLOC,
    }
    for name, value in defaults.items():
        variables.setdefault(name, value)
    if domain_id is not None:
        variables["ROS_DOMAIN_ID"] = str(domain_id)
        variables["ROS_AUTOMATIC_DISCOVERY_RANGE"] = "LOCALHOST"
    return variables


@contextlib.contextmanager
def own_domain() -> Iterator[int]:
    """A DDS domain that no other process on this machine uses while the block runs."""
    for domain_id in random.sample(DOMAINS, len(DOMAINS)):
        path = Path(tempfile.gettempdir()) / f"tracevlm_domain_{os.getuid()}_{domain_id}.lock"
        with path.open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                continue
            if not _is_silent(domain_id):
                continue
            yield domain_id
            return
    raise InputError(f"all DDS domains from {DOMAINS[0]} to {DOMAINS[-1]} are in use")


def _is_silent(domain_id: int) -> bool:
    """Nobody has bound the domain's discovery port (DDSI-RTPS 9.6.1.1: 7400 + 250 x domain)."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.bind(("", 7400 + 250 * domain_id))
        except OSError:
            return False
    return True


def segments_of(pid: int) -> set[Path]:
    """Fast DDS segments in shared memory that process ``pid`` has mapped."""
    try:
        lines = Path(f"/proc/{pid}/maps").read_text(encoding="utf-8").splitlines()
    except OSError:
        return set()
    paths = (line.split(maxsplit=5)[5] for line in lines if str(_SHARED_MEMORY) in line)
    return {Path(path) for path in paths if "fastdds" in path and not path.endswith("(deleted)")}


def remove_unused_segments(segments: set[Path]) -> None:
    """Delete those of ``segments`` that no process of this user has mapped any more, with their
    locks."""
    processes = [int(path.name) for path in Path("/proc").iterdir() if path.name.isdigit()]
    used = set().union(*(segments_of(pid) for pid in processes))
    for path in segments - used:
        lock, mutex = f"{path.name}_el", f"sem.{path.name}_mutex"
        for name in (path.name, lock, mutex):
            path.with_name(name).unlink(missing_ok=True)
