"""The one seam between the engine and whoever runs its graphs.

Callers cannot tell one back end from another. Buffer ownership:

- Inputs belong to the caller; a back end reads them during the call only and keeps none.
- Arrays that come back belong to the caller and are never written to again.
- A ``Resident`` stays where the back end computes. It may be the input of any later call of the
  same back end, and is freed with its last reference or by ``close``. It is immutable, but for
  those that ``zeros`` made: a call may write over them (``in_place``).
- ``run`` may be called from two threads at once. Nothing may be called after ``close``.
"""

from collections.abc import Collection, Mapping
from types import MappingProxyType
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from engine.contract import TRACK, WORDS, TensorSpec

Array = NDArray[Any]


class Resident(Protocol):
    """A tensor in the memory of the back end."""

    def shape(self) -> list[int]: ...

    def numpy(self) -> Array:
        """A copy in host memory."""


Tensor = Array | Resident
LAZY = (TRACK, WORDS)
"""Graphs that are opened when they are first run: on the CPU, OpenCV tracks, and few search."""
NOTHING: Mapping[str, str] = MappingProxyType({})


class Backend(Protocol):
    """Runs the graphs of one model directory."""

    @property
    def name(self) -> str:
        """Library and device, such as ``onnxruntime-cpu``."""

    def run(
        self,
        graph: str,
        inputs: Mapping[str, Tensor],
        resident: Collection[str] = (),
        in_place: Mapping[str, str] = NOTHING,
    ) -> dict[str, Any]:
        """Outputs by name; those named in ``resident`` as Resident, the others as arrays.

        ``in_place``: output -> the input whose Resident (of ``zeros``) it is written over, in
        ``decode`` alone; such outputs are not returned.

        Raises BackendError when the library fails, naming the graph.
        """

    def zeros(self, specs: Mapping[str, TensorSpec]) -> dict[str, Resident]:
        """Tensors of zeros of fixed shapes, by name, that calls may write over."""

    def close(self) -> None:
        """Free the graphs."""


def host(tensor: Tensor) -> Array:
    """``tensor`` in host memory; arrays are returned as they are."""
    return tensor if isinstance(tensor, np.ndarray) else tensor.numpy()
