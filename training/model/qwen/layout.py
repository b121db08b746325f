"""Which patches attend to each other, for pictures of any size and for video.

Patches come block by block: merged neighbours follow each other, blocks row by row, one temporal
step after the other. Windows at the right and lower edge are smaller. Chunks of one length lie
together, so each length is one batched attention instead of one call per window. All indices are
plain functions of the grids: they become constants of an exported graph.
"""

from functools import lru_cache
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from tracevlm_ros.core.errors import InputError
from training.model.config import QwenVisionConfig


class Grid(NamedTuple):
    """Patches of one picture or clip: temporal ``steps`` (1 for a still), ``rows``, ``columns``."""

    steps: int
    rows: int
    columns: int

    def patches(self) -> int:
        return self.steps * self.rows * self.columns


class Chunks(NamedTuple):
    """``number`` chunks of ``length`` patches each."""

    number: int
    length: int


class Layout(NamedTuple):
    """``order`` (P,) takes patches from block order into chunks, ``inverse`` back again."""

    order: Tensor
    inverse: Tensor
    groups: tuple[Chunks, ...]


def check_grid(grid: Grid, merge: int) -> None:
    """Raise InputError unless every block of ``merge`` x ``merge`` patches is whole."""
    if min(grid) < 1 or grid.rows % merge or grid.columns % merge:
        raise InputError(
            f"grid {tuple(grid)} (steps, rows, columns) cannot be merged {merge} x {merge}; resize "
            "the picture to multiples of the merged patch (fitted_size)"
        )


def patch_places(grid: Grid, merge: int) -> np.ndarray:
    """(P, 2) row and column of each patch, in block order."""
    rows, columns = np.mgrid[0 : grid.rows, 0 : grid.columns]
    blocks = (grid.rows // merge, merge, grid.columns // merge, merge)
    flat = [axis.reshape(blocks).transpose(0, 2, 1, 3).ravel() for axis in (rows, columns)]
    return np.tile(np.stack(flat, axis=1), (grid.steps, 1))


def _layout(chunk_of: np.ndarray) -> Layout:
    """Group patches by chunk and chunks by length; patches keep their order inside a chunk."""
    lengths = np.bincount(chunk_of)
    own = lengths[chunk_of]
    order = np.lexsort((chunk_of, -own))
    inverse = np.empty_like(order)
    inverse[order] = np.arange(len(order))
    groups = tuple(
        Chunks(int((lengths == length).sum()), int(length))
        for length in np.unique(lengths[lengths > 0])[::-1]
    )
    return Layout(torch.from_numpy(order), torch.from_numpy(inverse), groups)


@lru_cache(maxsize=64)
def frame_layout(grids: tuple[Grid, ...]) -> Layout:
    """One chunk per temporal step: a frame sees itself and no other."""
    sizes = np.repeat([g.rows * g.columns for g in grids], [g.steps for g in grids])
    return _layout(np.repeat(np.arange(len(sizes)), sizes))


@lru_cache(maxsize=64)
def window_layout(grids: tuple[Grid, ...], config: QwenVisionConfig) -> Layout:
    """One chunk per window of ``config.window`` pixels and temporal step."""
    side = config.window_tokens * config.merge
    found, first = [], 0
    for grid in grids:
        across = -(-grid.columns // side)
        per_step = -(-grid.rows // side) * across
        row, column = patch_places(grid, config.merge).T // side
        step = np.repeat(np.arange(grid.steps), grid.rows * grid.columns)
        found.append(first + step * per_step + row * across + column)
        first += grid.steps * per_step
    return _layout(np.concatenate(found))


@lru_cache(maxsize=64)
def all_places(grids: tuple[Grid, ...], merge: int) -> Tensor:
    """(P, 2) of all grids, one after the other."""
    return torch.from_numpy(np.concatenate([patch_places(grid, merge) for grid in grids]))


def to_maps(patches: Tensor, grid: Grid, merge: int) -> Tensor:
    """Patches (P, C) in block order -> maps (steps, C, rows, columns)."""
    blocks = (grid.steps, grid.rows // merge, grid.columns // merge, merge, merge, -1)
    x = patches.reshape(blocks).permute(0, 5, 1, 3, 2, 4)
    return x.reshape(grid.steps, -1, grid.rows, grid.columns)
