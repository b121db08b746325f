"""The Qwen2.5 language model with the three-axis rotary positions of Qwen2.5-VL.

Parameter names follow Hugging Face (``layers.N.self_attn.q_proj``, ...). Grouped heads are folded
into the query axis, so keys and values are never repeated. Causality is relative to the cache:
query s sees the P cached tokens and the new tokens up to itself.
"""

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from training.model.config import LanguageConfig
from training.model.layers import RMSNorm, SwiGLU, turn
from training.model.packed_attention import (
    Apart,
    FlatSamples,
    SampleLengths,
    attend_flat,
    attend_masked,
    attend_within,
)

MASKED = -1e4


class LanguageState(NamedTuple):
    """``hidden`` (B, S, D), normed; ``keys`` and ``values`` (layers, B, kv_heads, P + S, d)."""

    hidden: Tensor
    keys: Tensor
    values: Tensor


class Attention(nn.Module):
    def __init__(self, config: LanguageConfig) -> None:
        super().__init__()
        self.heads, self.kv_heads = config.heads, config.kv_heads
        self.head_dim, self.fused = config.head_dim, config.fused_attention
        self.q_proj = nn.Linear(config.width, config.width)
        self.k_proj = nn.Linear(config.width, config.kv_heads * config.head_dim)
        self.v_proj = nn.Linear(config.width, config.kv_heads * config.head_dim)
        self.o_proj = nn.Linear(config.width, config.width, bias=False)

    def forward(
        self,
        x: Tensor,
        cos: Tensor,
        sin: Tensor,
        mask: Apart | None,
        past: tuple[Tensor, Tensor] | None,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """``mask`` (S, P + S) is added to the scores; None means causal, with nothing cached."""
        q = turn(self._split(self.q_proj(x), self.heads), cos, sin)
        k = turn(self._split(self.k_proj(x), self.kv_heads), cos, sin)
        v = self._split(self.v_proj(x), self.kv_heads)
        if past is not None:
            k, v = torch.cat([past[0], k], dim=2), torch.cat([past[1], v], dim=2)
        if isinstance(mask, SampleLengths):
            out = attend_within(q, k, v, mask)
        elif isinstance(mask, FlatSamples):
            out = attend_flat(q, k, v, mask)
        elif mask is None:
            out = F.scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=True)
        elif self.fused:
            out = attend_masked(q, k, v, mask.to(q.dtype))
        else:
            out = self._attend(q, k, v, mask)
        return self.o_proj(out.transpose(1, 2).flatten(2)), k, v

    def _attend(self, q: Tensor, k: Tensor, v: Tensor, mask: Tensor) -> Tensor:
        """Of primitive operations, which every exported graph may hold; softmax in fp32."""
        batch, _, length, _ = q.shape
        rows = (batch, self.kv_heads, self.heads // self.kv_heads * length)
        scores = q.reshape(*rows, self.head_dim) @ k.transpose(-1, -2) * self.head_dim**-0.5
        scores = scores.reshape(batch, self.heads, length, k.shape[2]) + mask
        weights = scores.softmax(-1).to(v.dtype).reshape(*rows, k.shape[2])
        out: Tensor = (weights @ v).reshape(batch, self.heads, length, self.head_dim)
        return out

    def _split(self, x: Tensor, heads: int) -> Tensor:
        return x.reshape(*x.shape[:2], heads, self.head_dim).transpose(1, 2)


class Layer(nn.Module):
    def __init__(self, config: LanguageConfig) -> None:
        super().__init__()
        self.input_layernorm = RMSNorm(config.width)
        self.post_attention_layernorm = RMSNorm(config.width)
        self.self_attn = Attention(config)
        self.mlp = SwiGLU(config.width, config.mlp_width, bias=False)

    def forward(
        self,
        x: Tensor,
        cos: Tensor,
        sin: Tensor,
        mask: Apart | None,
        past: tuple[Tensor, Tensor] | None,
    ) -> tuple[Tensor, Tensor, Tensor]:
        attended, keys, values = self.self_attn(self.input_layernorm(x), cos, sin, mask, past)
        x = x + attended
        return x + self.mlp(self.post_attention_layernorm(x)), keys, values


class LanguageModel(nn.Module):
    """Embeddings (B, S, D) and rope ids (3, B, S) -> ``LanguageState``.

    Input and output embeddings are tied, as in the small Qwen2.5 models.
    """

    frequencies: Tensor

    def __init__(self, config: LanguageConfig) -> None:
        super().__init__()
        self.config = config
        self.embed_tokens = nn.Embedding(config.vocab, config.width)
        nn.init.normal_(self.embed_tokens.weight, std=0.5 * config.width**-0.5)
        self.layers = nn.ModuleList(Layer(config) for _ in range(config.depth))
        self.norm = RMSNorm(config.width)
        self.register_buffer("frequencies", rope_frequencies(config), persistent=False)

    def forward(
        self,
        embeddings: Tensor,
        position_ids: Tensor,
        past: tuple[Tensor, Tensor] | None = None,
        mask: Apart | None = None,
    ) -> LanguageState:
        """For packed rows, ``mask`` stands in for the causal one; see ``Apart``."""
        cos, sin = self.rotary(position_ids)
        cached = 0 if past is None else past[0].shape[3]
        if mask is None and (past is not None or not self.config.fused_attention):
            mask = causal_mask(embeddings.shape[1], cached, embeddings.device)
        x, keys, values = embeddings, [], []
        for index, layer in enumerate(self.layers):
            kept = None if past is None else (past[0][index], past[1][index])
            x, k, v = layer(x, cos, sin, mask, kept)
            keys.append(k)
            values.append(v)
        return LanguageState(self.norm(x), torch.stack(keys), torch.stack(values))

    def blocks(self) -> Iterator[Layer]:
        """The layers in order."""
        for layer in self.layers:
            assert isinstance(layer, Layer)
            yield layer

    def logits(self, hidden: Tensor) -> Tensor:
        return hidden @ self.embed_tokens.weight.T

    def rotary(self, position_ids: Tensor) -> tuple[Tensor, Tensor]:
        """cos, sin (B, 1, S, head_dim); frequencies are dealt to time, row and column in turn."""
        frequencies = self.frequencies
        if frequencies.dtype != torch.float32:
            # Casting the whole model to bf16 has rounded the buffer; far positions would drift.
            frequencies = rope_frequencies(self.config).to(position_ids.device)
        angles = position_ids[..., None].float() * frequencies
        parts = torch.split(angles, list(self.config.rope_sections), dim=-1)
        mixed = torch.cat([part[axis] for axis, part in enumerate(parts)], dim=-1)
        mixed = torch.cat([mixed, mixed], dim=-1)[:, None]
        return mixed.cos(), mixed.sin()


def rope_frequencies(config: LanguageConfig) -> Tensor:
    """Radians per position, (head_dim / 2,), fp32."""
    steps = torch.arange(0, config.head_dim, 2).float() / config.head_dim
    return config.rope_theta**-steps


def causal_mask(length: int, cached: int, device: torch.device) -> Tensor:
    """(length, cached + length): 0 where a query may look, -1e4 where it may not."""
    query = torch.arange(length, device=device)[:, None] + cached
    key = torch.arange(length + cached, device=device)[None, :]
    return (key > query).float() * MASKED
