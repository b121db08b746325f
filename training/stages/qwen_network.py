"""TraceVLM on Qwen2.5-VL under the paper's stages.

Pictures keep their shape, so a batch is a list of media (a picture or a clip each), every one with
all the samples that look at it. A picture of a clip fills a temporal step of its own: its points
ground that step, and a mask is read from it.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from tracevlm_ros.core.tokens import SPECIAL
from training.data.batch import trace_batch
from training.data.messages import TreeConfig
from training.data.packed_batch import View, covered, view_of
from training.data.packed_stream import Row, Sample
from training.data.packing import pack_row
from training.data.qwen_sequences import QwenSequenceEncoder
from training.data.readers.alignment import SimplifyConfig
from training.losses import LossConfig
from training.model.language import LanguageModel
from training.model.qwen.network import Encoded, TraceQwen
from training.model.qwen.patches import Patches, prepare
from training.model.trace_embedding import TraceBatch
from training.model.tvp import Grounded
from training.stages.network import (
    MaskGroup,
    MaskPrompt,
    Seen,
    Speech,
    StageNetwork,
    Tokens,
    TreePlan,
)


class Medium(NamedTuple):
    """A picture or clip and its V views, one for each sample and temporal step ``frame`` (V,):
    ``trace`` V rows of K slots; ``row`` (V,); ``image_columns`` (V, N); ``trace_columns`` (V, K),
    -1 where there is no keypoint. ``masks`` (M, h, w) are seen in view ``mask_view`` (M,)."""

    patches: Patches
    trace: TraceBatch
    frame: Tensor
    row: Tensor
    image_columns: Tensor
    trace_columns: Tensor
    masks: Tensor
    mask_view: Tensor


class QwenBatch(NamedTuple):
    """``prompt`` names the tokens of all masks, medium after medium."""

    tokens: Tokens
    media: tuple[Medium, ...]
    prompt: MaskPrompt


class SeenMedium(NamedTuple):
    encoded: Encoded
    grounded: Grounded


class QwenStage(StageNetwork[QwenBatch]):
    """``encode_text`` and ``decode_text`` are the tokenizer's; ``spell`` gives control tokens their
    text."""

    network: TraceQwen

    def __init__(
        self,
        network: TraceQwen,
        encode_text: Callable[[str], Sequence[int]],
        decode_text: Callable[[list[int]], str],
        max_pixels: int,
        loss: LossConfig,
        half: bool,
    ) -> None:
        super().__init__(network, QwenSequenceEncoder(network.config, encode_text), loss, half)
        tokens = network.config.tokens
        self._decode_text, self._max_pixels = decode_text, max_pixels
        self._spell = {
            tokens.traj_start: SPECIAL.traj_start,
            tokens.traj_end: SPECIAL.traj_end,
            tokens.seg: SPECIAL.seg,
        }
        self._speech = Speech(
            frozenset({tokens.turn_end, tokens.end_of_text}), tokens.seg, tokens.codebook
        )

    def collate(self, rows: Sequence[Row], length: int) -> QwenBatch:
        pad = self.network.config.tokens.end_of_text
        packed = [pack_row([s.sequence for s in row.samples], length, pad) for row in rows]
        tokens = Tokens(
            torch.from_numpy(np.stack([row.ids for row in packed])),
            torch.from_numpy(np.stack([row.position_ids for row in packed], axis=1)),
            torch.from_numpy(np.stack([row.segment_ids for row in packed])),
            torch.from_numpy(np.stack([row.targets for row in packed])),
        )
        found: dict[tuple[int, int], _MediumCollector] = {}
        for number, (row, laid) in enumerate(zip(rows, packed, strict=True)):
            for sample, start in zip(row.samples, laid.starts, strict=True):
                key = (sample.place, sample.owner)
                if key not in found:
                    found[key] = _MediumCollector(self, sample.images)
                found[key].add(number, start, sample)
        media = tuple(medium.done() for medium in found.values())
        prompts = [MaskPrompt(m.row[m.mask_view], c.codebook()) for m, c in
                   zip(media, found.values(), strict=True)]  # fmt: skip
        prompt = MaskPrompt(*(torch.cat(parts) for parts in zip(*prompts, strict=True)))
        return QwenBatch(tokens, media, prompt)

    def to_device(self, batch: QwenBatch, device: torch.device) -> QwenBatch:
        media = tuple(
            medium._replace(
                patches=medium.patches._replace(values=medium.patches.values.to(device)),
                trace=TraceBatch(*(part.to(device) for part in medium.trace)),
                **{
                    name: getattr(medium, name).to(device)
                    for name in ("frame", "row", "image_columns", "trace_columns", "masks",
                                 "mask_view")
                },
            )
            for medium in batch.media
        )  # fmt: skip
        return QwenBatch(
            Tokens(*(part.to(device) for part in batch.tokens)),
            media,
            MaskPrompt(*(part.to(device) for part in batch.prompt)),
        )

    def tokens(self, batch: QwenBatch) -> Tokens:
        return batch.tokens

    def see(self, batch: QwenBatch) -> Seen:
        network, device = self.network, batch.tokens.ids.device
        with self.autocast(device):
            patches = [medium.patches for medium in batch.media]
            features = network.see(patches)
        encoded = network.divide(features, patches)
        x = network.embed(batch.tokens.ids)
        context = []
        for medium, one in zip(batch.media, encoded, strict=True):
            grounded = network.ground(one, medium.trace, medium.frame)
            rows = medium.row[:, None].expand_as(medium.image_columns)
            x = x.index_put((rows, medium.image_columns), grounded.enhanced.to(x.dtype))
            present = medium.trace_columns >= 0
            rows = medium.row[:, None].expand_as(medium.trace_columns)[present]
            points = (network.trace_gate * grounded.trace[present]).to(x.dtype)
            columns = medium.trace_columns[present]
            x = x.index_put((rows, columns), points, accumulate=True)
            context.append(SeenMedium(one, grounded))
        return Seen(x, context)

    def mask_prompt(self, batch: QwenBatch) -> MaskPrompt:
        return batch.prompt

    def masks(
        self, batch: QwenBatch, context: list[SeenMedium], spoken: Tensor | None
    ) -> list[MaskGroup]:
        if spoken is None:
            width = self.network.config.language.width
            medium = batch.media[0]
            view = torch.zeros(1, dtype=torch.int64, device=batch.tokens.ids.device)
            empty = context[0].grounded.trace.new_zeros(1, len(self._speech.codebook), width)
            wanted = medium.masks.new_zeros(1, *medium.masks.shape[1:])
            return [self._masks_of(medium, context[0], view, wanted, empty)]
        counts = [len(medium.masks) for medium in batch.media]
        parts = torch.split(spoken, counts)
        return [
            self._masks_of(medium, seen, medium.mask_view, medium.masks, own)
            for medium, seen, own in zip(batch.media, context, parts, strict=True)
            if len(own)
        ]

    def picture_masks(self, batch: QwenBatch, context: list[SeenMedium], spoken: Tensor) -> Tensor:
        medium = batch.media[0]
        view = torch.arange(len(medium.frame), device=spoken.device)
        return self._masks_of(medium, context[0], view, medium.masks, spoken).logits

    def _masks_of(
        self, medium: Medium, seen: SeenMedium, view: Tensor, wanted: Tensor, spoken: Tensor
    ) -> MaskGroup:
        frame = medium.frame[view]
        grounded = Grounded(seen.grounded.enhanced[view], seen.grounded.trace[view])
        trace = TraceBatch(*(part[view] for part in medium.trace))
        logits = self.network.segment(seen.encoded, frame, grounded, trace, spoken)
        return MaskGroup(logits, wanted, frame)

    @property
    def language(self) -> LanguageModel:
        return self.network.model.language_model

    def logits(self, hidden: Tensor) -> Tensor:
        return self.network.logits(hidden)

    def decode(self, tokens: Sequence[int]) -> str:
        plain: list[int] = []
        text = ""
        for token in tokens:
            if token in self._spell:
                text += self._decode_text(plain) + self._spell[token]
                plain = []
            else:
                plain.append(token)
        return (text + self._decode_text(plain)).strip()

    @property
    def speech(self) -> Speech:
        return self._speech

    def layers(self) -> list[nn.Module]:
        core = self.network.model
        return [*core.visual.blocks, *core.language_model.layers]

    def tree_config(self, plan: TreePlan) -> TreeConfig:
        vision = self.network.config.vision
        return TreeConfig(
            max_pixels=self._max_pixels,
            multiple=vision.patch_size * vision.merge,
            max_keypoints=self.network.config.tvp.max_keypoints,
            tasks=plan.tasks,
            order=plan.order,
            trace_form=plan.trace_form,
            simplify=SimplifyConfig(weights="words" if plan.by_words else "uniform"),
        )


class _MediumCollector:
    """Views and masks of the samples that look at one picture or clip, in order."""

    def __init__(self, stage: QwenStage, images: Sequence[np.ndarray]) -> None:
        config = stage.network.config
        self._slots = config.tvp.max_keypoints
        frames = torch.from_numpy(np.stack(images)).repeat_interleave(
            config.vision.temporal_patch, dim=0
        )
        self._patches = prepare(frames, config.vision, 1, frames.shape[1] * frames.shape[2])
        grid = self._patches.grid
        self._size_hw = (4 * grid.rows, 4 * grid.columns)
        self._views: list[View] = []
        self._masks: list[np.ndarray] = []
        self._mask_view: list[int] = []
        self._codebook: list[np.ndarray] = []

    def add(self, row: int, start: int, sample: Sample) -> None:
        first = len(self._views)
        self._views += [
            view_of(row, start, sample, picture, picture, self._slots)
            for picture in range(len(sample.images))
        ]
        for columns in sample.sequence.codebook:
            for picture in sorted({picture for picture, _ in sample.branch.masks}):
                self._masks.append(covered(sample, picture, self._size_hw))
                self._mask_view.append(first + picture)
                self._codebook.append(start + columns)

    def codebook(self) -> Tensor:
        """(M, 6) columns of the tokens that prompt the masks."""
        return torch.from_numpy(np.array(self._codebook, np.int64).reshape(-1, 6))

    def done(self) -> Medium:
        views, empty = self._views, np.zeros((0, *self._size_hw), np.float32)
        return Medium(
            patches=self._patches,
            trace=trace_batch([view.prompt for view in views], self._slots),
            frame=torch.tensor([view.image for view in views]),
            row=torch.tensor([view.row for view in views]),
            image_columns=torch.from_numpy(np.stack([view.image_columns for view in views])),
            trace_columns=torch.from_numpy(np.stack([view.trace_columns for view in views])),
            masks=torch.from_numpy(np.stack(self._masks) if self._masks else empty),
            mask_view=torch.tensor(self._mask_view, dtype=torch.int64),
        )
