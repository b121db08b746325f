"""The bag that ships with the package, for the demo, the tests and a first try."""

from pathlib import Path

import tracevlm_ros
from tracevlm_ros.core.errors import InputError


def sample_bag_path() -> Path:
    """Folder of the bundled bag; ``resources/README.md`` tells how it was made.

    Raises InputError when the installation lacks it.
    """
    path = Path(tracevlm_ros.__file__).parent / "resources" / "sample_bag"
    if not (path / "metadata.yaml").is_file():
        raise InputError(
            f"the bundled bag is missing from {path}; reinstall the package, or make one: "
            "tracevlm data synthetic --out FOLDER"
        )
    return path
