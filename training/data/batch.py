"""Samples and traces -> tensors of one training step."""

from collections.abc import Sequence
from typing import NamedTuple

import cv2
import numpy as np
import torch
from tokenizers import Tokenizer
from torch import Tensor

from tracevlm_ros.core.engine import TracePrompt
from tracevlm_ros.core.prompt import PromptLayout, prompt_ids
from training.data.sample import PATCH_CLASSES, Sample
from training.model.patch_heads import IGNORED
from training.model.trace_embedding import TraceBatch
from training.model.tracevlm import PromptBatch
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


class Batch(NamedTuple):
    """T traces, of which R come with words. ``targets`` (R, L) ids of the next token, ``IGNORED``
    where nothing is learned; ``codebook_columns`` (R, 6); ``masks`` (T, h, w) covered share of each
    pixel, 0..1; ``trace_labels`` (T,) class of the pointed object per label group; ``prior``
    (T, h/2, w/2)."""

    image: Tensor
    patch_labels: dict[str, Tensor]
    image_index: Tensor
    trace: TraceBatch
    prompt: PromptBatch
    targets: Tensor
    codebook_columns: Tensor
    masks: Tensor
    trace_labels: dict[str, Tensor]
    prior: Tensor


def trace_batch(prompts: Sequence[TracePrompt], slots: int) -> TraceBatch:
    """Pad the keypoints of T traces to ``slots``."""
    count = len(prompts)
    points = np.zeros((count, slots, 2), np.float32)
    dt_s, pen_up, valid = (np.zeros((count, slots), np.float32) for _ in range(3))
    for row, prompt in enumerate(prompts):
        length = len(prompt.points)
        points[row, :length] = prompt.points
        dt_s[row, :length] = prompt.dt_s
        pen_up[row, :length] = prompt.pen_up
        valid[row, :length] = 1.0
    return TraceBatch(*(torch.from_numpy(array) for array in (points, dt_s, pen_up, valid)))


def patch_labels(sample: Sample, grid: int) -> dict[str, np.ndarray]:
    """Class of each patch per label group, (grid, grid): the instance that covers most of it.

    Patches that an instance touches without covering 30% of them are ignored.
    """
    cover = np.stack([shrink(i.mask, grid) for i in sample.instances])
    owner, most = cover.argmax(0), cover.max(0)
    labels = {}
    for group in PATCH_CLASSES:
        of_instance = np.array([i.classes.get(group, IGNORED) for i in sample.instances])
        plane = np.where(most >= 0.3, of_instance[owner], IGNORED)
        if group == "shape" and sample.background_known:
            plane = np.where(cover.sum(0) < 0.08, 0, plane)
        labels[group] = plane
    return labels


def shrink(mask: np.ndarray, side: int) -> np.ndarray:
    """Covered share (side, side) float32 of a bool mask."""
    return np.asarray(
        cv2.resize(mask.astype(np.float32), (side, side), interpolation=cv2.INTER_AREA)
    )


def image_batch(samples: Sequence[Sample]) -> Tensor:
    return torch.from_numpy(np.stack([sample.image_rgb for sample in samples]))


def label_batch(samples: Sequence[Sample], grid: int) -> dict[str, Tensor]:
    planes = [patch_labels(sample, grid) for sample in samples]
    return {
        group: torch.from_numpy(np.stack([plane[group] for plane in planes]).astype(np.int64))
        for group in PATCH_CLASSES
    }


class Sequenced(NamedTuple):
    prompt: PromptBatch
    targets: Tensor
    codebook_columns: Tensor


def sequences(
    pointed: Sequence[Pointed], tokenizer: Tokenizer, layout: PromptLayout, slots: int
) -> Sequenced:
    """Prompt, answer, ``[SEG]`` and codebook tokens of each trace with words, padded on the right.

    There must be one.
    """
    spoken = [index for index, item in enumerate(pointed) if item.answer is not None]
    rows = [_sequence(pointed[index], tokenizer, layout) for index in spoken]
    length = max(len(row.ids) for row in rows)
    count = len(rows)
    ids = np.zeros((count, length), np.int64)
    positions = np.zeros((3, count, length), np.int64)
    targets = np.full((count, length), IGNORED, np.int64)
    columns = np.zeros((count, slots), np.int64)
    first_trace = 3 + layout.grid_hw[0] * layout.grid_hw[1]
    for index, (row, trace) in enumerate(zip(rows, spoken, strict=True)):
        ids[index, : len(row.ids)] = row.ids
        positions[:, index, : len(row.ids)] = row.positions
        targets[index, row.answer_start - 1 : len(row.ids) - 1] = row.ids[row.answer_start :]
        keypoints = len(pointed[trace].prompt.points)
        columns[index, :keypoints] = first_trace + np.arange(keypoints)
    book = np.array([len(row.ids) - len(layout.codebook) for row in rows])
    prompt = PromptBatch(
        torch.from_numpy(ids),
        torch.from_numpy(positions),
        torch.tensor(spoken),
        torch.from_numpy(columns),
    )
    return Sequenced(
        prompt,
        torch.from_numpy(targets),
        torch.from_numpy(book[:, None] + np.arange(len(layout.codebook))),
    )


class _Row(NamedTuple):
    ids: np.ndarray
    positions: np.ndarray
    answer_start: int


def _sequence(item: Pointed, tokenizer: Tokenizer, layout: PromptLayout) -> _Row:
    question = None
    if item.question is not None:
        question = np.array(encode_words(tokenizer, item.question), np.int64)
    prompt = prompt_ids(layout, len(item.prompt.points), question)
    assert item.answer is not None
    answer = [*encode_words(tokenizer, item.answer), layout.seg, *layout.codebook]
    steps = np.arange(prompt.next_position, prompt.next_position + len(answer))
    return _Row(
        np.concatenate([prompt.ids, answer]),
        np.concatenate([prompt.position_ids, np.broadcast_to(steps, (3, len(steps)))], axis=1),
        len(prompt.ids),
    )


def assemble(
    samples: Sequence[Sample],
    pointed: Sequence[Pointed],
    tokenizer: Tokenizer,
    layout: PromptLayout,
    grid: int,
    slots: int,
) -> Batch:
    """All tensors of one joint training step, padded to its longest trace, ``slots`` at most."""
    slots = min(slots, max(len(p.prompt.points) for p in pointed))
    sequenced = sequences(pointed, tokenizer, layout, slots)
    masks = [shrink(samples[p.image].instances[p.instance].mask, 4 * grid) for p in pointed]
    return Batch(
        image=image_batch(samples),
        patch_labels=label_batch(samples, grid),
        image_index=torch.tensor([p.image for p in pointed]),
        trace=trace_batch([p.prompt for p in pointed], slots),
        prompt=sequenced.prompt,
        targets=sequenced.targets,
        codebook_columns=sequenced.codebook_columns,
        masks=torch.from_numpy(np.stack(masks)),
        trace_labels={
            group: torch.tensor(
                [
                    samples[p.image].instances[p.instance].classes.get(group, IGNORED)
                    for p in pointed
                ]
            )
            for group in PATCH_CLASSES
        },
        prior=torch.from_numpy(np.stack([p.prior for p in pointed])),
    )
