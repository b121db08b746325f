"""Any recording of gaze or of a pointer, known by its content."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from tracevlm_ros.core.errors import InputError
from tracevlm_ros.core.types import GazeSample
from tracevlm_ros.ingest import (
    gaze_table,
    localized_narratives,
    neon_recording,
    pupil_core_export,
    tobii,
)

Reader = Callable[[Path, tuple[int, int]], Iterator[GazeSample]]


class _Form(NamedTuple):
    name: str
    looks_like: Callable[[Path], bool]
    read_gaze: Reader


FORMS = (
    _Form("Neon recording (folder)", neon_recording.is_neon_recording, neon_recording.read_gaze),
    _Form(
        "Pupil Core export (gaze_positions.csv)",
        pupil_core_export.is_pupil_core_export,
        pupil_core_export.read_gaze,
    ),
    _Form("Tobii Glasses 2 live data (.json, .gz)", tobii.is_tobii_live_data, tobii.read_gaze),
    _Form(
        "(Video) Localized Narratives (.jsonl)",
        localized_narratives.is_narratives,
        localized_narratives.read_gaze,
    ),
    _Form("gaze table (.csv, .tsv)", gaze_table.is_gaze_table, gaze_table.read_gaze),
)


class GazeRecording(NamedTuple):
    """A recording of a known form. Stamps are nanoseconds of the clock of its device."""

    path: Path
    form: str
    reader: Reader

    def samples(self, size_hw: tuple[int, int]) -> Iterator[GazeSample]:
        """Readings as recorded (perhaps late or doubled), in pixels of a scene of ``size_hw``."""
        return self.reader(self.path, size_hw)


def open_gaze(path: str | Path) -> GazeRecording:
    """Recognise ``path``, a file or folder. Raises InputError listing the forms that are known."""
    place = Path(path)
    if not place.exists():
        raise InputError(f"gaze recording {place} does not exist; check the path")
    for form in FORMS:
        if form.looks_like(place):
            return GazeRecording(place, form.name, form.read_gaze)
    known = "; ".join(form.name for form in FORMS)
    raise InputError(f"{place} is no gaze recording of a known form; these can be read: {known}")
