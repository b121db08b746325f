"""Checkpoints that survive a kill at any moment: written beside, flushed, then renamed.

The weights alone can be read without running code from the file (``weights_only``). ``pack`` keeps
what is needed to score, export or train on, at a seventh of the size.
"""

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file

from tracevlm_ros.core.errors import InputError

FORMAT = 1
_FOLDERS = ("photos", "captions")
PACKED = ".safetensors"


class Checkpoint(NamedTuple):
    """``step`` steps are done; ``seconds`` is the wall time spent so far, over all pieces.

    The stream's state is its seed (in ``config``) and ``step``. ``earlier``: the runs whose weights
    it began from, oldest first, as ``summary`` tells them.
    """

    config: dict[str, Any]
    step: int
    seconds: float
    weights: dict[str, torch.Tensor]
    optimiser: list[dict[str, Any]]
    random_state: torch.Tensor
    history: list[dict[str, Any]]
    earlier: Sequence[dict[str, Any]] = ()

    def summary(self) -> dict[str, Any]:
        """What a later run keeps of this one: stage, seed, steps, seconds, data."""
        data = {k: v for k, v in self.config["data"].items() if k not in _FOLDERS}
        names = {k: Path(self.config["data"].get(k) or "").name for k in _FOLDERS}
        return {
            "stage": self.config["stage"],
            "seed": self.config["seed"],
            "steps": self.step,
            "seconds": round(self.seconds, 1),
            "data": {**data, **names},
        }

    @property
    def maps_words(self) -> bool:
        """Whether its run taught the map of what a text describes."""
        return str(self.config["stage"]) == "words"

    @property
    def locates(self) -> bool:
        """Whether its run learned to find what a text describes, by a map or by a trace."""
        return self.maps_words or float(self.config["data"].get("told_share", 0.0)) > 0.0


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
    """Raises InputError when ``path`` is absent, damaged or of another format.

    A packed one (``pack``) has no optimiser, so no run can be resumed from it.
    """
    if path.suffix == PACKED:
        return _unpack(path)
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


def pack(checkpoint: Checkpoint, path: Path) -> None:
    """Weights, matrices in fp16, with the settings of their run, as ``path`` (.safetensors).

    Of the folders of data only the names are kept.
    """
    weights = {
        name: (value.half() if _is_matrix(value) else value).contiguous()
        for name, value in checkpoint.weights.items()
    }
    data = checkpoint.config["data"]
    names = {key: Path(data[key]).name for key in _FOLDERS if data.get(key)}
    config = {**checkpoint.config, "data": {**data, **names}}
    about = {
        "config": config,
        "step": checkpoint.step,
        "seconds": checkpoint.seconds,
        "earlier": list(checkpoint.earlier),
    }
    save_file(weights, path, {name: json.dumps(value) for name, value in about.items()})


def _is_matrix(value: torch.Tensor) -> bool:
    return value.dim() > 1 and value.is_floating_point()


def _unpack(path: Path) -> Checkpoint:
    try:
        with safe_open(path, "pt") as file:
            about = {name: json.loads(text) for name, text in file.metadata().items()}
        widened = {
            name: value.float() if value.is_floating_point() else value
            for name, value in load_file(path).items()
        }
        return Checkpoint(
            **about, weights=widened, optimiser=[], random_state=torch.get_rng_state(), history=[]
        )
    except (OSError, SafetensorError, ValueError, TypeError, AttributeError) as error:
        raise InputError(
            f"{path} is no packed checkpoint ({error}); give a file of `tracevlm train --pack`"
        ) from error
