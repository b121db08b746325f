"""The few layers that several network parts share: RMS norm, SwiGLU, rotary turning."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

EPSILON = 1e-6


class RMSNorm(nn.Module):
    """Root-mean-square norm over the last axis, as in Qwen2.5 (eps 1e-6), computed in fp32.

    Written as a division, since that is the pattern which ONNX Runtime fuses into one kernel. On a
    GPU PyTorch's own kernel reads and writes once what this reads and writes seven times.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))

    def forward(self, x: Tensor) -> Tensor:
        if x.is_cuda and x.dtype == self.weight.dtype:
            with torch.autocast(x.device.type, enabled=False):  # It would answer in fp32.
                return F.rms_norm(x, self.weight.shape, self.weight, EPSILON)
        x32 = x.float()
        size = torch.sqrt(x32.square().mean(-1, keepdim=True) + EPSILON)
        return (x32 / size).to(x.dtype) * self.weight


class SwiGLU(nn.Module):
    """``down(silu(gate(x)) * up(x))`` with Hugging Face's parameter names."""

    def __init__(self, width: int, hidden: int, bias: bool) -> None:
        super().__init__()
        self.gate_proj = nn.Linear(width, hidden, bias=bias)
        self.up_proj = nn.Linear(width, hidden, bias=bias)
        self.down_proj = nn.Linear(hidden, width, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.down_proj(F.silu(self.gate_proj(x)) * self.up_proj(x))
        return out


def turn(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Rotary position: ``x`` (..., head_dim) turned by half-split pairs, as Hugging Face does.

    Computed in fp32 where the tables are fp32; the result has the type of ``x``.
    """
    first, second = x.chunk(2, dim=-1)
    return (x * cos + torch.cat([-second, first], dim=-1) * sin).to(x.dtype)


def split_heads(x: Tensor, heads: int) -> Tensor:
    """(B, L, heads * d) -> (B, heads, L, d)."""
    return x.reshape(*x.shape[:2], heads, x.shape[2] // heads).transpose(1, 2)


def join_heads(x: Tensor) -> Tensor:
    """(B, heads, L, d) -> (B, L, heads * d)."""
    return x.transpose(1, 2).flatten(2)
