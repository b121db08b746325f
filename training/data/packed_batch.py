"""Packed rows as tensors, and how the network reads them.

A *view* is one picture as one sample sees it: TVP enhances its tokens with the points that the
sample's trace has on that picture. Views without points pass TVP by, exactly. Pictures that several
samples of a batch share are encoded once.
"""

from collections.abc import Sequence
from typing import NamedTuple

import cv2
import numpy as np
import torch
from torch import Tensor

from tracevlm_ros.core.engine import TracePrompt
from tracevlm_ros.core.types import Image
from training.data.batch import trace_batch
from training.data.packed_stream import Row, Sample
from training.data.packing import pack_row
from training.model.language import MASKED
from training.model.trace_embedding import TraceBatch
from training.model.tracevlm import TraceVLM
from training.model.tvp import Grounded
from training.model.vision import VisionFeatures


class PackedBatch(NamedTuple):
    """B rows of L tokens with I pictures, V views and M masks.

    ``ids``, ``segment_ids``, ``targets`` (B, L); ``position_ids`` (3, B, L); ``image`` (I, S, S,
    3); ``trace`` V rows of K slots; ``view_image`` and ``view_row`` (V,) which picture and row;
    ``image_columns`` (V, N); ``trace_columns`` (V, K), -1 where there is no keypoint. ``masks``
    (M, h, w) covered share of each pixel, seen in view ``mask_view`` (M,), prompted by the tokens
    at ``codebook_columns`` (M, 6) of that view's row.
    """

    ids: Tensor
    position_ids: Tensor
    segment_ids: Tensor
    targets: Tensor
    image: Tensor
    trace: TraceBatch
    view_image: Tensor
    view_row: Tensor
    image_columns: Tensor
    trace_columns: Tensor
    masks: Tensor
    mask_view: Tensor
    codebook_columns: Tensor


class PackedEmbedding(NamedTuple):
    """``x`` (B, L, D), what the language model reads; ``features`` of all pictures, ``grounded`` of
    all views."""

    x: Tensor
    features: VisionFeatures
    grounded: Grounded


class PackedReading(NamedTuple):
    """``hidden`` (B, L, D), normed; ``features`` of all pictures, ``grounded`` of all views."""

    hidden: Tensor
    features: VisionFeatures
    grounded: Grounded


class View(NamedTuple):
    """Picture ``image`` as a sample in row ``row`` sees it: its points there, and the columns of
    picture tokens (N,) and of keypoints (slots,), -1 where there is none."""

    row: int
    image: int
    prompt: TracePrompt
    image_columns: np.ndarray
    trace_columns: np.ndarray


def view_of(row: int, start: int, sample: Sample, picture: int, image: int, slots: int) -> View:
    """``picture`` (index in the sample) is picture ``image`` of the batch; the sample begins at
    column ``start``. Points beyond ``slots`` are left out."""
    trace, columns = sample.branch.trace, np.full(slots, -1, np.int64)
    prompt = TracePrompt(np.zeros((0, 2)), np.zeros(0), np.zeros(0, np.bool_))
    if trace is not None:
        here = np.flatnonzero(trace.picture == picture)[:slots]
        prompt = TracePrompt(trace.points[here], trace.dt_s[here], trace.pen_up[here])
        columns[: len(here)] = start + sample.sequence.trace[here]
    return View(row, image, prompt, start + sample.sequence.image[picture], columns)


def covered(sample: Sample, picture: int, size_hw: tuple[int, int]) -> np.ndarray:
    """Share of each of ``size_hw`` cells that the sample's target covers on ``picture``."""
    full_hw = sample.images[picture].shape[:2]
    union = np.zeros(full_hw, np.bool_)
    for place, shape in sample.branch.masks:
        if place == picture:
            union |= shape.mask((full_hw[0], full_hw[1]))
    share = cv2.resize(union.astype(np.float32), size_hw[::-1], interpolation=cv2.INTER_AREA)
    return np.asarray(share)


