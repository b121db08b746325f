"""Free generation with a Qwen backbone: greedy, cached, one token at a time."""

from collections.abc import Callable, Collection
from typing import NamedTuple

import torch
from torch import Tensor

from training.model.language import LanguageState
from training.model.qwen.network import Spoken, TraceQwen


class QwenAnswer(NamedTuple):
    """``tokens`` said before ``[SEG]`` or a stop; ``seg_embeddings`` (6, D) after ``[SEG]``."""

    tokens: tuple[int, ...]
    seg_embeddings: Tensor | None


def _ignore(_: int) -> None:
    """Nobody listens."""


@torch.no_grad()
def generate(
    model: TraceQwen,
    spoken: Spoken,
    limit: int,
    stop: Collection[int] | None = None,
    on_token: Callable[[int], None] = _ignore,
    segment: bool = True,
) -> QwenAnswer:
    """At most ``limit`` tokens; ``on_token`` hears each as it is said.

    ``stop`` defaults to the end of the turn and of the text. At ``[SEG]`` the six codebook tokens
    are read in one pass and the answer ends; without ``segment`` it is a token like any other.
    """
    known = model.config.tokens
    ends = {known.turn_end, known.end_of_text} if stop is None else set(stop)
    x = model.embed_prompt(spoken)[None]
    places = torch.from_numpy(spoken.prompt.position_ids)[:, None].to(x.device)
    state = model.think(x, places)
    said: list[int] = []
    at = spoken.prompt.next_position
    while len(said) < limit:
        token = int(model.logits(state.hidden[0, -1]).argmax())
        if segment and token == known.seg:
            book = _advance(model, state, [known.seg, *known.codebook], at)
            return QwenAnswer(tuple(said), book.hidden[0, 1:])
        if token in ends:
            break
        said.append(token)
        on_token(token)
        state = _advance(model, state, [token], at)
        at += 1
    return QwenAnswer(tuple(said), None)


def _advance(model: TraceQwen, state: LanguageState, tokens: list[int], at: int) -> LanguageState:
    device = state.hidden.device
    x = model.embed(torch.tensor([tokens], device=device))
    places = torch.arange(at, at + len(tokens), device=device).expand(3, 1, -1)
    return model.think(x, places, (state.keys, state.values))
