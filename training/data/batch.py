"""Samples and traces -> tensors of one training step."""

from collections.abc import Sequence
from typing import NamedTuple

import cv2
import numpy as np
import torch
from tokenizers import Tokenizer
from torch import Tensor

from tracevlm_ros.core.engine import TracePrompt
from tracevlm_ros.core.prompt import PromptLayout
from training.data.prompt_rows import Pointed, Told, prompt_rows
from training.data.sample import PATCH_CLASSES, Sample
from training.model.patch_heads import IGNORED
from training.model.trace_embedding import TraceBatch
from training.model.tracevlm import PromptBatch


class Room(NamedTuple):
    """Sizes that every batch is padded to: keypoint slots of a trace, tokens of a sequence."""

    slots: int
    tokens: int


class Batch(NamedTuple):
    """T traces, of which S come with words. ``targets`` (R, L) ids of the next token of the
    sequences of ``prompt``, ``IGNORED`` where nothing is learned; ``codebook_columns`` (S, 6);
    ``masks`` (T, h, w) covered share of each pixel, 0..1; ``trace_labels`` (T,) class of the
    pointed object per label group; ``prior`` (T, h/2, w/2)."""

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


class WordBatch(NamedTuple):
    """T texts about B images: ``ids``, ``valid`` (T, W), ``image_index`` (T,), ``masks`` (T, h, w)
    the covered share of what each describes."""

    image: Tensor
    image_index: Tensor
    ids: Tensor
    valid: Tensor
    masks: Tensor


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


def assemble(
    samples: Sequence[Sample],
    pointed: Sequence[Pointed],
    told: Sequence[Told],
    tokenizer: Tokenizer,
    layout: PromptLayout,
    grid: int,
    room: Room,
) -> Batch:
    """All tensors of one joint training step.

    Padded to its longest trace, at most ``room.slots``, and its longest sequence; with
    ``room.tokens`` above 0 to exactly ``room``, longer sequences cut.
    """
    slots = min(room.slots, max(len(p.prompt.points) for p in pointed))
    slots = room.slots if room.tokens else slots
    rows = prompt_rows(pointed, told, tokenizer, layout, room.tokens)
    masks = [shrink(samples[p.image].instances[p.instance].mask, 4 * grid) for p in pointed]
    return Batch(
        image=image_batch(samples),
        patch_labels=label_batch(samples, grid),
        image_index=torch.tensor([p.image for p in pointed]),
        trace=trace_batch([p.prompt for p in pointed], slots),
        prompt=rows.prompt,
        targets=rows.targets,
        codebook_columns=rows.codebook_columns,
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
