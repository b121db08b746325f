"""Free generation in PyTorch, greedy, with a key-value cache: what evaluation judges.

The run time does the same with the exported graphs (``engine.runtime``).
"""

from typing import NamedTuple

import numpy as np
import torch
from tokenizers import Tokenizer
from torch import Tensor
from torch.nn import functional as F

from tracevlm_ros.core.prompt import (
    TRACE_TOKENS,
    PromptIds,
    PromptLayout,
    answer_positions,
    prompt_ids,
)
from training.data.templates import TEMPLATES, Task
from training.model.codebook import SCALES, TOKENS_PER_SCALE
from training.model.language import LanguageModel, LanguageState
from training.model.trace_embedding import TraceBatch
from training.model.tracevlm import TraceVLM
from training.model.tvp import Grounded
from training.model.vision import VisionFeatures
from training.tokenizer import encode_words

MAX_NEW_TOKENS = 32
TOKEN_LIMITS = {Task.TRACE_FROM_CAPTION: TRACE_TOKENS, Task.IMAGE_CAPTION: 48}
"""New tokens that an answer without a trace in its prompt may have."""


class Answer(NamedTuple):
    """``tokens`` holds what was said before ``[SEG]`` or the end; ``seg_embeddings`` (6, D) is
    None when ``[SEG]`` was not said: a format failure of a caption."""

    text: str
    tokens: tuple[int, ...]
    seg_embeddings: Tensor | None


class _Said(NamedTuple):
    """Tokens before ``[SEG]`` or the end, and (6, D) after ``[SEG]``."""

    tokens: tuple[int, ...]
    book: Tensor | None


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
    said = _say(model.model, grounded, prompt, layout, MAX_NEW_TOKENS)
    return Answer(tokenizer.decode(list(said.tokens)).strip(), said.tokens, said.book)


@torch.no_grad()
def answer_without_trace(
    model: TraceVLM,
    tokens: Tensor,
    task: Task,
    tokenizer: Tokenizer,
    layout: PromptLayout,
    about: str = "",
) -> str:
    """What the model answers to ``task`` (of ``TOKEN_LIMITS``), special tokens included.

    ``tokens`` (1, N, D) are the encoder's, ``about`` is what the task's question is about.
    """
    template = TEMPLATES[task]
    question = template.ask(about)
    asked = np.array(encode_words(tokenizer, question), np.int64) if question else None
    prompt = prompt_ids(layout, 0, asked, tokenizer.token_to_id(template.token))
    seen = Grounded(tokens, tokens[:, :0])
    said = _say(model.model, seen, prompt, layout, TOKEN_LIMITS[task])
    return str(tokenizer.decode(list(said.tokens), skip_special_tokens=False))


def _say(
    language: LanguageModel, seen: Grounded, prompt: PromptIds, layout: PromptLayout, limit: int
) -> _Said:
    """Read ``prompt`` with the image and trace tokens of ``seen``; say ``limit`` tokens at most."""
    state = language(
        _embed(language, seen, prompt, layout), torch.from_numpy(prompt.position_ids)[:, None]
    )
    past, hidden = (state.keys, state.values), state.hidden[:, -1]
    said: list[int] = []
    position = prompt.next_position
    while len(said) < limit:
        token = int(language.logits(hidden)[0].argmax())
        if token == layout.seg:
            book = _step(language, [layout.seg, *layout.codebook], position, past)
            return _Said(tuple(said), book.hidden[0, 1:])
        if token == layout.end:
            break
        said.append(token)
        state = _step(language, [token], position, past)
        past, hidden = (state.keys, state.values), state.hidden[:, -1]
        position += 1
    return _Said(tuple(said), None)


def _embed(
    language: LanguageModel, seen: Grounded, prompt: PromptIds, layout: PromptLayout
) -> Tensor:
    x: Tensor = language.embed_tokens(torch.from_numpy(prompt.ids)[None])
    count = layout.grid_hw[0] * layout.grid_hw[1]
    keypoints = int((prompt.ids == layout.traj_pad).sum())
    x[:, 1 : 1 + count] = seen.enhanced
    x[:, 3 + count : 3 + count + keypoints] = seen.trace[:, :keypoints]
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
    first = unspoken_masks(model, features, grounded, traces.batch)
    second = unspoken_masks(model, features, grounded, traces.batch, as_prior(first))
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


def unspoken_masks(
    model: TraceVLM,
    features: VisionFeatures,
    grounded: Grounded,
    batch: TraceBatch,
    prior: Tensor | None = None,
) -> Tensor:
    """Mask logits (T, h, w) of the strokes in the one picture of ``features``, before any word."""
    count, width = len(grounded.trace), grounded.trace.shape[-1]
    silent = grounded.trace.new_zeros(count, SCALES * TOKENS_PER_SCALE, width)
    index = torch.zeros(count, dtype=torch.int64)
    return model.segment(features, index, grounded, batch, silent, prior)


def as_prior(logits: Tensor) -> Tensor:
    """Mask logits (T, 2h, 2w) -> the input ``prior`` (T, h, w) of the next look."""
    shares: Tensor = F.avg_pool2d(logits.sigmoid()[:, None], 2)[:, 0]
    return shares
