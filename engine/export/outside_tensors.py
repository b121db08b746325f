"""Reads the constants of a graph, inside its file or beside it, a few rows at a time."""

from collections.abc import Iterator
from math import prod
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx.external_data_helper import ExternalDataInfo

from tracevlm_ros.core.errors import EngineMismatch

_BLOCK_BYTES = 2**24


class Outside(NamedTuple):
    """Where a constant lies in the file ``name`` beside its graph."""

    name: str
    offset: int
    length: int

    @property
    def key(self) -> str:
        """The same for every graph that uses this constant."""
        return f"{self.name}:{self.offset}"


def is_outside(tensor: Any) -> bool:
    return bool(tensor.data_location == onnx.TensorProto.EXTERNAL)


def weights_files(path: Path) -> set[str]:
    """Names of the files that the graph at ``path`` keeps constants in; empty for none."""
    graph = onnx.load(path, load_external_data=False).graph
    return {ExternalDataInfo(t).location for t in graph.initializer if is_outside(t)}


def place_of(tensor: Any, directory: Path) -> Outside:
    """Raises EngineMismatch where the file is no plain name in ``directory``, is gone, or ends
    before the constant does."""
    info = ExternalDataInfo(tensor)
    found = Outside(info.location, info.offset or 0, info.length or bytes_of(tensor))
    if Path(found.name).name != found.name:
        raise EngineMismatch(
            f"constant '{tensor.name}' lies in {found.name!r}, it must be a plain name inside "
            f"{directory}; re-export"
        )
    path = directory / found.name
    size = path.stat().st_size if path.is_file() else 0
    if found.length != bytes_of(tensor) or not 0 <= found.offset <= size - found.length:
        raise EngineMismatch(
            f"constant '{tensor.name}' has {bytes_of(tensor)} bytes, {path} gives {found.length} "
            f"at {found.offset} of its {size}; copy the model directory again, or re-export"
        )
    return found


def bytes_of(tensor: Any) -> int:
    """Of a constant whose type is a whole number of bytes wide."""
    return int(prod(tensor.dims) * np.dtype(numpy_type(tensor)).itemsize)


def numpy_type(tensor: Any) -> Any:
    return onnx.helper.tensor_dtype_to_np_dtype(tensor.data_type)


def raw_bytes(tensor: Any, directory: Path) -> NDArray[np.uint8]:
    """The bytes of a constant that lies outside."""
    place = place_of(tensor, directory)
    return np.fromfile(directory / place.name, np.uint8, place.length, offset=place.offset)


def row_blocks(tensor: Any, directory: Path) -> Iterator[NDArray[np.float32]]:
    """The constant as (rows, everything else) in fp32, some 16 MB after another.

    Raises EngineMismatch for values that are not finite.
    """
    rows, width = tensor.dims[0], prod(tensor.dims[1:])
    step = max(1, _BLOCK_BYTES // (4 * width))
    kind = np.dtype(numpy_type(tensor))
    inside = None if is_outside(tensor) else onnx.numpy_helper.to_array(tensor)
    place = None if inside is not None else place_of(tensor, directory)
    for start in range(0, rows, step):
        count = min(step, rows - start)
        if place is None:
            assert inside is not None
            values = inside[start : start + count]
        else:
            offset = place.offset + start * width * kind.itemsize
            values = np.fromfile(directory / place.name, kind, count * width, offset=offset)
        block = values.reshape(count, width).astype(np.float32)
        if not np.isfinite(block).all():
            raise EngineMismatch(
                f"weight '{tensor.name}' holds values that are not finite; export it again"
            )
        yield block
