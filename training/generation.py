"""Free generation in PyTorch, greedy, with a key-value cache: what evaluation judges.

The run time does the same with the exported graphs (``engine.runtime``).
"""

from typing import NamedTuple

import numpy as np
import torch
from tokenizers import Tokenizer
from torch import Tensor
from torch.nn import functional as F

from tracevlm_ros.core.prompt import PromptLayout, answer_positions, prompt_ids
from training.model.codebook import SCALES, TOKENS_PER_SCALE
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


class StrokeMasks(NamedTuple):
    """Mask logits (h, w) float32 before any word: of the stroke alone, and of the stroke and its
    own ``first`` mask."""

    first: np.ndarray
    second: np.ndarray


class Described(NamedTuple):
    """``mask_logits`` (h, w) float32 with the words and the mask ``of_stroke.second``; None after
    a format failure."""

    answer: Answer
    mask_logits: np.ndarray | None
    of_stroke: StrokeMasks


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
    index = torch.zeros(count, dtype=torch.int64)
    silent = grounded.trace.new_zeros(count, SCALES * TOKENS_PER_SCALE, grounded.trace.shape[-1])
    first = model.segment(features, index, grounded, traces.batch, silent)
    second = model.segment(features, index, grounded, traces.batch, silent, as_prior(first))
    found = []
    for row, keypoints in enumerate(traces.keypoints):
        one = Grounded(grounded.enhanced[row : row + 1], grounded.trace[row : row + 1])
        answer = generate(model, one, keypoints, tokenizer, layout)
        mask = None
        if answer.seg_embeddings is not None:
            trace = TraceBatch(*(part[row : row + 1] for part in traces.batch))
            said, prior = answer.seg_embeddings[None], as_prior(second[row : row + 1])
            mask = model.segment(features, index[:1], one, trace, said, prior)[0].numpy()
        masks = StrokeMasks(first[row].numpy(), second[row].numpy())
        found.append(Described(answer, mask, masks))
    return found


def as_prior(logits: Tensor) -> Tensor:
    """Mask logits (T, 2h, 2w) -> the input ``prior`` (T, h, w) of the next look."""
    shares: Tensor = F.avg_pool2d(logits.sigmoid()[:, None], 2)[:, 0]
    return shares
