"""Points in blocks of one size, each with the box round it; everything relative to point 0.

So rounding errs by a share of how far the points are apart, not of how far they are from zero.
"""

import numpy as np

from tracevlm_ros.core.simplify.distance import BOUND_MARGIN, BOUND_MARGIN_PX2
from tracevlm_ros.core.types import FloatArray

BLOCK = 64


class PointBlocks:
    """The points of a buffer ``points`` (P, 2) that fills up from its start.

    ``rows`` (3, blocks * BLOCK) holds x, y and 1, ``of_block`` (blocks, 3, BLOCK) is a view of it;
    ``centres`` (3, blocks) likewise; ``halves`` (2, blocks) the half sides; ``x`` and ``y`` the
    coordinates as they were given, as lists. ``margin_px2`` covers what rounding can do to a
    squared distance between such points.
    """

    def __init__(self, points: FloatArray) -> None:
        self._points = points
        blocks = -(-len(points) // BLOCK)
        self.rows = np.ones((3, blocks * BLOCK))
        self.of_block = self.rows.reshape(3, blocks, BLOCK).swapaxes(0, 1)
        self.centres = np.ones((3, blocks))
        self.halves = np.zeros((2, blocks))
        self.x: list[float] = []
        self.y: list[float] = []
        self._sides = (np.inf, np.inf, -np.inf, -np.inf)
        self.margin_px2 = 0.0

    def extend_to(self, count: int) -> None:
        """Take in the first ``count`` points."""
        indexed = len(self.x)
        if count <= indexed:
            return
        x, y = self._points[indexed:count].T
        self.x += x.tolist()
        self.y += y.tolist()
        np.subtract(x, self.x[0], out=self.rows[0, indexed:count])
        np.subtract(y, self.y[0], out=self.rows[1, indexed:count])
        for block in range(indexed // BLOCK, (count - 1) // BLOCK + 1):
            self._cover(block)
        x0, y0, x1, y1 = self._sides
        self.margin_px2 = BOUND_MARGIN * ((x1 - x0) ** 2 + (y1 - y0) ** 2) + BOUND_MARGIN_PX2

    def _cover(self, block: int) -> None:
        """By hand: most often it is one block, and numpy's fixed price is higher."""
        here = slice(block * BLOCK, block * BLOCK + BLOCK)
        x, y, x_zero, y_zero = self.x[here], self.y[here], self.x[0], self.y[0]
        x0, y0, x1, y1 = min(x) - x_zero, min(y) - y_zero, max(x) - x_zero, max(y) - y_zero
        least_x, least_y, most_x, most_y = self._sides
        self._sides = (min(x0, least_x), min(y0, least_y), max(x1, most_x), max(y1, most_y))
        self.centres[:2, block] = (x0 + x1) / 2, (y0 + y1) / 2
        self.halves[:, block] = (x1 - x0) / 2, (y1 - y0) / 2
