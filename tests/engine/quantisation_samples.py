"""A calibration set of noise with traces over it."""

from pathlib import Path

import numpy as np

from calibration.quantisation_set import QuantisationSet, read_set, write_set
from calibration.representative import Candidate
from tracevlm_ros.core.engine import TracePrompt


def samples(size_hw: tuple[int, int] = (16, 16), count: int = 6) -> list[Candidate]:
    random = np.random.default_rng(3)
    return [
        Candidate(
            image_rgb=random.integers(0, 256, (*size_hw, 3), dtype=np.uint8),
            prompt=TracePrompt(random.random((3, 2)), random.random(3), np.zeros(3, np.bool_)),
            source="bag",
            stamp_ns=number,
            trace_id=1,
        )
        for number in range(count)
    ]


def written_set(folder: Path, size_hw: tuple[int, int] = (16, 16)) -> QuantisationSet:
    write_set(folder, samples(size_hw), 5, {"method": "all"})
    return read_set(folder)
