"""Causal attention of packed rows, in which no sample sees another.

Three ways with one result. Where one mask covers whole rows, most of the scores are made for
nothing; ``attend_within`` makes those of one sample at a time, ``attend_flat`` those of all samples
in one call of FlashAttention, which takes a GPU.
"""

import inspect
import warnings
from functools import cache, partial
from itertools import groupby
from typing import Any, NamedTuple, TypeAlias

import torch
from torch import Tensor
from torch.nn import functional as F


class SampleLengths(NamedTuple):
    """Tokens of the samples that follow each other in each row; each row's sum is its length."""

    rows: tuple[tuple[int, ...], ...]


class FlatSamples(NamedTuple):
    """Samples of all rows, one row after the other: sample i is the tokens from ``bounds[i]`` to
    ``bounds[i + 1]``, (N + 1,) int32; the ``longest`` has so many."""

    bounds: Tensor
    longest: int


Apart: TypeAlias = Tensor | SampleLengths | FlatSamples
"""What keeps samples apart: (B, 1, S, P + S) added to the scores, or, with nothing cached, where
samples begin and end."""


def sample_lengths(segment_ids: Tensor) -> SampleLengths:
    """Runs of equal ids in each row of ``segment_ids`` (B, L); padding is a run of its own. Reads
    the values, so a tensor on a GPU is waited for."""
    return SampleLengths(
        tuple(tuple(len(list(run)) for _, run in groupby(row)) for row in segment_ids.tolist())
    )


def flat_samples(segment_ids: Tensor) -> FlatSamples:
    """See ``sample_lengths``; ``bounds`` are where ``segment_ids`` are."""
    sizes = torch.tensor([size for row in sample_lengths(segment_ids).rows for size in row])
    bounds = F.pad(sizes.cumsum(0), (1, 0)).to(segment_ids.device, torch.int32)
    return FlatSamples(bounds, int(sizes.max()))


def attend_masked(q: Tensor, k: Tensor, v: Tensor, bias: Tensor) -> Tensor:
    """Queries (B, heads, S, d), keys (B, kv_heads, P + S, d), ``bias`` added to the scores.

    On a GPU keys are repeated for every head: PyTorch's kernel that takes a bias knows no grouped
    heads, and what it falls back to makes all scores in fp32.
    """
    if q.is_cuda:
        k, v = for_every_head(k, q), for_every_head(v, q)
    return F.scaled_dot_product_attention(q, k, v, attn_mask=bias, enable_gqa=True)


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


def attend_flat(q: Tensor, k: Tensor, v: Tensor, samples: FlatSamples) -> Tensor:
    """As ``attend_within``, in one call; half precision on a GPU, see ``flat_works``."""
    batch, heads, length, depth = q.shape
    flat = [_flattened(part) for part in (q, for_every_head(k, q), for_every_head(v, q))]
    bounds, longest = samples
    out: Tensor = _flash()(*flat, bounds, bounds, longest, longest)
    return out.reshape(batch, length, heads, depth).transpose(1, 2)


def for_every_head(shared: Tensor, q: Tensor) -> Tensor:
    """Keys or values (B, kv_heads, L, d), each repeated for its group of the heads of ``q``."""
    return shared.repeat_interleave(q.shape[1] // shared.shape[1], dim=1)


@cache
def flat_works(device: torch.device) -> bool:
    """Whether ``attend_flat`` gives the values and gradients of ``attend_within`` there.

    Tried, not asked for: it depends on the GPU and on how PyTorch was built.
    """
    if device.type != "cuda":
        return False
    segments = torch.tensor([[1] * 40 + [2] * 17 + [0] * 7, [1] * 64], device=device)
    try:
        found = _tried(attend_flat, flat_samples(segments), device)
    except (ImportError, RuntimeError, TypeError) as error:  # none, not here, another signature
        warnings.warn(f"packed rows go without FlashAttention, slower: {error}", stacklevel=2)
        return False
    expected = _tried(attend_within, sample_lengths(segments), device)
    alike = all(torch.allclose(a, b, 0.05, 0.05) for a, b in zip(found, expected, strict=True))
    if not alike:
        warnings.warn("packed rows go without FlashAttention: its values differ", stacklevel=2)
    return alike


@torch.enable_grad()
def _tried(attend: Any, samples: Any, device: torch.device) -> list[Tensor]:
    """Values of random heads, and the gradients of queries, keys and values."""
    made = torch.Generator(device).manual_seed(0)
    parts = [
        torch.randn(2, heads, 64, 64, generator=made, device=device, dtype=torch.bfloat16)
        .requires_grad_()
        for heads in (4, 2, 2)
    ]  # fmt: skip
    out = attend(*parts, samples)
    out.float().square().sum().backward()
    return [out.detach(), *(part.grad for part in parts if part.grad is not None)]


def _flattened(x: Tensor) -> Tensor:
    """(B, heads, L, d) -> (B * L, heads, d)."""
    return x.transpose(1, 2).flatten(0, 1)


@cache
def _flash() -> Any:
    """PyTorch's FlashAttention of samples of any length, told to look back only: releases differ
    in how. ImportError before PyTorch 2.10."""
    from torch.nn.attention.varlen import varlen_attn

    windows = "window_size" in inspect.signature(varlen_attn).parameters
    back: dict[str, Any] = {"window_size": (-1, 0)} if windows else {"is_causal": True}
    return partial(varlen_attn, **back)
