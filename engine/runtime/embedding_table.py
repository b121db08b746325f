"""The table of token embeddings, mapped from disk: rows are read as they are looked up."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.runtime.manifest import Manifest
from tracevlm_ros.core.errors import EngineMismatch

STORED = {"float32": np.float32, "float16": np.float16, "bfloat16": np.uint16}
"""Type named in the manifest -> type in the file; NumPy knows no bfloat16, so its bits are kept."""


class EmbeddingTable:
    """(vocab, D) of one model directory. Raises EngineMismatch when the file is no such table."""

    def __init__(self, manifest: Manifest) -> None:
        path, kind = manifest.embeddings_path, manifest.embeddings_dtype
        expected = (manifest.sizes["vocab"], manifest.sizes["D"])
        table = _map(path)
        if table.dtype != STORED[kind] or table.shape != expected:
            raise EngineMismatch(
                f"{path} is {table.dtype} {table.shape}, the manifest asks {kind} {expected}; "
                "re-export"
            )
        self._table, self._widen = table, kind == "bfloat16"

    def rows(self, ids: NDArray[np.int64]) -> NDArray[np.float32]:
        """``ids`` (...) -> (..., D) float32, a copy."""
        found = np.asarray(self._table[ids])
        if self._widen:
            return (found.astype(np.uint32) << 16).view(np.float32)
        return found.astype(np.float32)


def read_vector(path: Path, width: int) -> NDArray[np.float32]:
    """A float32 vector (width,) of a model directory; EngineMismatch when it is none."""
    found = _map(path)
    if found.dtype != np.float32 or found.shape != (width,):
        raise EngineMismatch(
            f"{path} is {found.dtype} {found.shape}, the model asks float32 ({width},); re-export"
        )
    return np.asarray(found)


def _map(path: Path) -> Any:
    try:
        return np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError) as error:
        raise EngineMismatch(f"{path} is no numpy array ({error}); re-export") from error
