"""An array that grows at its end in constant time on average."""

from typing import Generic, TypeVar

import numpy as np
from numpy.typing import DTypeLike, NDArray

FIRST_CAPACITY = 64
ScalarT = TypeVar("ScalarT", bound=np.generic)


class GrowingArray(Generic[ScalarT]):
    """Rows of one shape. ``view`` is read-only and stays as it was when the array grows."""

    def __init__(self, dtype: DTypeLike, row_shape: tuple[int, ...] = ()) -> None:
        self._rows: NDArray[ScalarT] = np.empty((FIRST_CAPACITY, *row_shape), dtype)
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def append(self, row: complex | tuple[float, ...]) -> None:
        """Add one row; rows never change afterwards."""
        if self._count == len(self._rows):
            self._rows = np.concatenate([self._rows, np.empty_like(self._rows)])
        self._rows[self._count] = row
        self._count += 1

    @property
    def view(self) -> NDArray[ScalarT]:
        """All rows so far, without a copy."""
        view = self._rows[: self._count]
        view.flags.writeable = False
        return view
