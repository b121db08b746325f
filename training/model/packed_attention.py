"""Causal attention of packed rows, one sample at a time: scores between samples are never made."""

from itertools import groupby
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F


class SampleLengths(NamedTuple):
    """Tokens of the samples that follow each other in each row; each row's sum is its length."""

    rows: tuple[tuple[int, ...], ...]


def sample_lengths(segment_ids: Tensor) -> SampleLengths:
    """Runs of equal ids in each row of ``segment_ids`` (B, L); padding is a run of its own. Reads
    the values, so a tensor on a GPU is waited for."""
    return SampleLengths(
        tuple(tuple(len(list(run)) for _, run in groupby(row)) for row in segment_ids.tolist())
    )


def attend_within(q: Tensor, k: Tensor, v: Tensor, lengths: SampleLengths) -> Tensor:
    """Queries (B, heads, L, d) see keys (B, kv_heads, L, d) of their own sample, back in time."""
    rows = []
    for row, sizes in zip(zip(q, k, v, strict=True), lengths.rows, strict=True):
        samples = zip(*(part.split(sizes, dim=1) for part in row), strict=True)
        seen = [
            F.scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=True)
            for q, k, v in samples
        ]
        rows.append(torch.cat(seen, dim=1))
    return torch.stack(rows)
