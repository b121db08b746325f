"""The one seam between the engine and whoever runs its graphs.

Callers cannot tell one back end from another. Buffer ownership:

- Inputs belong to the caller; a back end reads them during the call only and keeps none.
- Arrays that come back belong to the caller and are never written to again.
- A ``Resident`` stays where the back end computes. It is immutable, may be the input of any later
  call of the same back end, and is freed with its last reference or by ``close``.
- ``run`` may be called from two threads at once. Nothing may be called after ``close``.
"""

from collections.abc import Collection, Mapping
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


class Resident(Protocol):
    """A tensor in the memory of the back end."""

    def shape(self) -> list[int]: ...

    def numpy(self) -> Array:
        """A copy in host memory."""


Tensor = Array | Resident


class Backend(Protocol):
    """Runs the graphs of one model directory."""

    @property
    def name(self) -> str:
        """Library and device, such as ``onnxruntime-cpu``."""

    def run(
        self, graph: str, inputs: Mapping[str, Tensor], resident: Collection[str] = ()
    ) -> dict[str, Any]:
        """Outputs by name; those named in ``resident`` as Resident, the others as arrays.

        Raises BackendError when the library fails, naming the graph.
        """

    def close(self) -> None:
        """Free the graphs."""


def host(tensor: Tensor) -> Array:
    """``tensor`` in host memory; arrays are returned as they are."""
    return tensor if isinstance(tensor, np.ndarray) else tensor.numpy()
