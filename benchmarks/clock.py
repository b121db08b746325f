"""Error of the clock mapping on simulated messages with jitter, stalls and impossible stamps.

    python benchmarks/clock.py [--minutes 6]

Simulated: 60 messages per second, latency 2 ms + exponential 3 ms, 1% stalled by up to 200 ms, 0.2%
up to 3 s too early. The error is mapped minus true local time less the 2 ms floor, which one-way
messages cannot show.
"""

import argparse
import sys

import numpy as np

from tracevlm_ros.core.clock import ClockMapper
from tracevlm_ros.core.types import FloatArray

S = 1_000_000_000
OFFSET_NS = 1_700_000_000 * S
FLOOR_MS = 2.0
RATE_HZ = 60
KNOWN_AFTER_S = 30


def errors_ms(drift_ppm: float, minutes: float, seed: int) -> tuple[FloatArray, ClockMapper]:
    """Error at every message from the tenth second on, and the mapper at the end."""
    rng = np.random.default_rng(seed)
    mapper = ClockMapper()
    errors = []
    for step in range(int(minutes * 60 * RATE_HZ)):
        foreign_ns = 5 * S + step * S // RATE_HZ
        local_ns = foreign_ns + OFFSET_NS + round(drift_ppm * 1e-6 * (foreign_ns - 5 * S))
        latency_ms = FLOOR_MS + rng.exponential(3.0)
        latency_ms += rng.uniform(0, 200) * (rng.random() < 0.01)
        latency_ms -= rng.uniform(0, 3000) * (rng.random() < 0.002)
        mapper.add_pair(foreign_ns, local_ns + round(latency_ms * 1e6))
        if step >= 10 * RATE_HZ:
            errors.append((mapper.to_local(foreign_ns) - local_ns) / 1e6 - FLOOR_MS)
    return np.array(errors), mapper


def main() -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=6.0)
    minutes = parser.parse_args().minutes
    print("drift ppm   found   largest error ms: 10-30 s   afterwards")
    for drift_ppm in (0.0, 40.0, -80.0, 300.0):
        errors, mapper = errors_ms(drift_ppm, minutes, seed=0)
        known = (KNOWN_AFTER_S - 10) * RATE_HZ
        early, late = np.abs(errors[:known]).max(), np.abs(errors[known:]).max()
        found = mapper.report().drift_ppm
        print(f"{drift_ppm:9.1f} {found:7.2f} {early:19.2f} {late:18.2f}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