class _Collector:
    """Views, pictures and masks of all samples, gathered in order."""

    def __init__(self, slots: int, mask_side: int) -> None:
        self.slots, self.mask_side = slots, mask_side
        self.images: list[Image] = []
        self.views: list[View] = []
        self.masks: list[np.ndarray] = []
        self.mask_view: list[int] = []
        self.codebook: list[np.ndarray] = []
        self._known: dict[tuple[int, int, int], int] = {}

    def add(self, row: int, start: int, sample: Sample) -> None:
        first_view = len(self.views)
        for picture, image in enumerate(sample.images):
            key = (sample.place, sample.owner, picture)
            place = self._known.setdefault(key, len(self.images))
            if place == len(self.images):
                self.images.append(image)
            self.views.append(view_of(row, start, sample, picture, place, self.slots))
        for columns in sample.sequence.codebook:
            for picture in sorted({picture for picture, _ in sample.branch.masks}):
                self.masks.append(covered(sample, picture, (self.mask_side, self.mask_side)))
                self.mask_view.append(first_view + picture)
                self.codebook.append(start + columns)


def collate(rows: Sequence[Row], length: int, pad: int, slots: int, mask_side: int) -> PackedBatch:
    """``rows`` as one batch: rows of ``length`` tokens, ``slots`` keypoints a view, masks of
    ``mask_side``."""
    packed = [pack_row([s.sequence for s in row.samples], length, pad) for row in rows]
    found = _Collector(slots, mask_side)
    for number, (row, tokens) in enumerate(zip(rows, packed, strict=True)):
        for sample, start in zip(row.samples, tokens.starts, strict=True):
            found.add(number, start, sample)
    masks = np.zeros((0, mask_side, mask_side), np.float32)
    codebook = np.zeros((0, 6), np.int64)
    return PackedBatch(
        ids=torch.from_numpy(np.stack([tokens.ids for tokens in packed])),
        position_ids=torch.from_numpy(np.stack([tokens.position_ids for tokens in packed], axis=1)),
        segment_ids=torch.from_numpy(np.stack([tokens.segment_ids for tokens in packed])),
        targets=torch.from_numpy(np.stack([tokens.targets for tokens in packed])),
        image=torch.from_numpy(np.stack(found.images)),
        trace=trace_batch([view.prompt for view in found.views], slots),
        view_image=torch.tensor([view.image for view in found.views]),
        view_row=torch.tensor([view.row for view in found.views]),
        image_columns=torch.from_numpy(np.stack([view.image_columns for view in found.views])),
        trace_columns=torch.from_numpy(np.stack([view.trace_columns for view in found.views])),
        masks=torch.from_numpy(np.stack(found.masks) if found.masks else masks),
        mask_view=torch.tensor(found.mask_view, dtype=torch.int64),
        codebook_columns=torch.from_numpy(np.stack(found.codebook) if found.masks else codebook),
    )


def packed_mask(segment_ids: Tensor) -> Tensor:
    """(B, 1, L, L) to add to attention scores: 0 within a sample and back in time, else -1e4."""
    same = segment_ids[:, :, None] == segment_ids[:, None, :]
    return (~same.tril()).float()[:, None] * MASKED


def embed_packed(
    model: TraceVLM, batch: PackedBatch, features: VisionFeatures | None = None
) -> PackedEmbedding:
    """Encode (unless ``features`` are there) and ground the pictures of ``batch``, and put them and
    the keypoints into its rows."""
    features = features or model.encode(batch.image)
    tokens = features.tokens[batch.view_image]
    touched = batch.trace.valid.any(dim=1)
    grounded = model.ground(tokens, batch.trace)
    enhanced = torch.where(touched[:, None, None], grounded.enhanced, tokens)
    grounded = Grounded(enhanced, grounded.trace)
    x: Tensor = model.model.embed_tokens(batch.ids)
    rows = batch.view_row[:, None].expand_as(batch.image_columns)
    x = x.index_put((rows, batch.image_columns), enhanced.to(x.dtype))
    present = batch.trace_columns >= 0
    rows = batch.view_row[:, None].expand_as(batch.trace_columns)
    points = grounded.trace[present].to(x.dtype)
    x = x.index_put((rows[present], batch.trace_columns[present]), points)
    return PackedEmbedding(x, features, grounded)


def read_packed(model: TraceVLM, batch: PackedBatch) -> PackedReading:
    """Encode, ground and read a batch; the language model's head then gives logits."""
    seen = embed_packed(model, batch)
    mask = packed_mask(batch.segment_ids)
    hidden: Tensor = model.model(seen.x, batch.position_ids, mask=mask).hidden
    return PackedReading(hidden, seen.features, seen.grounded)
