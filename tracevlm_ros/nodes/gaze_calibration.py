"""The parameter ``gaze_calibration``: the path of a calibration file, or empty for none."""

from pathlib import Path

from tracevlm_ros.core.errors import ConfigError, InputError
from tracevlm_ros.core.gaze_mapping import GazeMapping, read_mapping


def load_gaze_calibration(path: str) -> GazeMapping | None:
    """Raises ConfigError with the reason when the file is no calibration."""
    if not path:
        return None
    try:
        return read_mapping(Path(path).expanduser())
    except InputError as error:
        raise ConfigError(str(error)) from error
