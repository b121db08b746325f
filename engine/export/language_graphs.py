"""The language graphs over any ``LanguageModel``, in both flavours of the contract.

Embeddings come and results leave as fp32; in between the weights' own type computes. The static
flavour holds two operators of opset 24: ``TensorScatter`` writes the cache in place, ``Attention``
reads it under an explicit boolean mask (which TensorRT fuses in fp16 and bf16).
"""

import torch
from torch import Tensor, nn

from engine.contract import PRIMITIVE
from training.model.language import MASKED, LanguageModel, causal_mask
from training.model.layers import join_heads, split_heads, turn


class LanguageGraph(nn.Module):
    """A language model and its head; without ``head`` it is tied to the embeddings."""

    def __init__(self, language: LanguageModel, head: nn.Module | None = None) -> None:
        super().__init__()
        self.language, self.head = language, head

    def enter(self, embeddings: Tensor) -> Tensor:
        """Embeddings in the type of the weights."""
        return embeddings.to(self.language.norm.weight.dtype)

    def logits(self, hidden: Tensor) -> Tensor:
        found: Tensor = self.language.logits(hidden) if self.head is None else self.head(hidden)
        return found.float()


class PrefillGraph(LanguageGraph):
    """The whole prompt; logits and hidden of its last token, and the cache."""

    def forward(
        self, embeddings: Tensor, position_ids: Tensor
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        state = self.language(self.enter(embeddings), position_ids)
        last = state.hidden[:, -1:]
        return self.logits(last), last.float(), state.keys.float(), state.values.float()


class DecodeGraph(LanguageGraph):
    """S more tokens after the cache."""

    def forward(
        self, embeddings: Tensor, position_ids: Tensor, past_keys: Tensor, past_values: Tensor
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        past = (self.enter(past_keys), self.enter(past_values))
        state = self.language(self.enter(embeddings), position_ids, past)
        hidden = state.hidden
        return self.logits(hidden), hidden.float(), state.keys.float(), state.values.float()


class JointDecodeGraph(LanguageGraph):
    """S more tokens of each of B answers; a cache begins after ``skipped`` places of padding."""

    def forward(
        self,
        embeddings: Tensor,
        position_ids: Tensor,
        past_keys: Tensor,
        past_values: Tensor,
        skipped: Tensor,
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        past = (self.enter(past_keys), self.enter(past_values))
        length, cached = embeddings.shape[1], past_keys.shape[3]
        places = torch.arange(cached + length, device=skipped.device)
        padding = (places < skipped[:, None, None, None]).float() * MASKED
        mask = causal_mask(length, cached, skipped.device) + padding
        state = self.language(self.enter(embeddings), position_ids, past, mask)
        hidden = state.hidden
        return self.logits(hidden), hidden.float(), state.keys.float(), state.values.float()


class StaticGraph(LanguageGraph):
    """S new tokens, written into the cache at ``write_index`` and read back under ``mask``.

    Logits are those of the last token.
    Each layer reads a mask of its own, ANDed with a constant: TensorRT-RTX 1.7 cannot compile two
    attentions that share one.
    """

    def __init__(self, language: LanguageModel, head: nn.Module | None = None) -> None:
        super().__init__(language, head)
        self.own = [torch.ones(1, 1, 1, 1, dtype=torch.bool) for _ in language.layers]

    def forward(
        self,
        embeddings: Tensor,
        position_ids: Tensor,
        mask: Tensor,
        write_index: Tensor,
        *caches: Tensor,
    ) -> tuple[Tensor, ...]:
        """``caches``: keys and values (1, kv_heads, C, head_dim) of each layer in turn."""
        cos, sin = self.language.rotary(position_ids)
        x, written = self.enter(embeddings), []
        for index, layer in enumerate(self.language.blocks()):
            attention = layer.self_attn
            seen = layer.input_layernorm(x)
            q = turn(split_heads(attention.q_proj(seen), attention.heads), cos, sin)
            k = turn(split_heads(attention.k_proj(seen), attention.kv_heads), cos, sin)
            v = split_heads(attention.v_proj(seen), attention.kv_heads)
            keys = write_cache(caches[2 * index], k, write_index)
            values = write_cache(caches[2 * index + 1], v, write_index)
            allowed = torch.logical_and(mask[None, None], self.own[index])
            read = torch.onnx.ops.attention(q, keys, values, allowed)[0]
            x = x + attention.o_proj(join_heads(read))
            x = x + layer.mlp(layer.post_attention_layernorm(x))
            written += [keys, values]
        hidden = self.language.norm(x)
        return (self.logits(hidden[:, -1:]), hidden.float(), *written)


def write_cache(cache: Tensor, new: Tensor, write_index: Tensor) -> Tensor:
    """``cache`` (1, H, C, d) with ``new`` (1, H, S, d) from place ``write_index`` (1,) on."""
    if torch.onnx.is_in_onnx_export():
        return torch.onnx.ops.symbolic(
            "TensorScatter",
            (cache, new, write_index),
            {"axis": 2, "mode": "linear"},
            dtype=cache.dtype,
            shape=cache.shape,
            version=24,
        )
    places = write_index + torch.arange(new.shape[2], device=new.device)
    return cache.index_copy(2, places, new)


def language_graph(
    name: str,
    flavour: str,
    language: LanguageModel,
    head: nn.Module | None = None,
    joint: bool = False,
) -> LanguageGraph:
    """The module of ``prefill`` or ``decode``; ``joint`` as for ``contract.graph_specs``."""
    primitive = {"prefill": PrefillGraph, "decode": JointDecodeGraph if joint else DecodeGraph}
    graph = primitive[name] if flavour == PRIMITIVE else StaticGraph
    return graph(language, head)
