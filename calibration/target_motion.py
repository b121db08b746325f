"""How a target that is looked at moves in the picture, for the clock: gaze follows it."""

from collections import Counter
from collections.abc import Iterable

import numpy as np

from calibration.clock_offset import Motion
from calibration.markers import Sighting
from tracevlm_ros.core.errors import InputError


def target_motion(sightings: Iterable[Sighting]) -> Motion:
    """The path of the target that is seen most often; of two sightings at one stamp the last.

    Where it is not seen there is no sample: a gap counts as unknown. Raises InputError without any.
    """
    seen = list(sightings)
    if not seen:
        raise InputError("no target was seen; check --marker, or the topic of the targets")
    ((target_id, _),) = Counter(sighting.target_id for sighting in seen).most_common(1)
    by_stamp = {one.stamp_ns: (one.x_px, one.y_px) for one in seen if one.target_id == target_id}
    stamps = sorted(by_stamp)
    return Motion(
        np.array(stamps, dtype=np.int64),
        np.array([by_stamp[stamp] for stamp in stamps], dtype=np.float64),
    )
