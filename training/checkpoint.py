"""Checkpoints that survive a kill at any moment: written beside, flushed, then renamed.

The weights alone can be read without running code from the file (``weights_only``).
"""

import os
from pathlib import Path
from typing import Any, NamedTuple

import torch

from tracevlm_ros.core.errors import InputError

FORMAT = 1


class Checkpoint(NamedTuple):
    """``step`` steps are done; ``seconds`` is the wall time spent so far, over all pieces.

    The stream's state is its seed (in ``config``) and ``step``.
    """

    config: dict[str, Any]
    step: int
    seconds: float
    weights: dict[str, torch.Tensor]
    optimiser: list[dict[str, Any]]
    random_state: torch.Tensor
    history: list[dict[str, Any]]


def save_checkpoint(path: Path, checkpoint: Checkpoint) -> None:
    """Replace ``path`` atomically; raises OSError (a full disk) and leaves the old file whole."""
    draft = path.with_suffix(".draft")
    try:
        with draft.open("wb") as file:
            torch.save({"format": FORMAT, **checkpoint._asdict()}, file)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
    except RuntimeError as error:
        # PyTorch's writer hides what the disk said when it has to end its archive.
        raise OSError(f"{draft} was not written whole ({error})") from error
    finally:
        draft.unlink(missing_ok=True)


def load_checkpoint(path: Path) -> Checkpoint:
    """Raises InputError when ``path`` is absent, damaged or of another format."""
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
        version = content.pop("format")
        if version != FORMAT:
            raise ValueError(f"format {version}, this program reads {FORMAT}")
        return Checkpoint(**content)
    except Exception as error:
        raise InputError(
            f"{path} is no readable checkpoint ({error}); give a file that `tracevlm train` wrote"
        ) from error
