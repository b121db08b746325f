"""Which token comes next, and when an answer ends."""

from dataclasses import dataclass

import torch
from torch import Tensor

from tracevlm_ros.core.settings import require_range

REPEATED = 8
"""So many times the same stretch of tokens in a row end an answer."""
_LONGEST_STRETCH = 16


@dataclass(frozen=True, kw_only=True, slots=True)
class SamplingConfig:
    """``temperature`` 0 is greedy. Otherwise the ``top_k`` likeliest tokens (0: all) that together
    reach ``top_p`` are drawn from, with ``seed``. An answer ends at its end token, at ``[SEG]``,
    after ``limit`` tokens, at one of the texts ``stop`` (left out of the answer), or when it goes
    round in circles."""

    temperature: float = 0.0
    top_k: int = 0
    top_p: float = 1.0
    seed: int = 0
    limit: int = 256
    stop: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        require_range("temperature", self.temperature, 0.0, 100.0)
        require_range("top_k", self.top_k, 0, 1 << 20)
        require_range("top_p", self.top_p, 1e-6, 1.0)
        require_range("limit", self.limit, 1, 1 << 20)


class Chooser:
    """Chooses token after token; the same settings and logits give the same tokens."""

    def __init__(self, config: SamplingConfig) -> None:
        self._config = config
        self._random = torch.Generator().manual_seed(config.seed)

    def choose(self, logits: Tensor) -> int:
        """``logits`` (V,)."""
        config = self._config
        if config.temperature == 0.0:
            return int(logits.argmax())
        scores = logits.float().cpu() / config.temperature
        if config.top_k:
            least = scores.topk(min(config.top_k, len(scores))).values[-1]
            scores = scores.masked_fill(scores < least, -torch.inf)
        shares, order = scores.softmax(-1).sort(descending=True)
        before = shares.cumsum(-1) - shares
        shares = shares.masked_fill(before >= config.top_p, 0.0)
        return int(order[torch.multinomial(shares, 1, generator=self._random)])


def goes_in_circles(tokens: list[int]) -> bool:
    """Whether the last ``REPEATED`` stretches of some length are the same."""
    for stretch in range(1, _LONGEST_STRETCH + 1):
        tail = tokens[-stretch * REPEATED :]
        if len(tail) == stretch * REPEATED and tail == tail[:stretch] * REPEATED:
            return True
    return False
