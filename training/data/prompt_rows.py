"""Prompt and answer of each sequence of a batch: about a trace, or about a picture without one."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from tokenizers import Tokenizer
from torch import Tensor

from tracevlm_ros.core.engine import TracePrompt
from tracevlm_ros.core.prompt import PromptLayout, prompt_ids
from tracevlm_ros.core.types import IntArray
from training.data.messages import Branch, Exchange
from training.data.sequences import SequenceEncoder
from training.model.patch_heads import IGNORED
from training.model.tracevlm import NO_SLOT, PromptBatch
from training.tokenizer import encode_words


class Pointed(NamedTuple):
    """One trace of a batch: which image, which of its instances, the keypoints, what is said (None:
    nothing, only its mask is asked for), and the mask of a moment ago at the shallow resolution,
    (2g, 2g) 0..1."""

    image: int
    instance: int
    prompt: TracePrompt
    question: str | None
    answer: str | None
    prior: np.ndarray


class Told(NamedTuple):
    """What is said of ``image`` without a trace; None: nothing is known to be said of it."""

    image: int
    exchange: Exchange | None


class PromptRows(NamedTuple):
    """``targets`` (R, L) and ``codebook_columns`` (S, 6), see ``Batch``."""

    prompt: PromptBatch
    targets: Tensor
    codebook_columns: Tensor


class _Row(NamedTuple):
    ids: IntArray
    position_ids: IntArray
    learned: IntArray
    keypoints: int


def prompt_rows(
    pointed: Sequence[Pointed],
    told: Sequence[Told],
    tokenizer: Tokenizer,
    layout: PromptLayout,
    tokens: int = 0,
) -> PromptRows:
    """Sequences of each trace with words, then of ``told``, padded on the right.

    One of the traces must have words. ``tokens`` above 0 is the length; what is longer is cut.
    """
    spoken = [index for index, item in enumerate(pointed) if item.answer is not None]
    rows = [_about_trace(pointed[index], tokenizer, layout) for index in spoken]
    rows += _about_pictures(told, tokenizer, layout)
    length = tokens or max(len(row.ids) for row in rows)
    count = len(rows)
    ids = np.zeros((count, length), np.int64)
    positions = np.zeros((3, count, length), np.int64)
    targets = np.full((count, length), IGNORED, np.int64)
    slots = np.full((count, length), NO_SLOT, np.int64)
    first_trace = 3 + layout.grid_hw[0] * layout.grid_hw[1]
    for index, row in enumerate(rows):
        kept = min(length, len(row.ids))
        ids[index, :kept] = row.ids[:kept]
        positions[:, index, :kept] = row.position_ids[:, :kept]
        learned = row.learned[row.learned < kept]
        targets[index, learned - 1] = row.ids[learned]
        slots[index, first_trace : first_trace + row.keypoints] = np.arange(row.keypoints)
    book = np.array([min(length, len(row.ids)) for row in rows[: len(spoken)]])
    steps = np.arange(-len(layout.codebook), 0)
    prompt = PromptBatch(
        torch.from_numpy(ids),
        torch.from_numpy(positions),
        torch.tensor(spoken),
        torch.tensor([item.image for item in told], dtype=torch.int64),
        torch.from_numpy(slots),
    )
    columns = torch.from_numpy(book[:, None] + steps)
    return PromptRows(prompt, torch.from_numpy(targets), columns)


def _about_trace(item: Pointed, tokenizer: Tokenizer, layout: PromptLayout) -> _Row:
    question = None
    if item.question is not None:
        question = np.array(encode_words(tokenizer, item.question), np.int64)
    keypoints = len(item.prompt.points)
    prompt = prompt_ids(layout, keypoints, question)
    assert item.answer is not None
    answer = [*encode_words(tokenizer, item.answer), layout.seg, *layout.codebook]
    steps = np.arange(prompt.next_position, prompt.next_position + len(answer))
    return _Row(
        np.concatenate([prompt.ids, answer]),
        np.concatenate([prompt.position_ids, np.broadcast_to(steps, (3, len(steps)))], axis=1),
        len(prompt.ids) + np.arange(len(answer)),
        keypoints,
    )


def _about_pictures(told: Sequence[Told], tokenizer: Tokenizer, layout: PromptLayout) -> list[_Row]:
    encoder = SequenceEncoder(tokenizer, layout.grid_hw)
    rows = []
    for item in told:
        exchanges = () if item.exchange is None else (item.exchange,)
        found = encoder.encode(Branch("", exchanges), 1)
        rows.append(_Row(found.ids, found.position_ids, np.flatnonzero(found.learned), 0))
    return rows
