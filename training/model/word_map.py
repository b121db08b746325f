"""Where words point: a map over the picture of what a text describes.

Grounding by language tokens alone did not emerge from little data (ADR 25). Here each text becomes
one vector, which scales and shifts the channels of a small convolutional network over the encoder's
features (FiLM: Perez et al., AAAI 2018).
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from training.model.config import WordMapConfig
from training.model.convolutions import ConvNorm
from training.model.language import MASKED
from training.model.layers import RMSNorm, SwiGLU, join_heads, split_heads


class TextReader(nn.Module):
    """Token ids (T, W), ``valid`` (T, W) 1 or 0 -> (T, width)."""

    def __init__(self, config: WordMapConfig, vocab: int) -> None:
        super().__init__()
        width = config.width
        self.heads = config.heads
        self.words = nn.Embedding(vocab, width)
        self.places = nn.Parameter(torch.zeros(config.most_words, width))
        nn.init.normal_(self.words.weight, std=0.5)
        self.norm = RMSNorm(width)
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)
        self.mlp_norm = RMSNorm(width)
        self.mlp = SwiGLU(width, 2 * width, bias=False)

    def forward(self, ids: Tensor, valid: Tensor) -> Tensor:
        x = self.words(ids) + self.places[: ids.shape[1]]
        q, k, v = (split_heads(part, self.heads) for part in self.qkv(self.norm(x)).chunk(3, -1))
        unread = (1.0 - valid)[:, None, None] * MASKED
        weights = (q @ k.transpose(-1, -2) * q.shape[-1] ** -0.5 + unread).softmax(-1)
        x = x + self.out(join_heads(weights @ v))
        x = x + self.mlp(self.mlp_norm(x))
        return _mean(x, valid)


def _mean(x: Tensor, valid: Tensor) -> Tensor:
    """Of the valid rows of (T, W, width)."""
    return (x * valid[..., None]).sum(1) / valid.sum(1, keepdim=True).clamp(min=1.0)


class AskedConv(nn.Module):
    """A residual block of two 3x3 convolutions whose channels the text scales and shifts."""

    def __init__(self, channels: int, text: int) -> None:
        super().__init__()
        self.first = ConvNorm(channels, channels)
        self.second = ConvNorm(channels, channels)
        self.film = nn.Linear(text, 2 * channels)

    def forward(self, x: Tensor, text: Tensor) -> Tensor:
        scale, shift = self.film(text)[..., None, None].chunk(2, 1)
        asked = F.relu(self.first(x) * (1.0 + scale) + shift)
        return F.relu(x + self.second(asked))


class WordMap(nn.Module):
    """Encoder features and a text -> logits (T, 2g, 2g) of lying on what the text describes.

    ``deep`` (T, C, g, g) and ``shallow`` (T, C_shallow, 2g, 2g) as in ``VisionFeatures``, one
    picture a text, or one for all (T = 1); ``ids`` and ``valid`` as in ``TextReader``.
    """

    def __init__(self, config: WordMapConfig, vocab: int, deep: int, shallow: int) -> None:
        super().__init__()
        width, fine = config.width, config.width // 2
        self.reader = TextReader(config, vocab)
        self.deep = nn.Conv2d(deep, width, 1)
        self.shallow = nn.Conv2d(shallow, fine, 1)
        self.coarse_blocks = nn.ModuleList(AskedConv(width, width) for _ in range(config.blocks))
        self.narrow = nn.Conv2d(width, fine, 1)
        self.fine_block = AskedConv(fine, width)
        self.answer = nn.Conv2d(fine, 1, 1)
        assert self.answer.bias is not None
        nn.init.constant_(self.answer.bias, -2.0)

    def forward(self, deep: Tensor, shallow: Tensor, ids: Tensor, valid: Tensor) -> Tensor:
        text = self.reader(ids, valid)
        x = F.relu(self.deep(deep))
        for block in self.coarse_blocks:
            x = block(x, text)
        x = F.interpolate(self.narrow(x), scale_factor=2.0, mode="nearest")
        x = self.fine_block(F.relu(x + self.shallow(shallow)), text)
        logits: Tensor = self.answer(x)[:, 0]
        return logits
