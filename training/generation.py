"""Free generation in PyTorch, greedy, with a key-value cache: what evaluation judges.

The run time does the same with the exported graphs (``engine.runtime``).
"""

from typing import NamedTuple

import numpy as np
import torch
from tokenizers import Tokenizer
from torch import Tensor

from tracevlm_ros.core.prompt import PromptLayout, answer_positions, prompt_ids
from training.model.language import LanguageModel, LanguageState
from training.model.trace_embedding import TraceBatch
from training.model.tracevlm import TraceVLM
from training.model.tvp import Grounded
from training.tokenizer import encode_words

MAX_NEW_TOKENS = 32


class Answer(NamedTuple):
    """``tokens`` holds what was said before ``[SEG]`` or the end; ``seg_embeddings`` (6, D) is
    None when ``[SEG]`` was not said: a format failure of a caption."""

    text: str
    tokens: tuple[int, ...]
    seg_embeddings: Tensor | None


class PromptedTraces(NamedTuple):
    """A padded ``TraceBatch`` and how many keypoints of each trace are real."""

    batch: TraceBatch
    keypoints: tuple[int, ...]


class Described(NamedTuple):
    """``mask_logits`` (h, w) float32, None after a format failure."""

    answer: Answer
    mask_logits: np.ndarray | None


@torch.no_grad()
def generate(
    model: TraceVLM,
    grounded: Grounded,
    keypoints: int,
    tokenizer: Tokenizer,
    layout: PromptLayout,
    question: str | None = None,
) -> Answer:
    """Describe the one trace of ``grounded`` (T = 1), of which ``keypoints`` slots are valid."""
    asked = None if question is None else np.array(encode_words(tokenizer, question), np.int64)
    prompt = prompt_ids(layout, keypoints, asked)
    language = model.model
    state = language(_embed(model, grounded, prompt.ids, keypoints, layout),
                     torch.from_numpy(prompt.position_ids)[:, None])  # fmt: skip
    past, hidden = (state.keys, state.values), state.hidden[:, -1]
    said: list[int] = []
    position = prompt.next_position
    while len(said) < MAX_NEW_TOKENS:
        token = int(language.logits(hidden)[0].argmax())
        if token == layout.seg:
            book = _step(language, [layout.seg, *layout.codebook], position, past)
            return Answer(tokenizer.decode(said).strip(), tuple(said), book.hidden[0, 1:])
        if token == layout.end:
            break
        said.append(token)
        state = _step(language, [token], position, past)
        past, hidden = (state.keys, state.values), state.hidden[:, -1]
        position += 1
    return Answer(tokenizer.decode(said).strip(), tuple(said), None)


def _embed(
    model: TraceVLM, grounded: Grounded, ids: np.ndarray, keypoints: int, layout: PromptLayout
) -> Tensor:
    x: Tensor = model.model.embed_tokens(torch.from_numpy(ids)[None])
    count = layout.grid_hw[0] * layout.grid_hw[1]
    x[:, 1 : 1 + count] = grounded.enhanced
    x[:, 3 + count : 3 + count + keypoints] = grounded.trace[:, :keypoints]
    return x


def _step(
    language: LanguageModel, tokens: list[int], position: int, past: tuple[Tensor, Tensor]
) -> LanguageState:
    embeddings = language.embed_tokens(torch.tensor([tokens]))
    steps = torch.from_numpy(answer_positions(position, len(tokens)))
    state: LanguageState = language(embeddings, steps, past)
    return state


@torch.no_grad()
def describe_and_segment(
    model: TraceVLM,
    image_rgb: np.ndarray,
    traces: PromptedTraces,
    tokenizer: Tokenizer,
    layout: PromptLayout,
) -> list[Described]:
    """Captions and masks of all ``traces`` over one picture at the model's size."""
    features = model.encode(torch.from_numpy(image_rgb)[None])
    count = len(traces.keypoints)
    grounded = model.ground(features.tokens.expand(count, -1, -1), traces.batch)
    found = []
    for row, keypoints in enumerate(traces.keypoints):
        one = Grounded(grounded.enhanced[row : row + 1], grounded.trace[row : row + 1])
        answer = generate(model, one, keypoints, tokenizer, layout)
        mask = None
        if answer.seg_embeddings is not None:
            trace = TraceBatch(*(part[row : row + 1] for part in traces.batch))
            index = torch.zeros(1, dtype=torch.int64)
            mask = model.segment(features, index, one, trace, answer.seg_embeddings[None])[0]
        found.append(Described(answer, None if mask is None else mask.numpy()))
    return found
