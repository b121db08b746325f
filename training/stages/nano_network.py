"""The nano network under the paper's stages."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from tracevlm_ros.core.tokens import SPECIAL
from training.data.messages import TreeConfig
from training.data.packed_batch import PackedBatch, PackedEmbedding, collate, embed_packed
from training.data.packed_stream import Row
from training.data.readers.alignment import SimplifyConfig
from training.data.sequences import SequenceEncoder
from training.losses import LossConfig
from training.model.language import LanguageModel
from training.model.trace_embedding import TraceBatch
from training.model.tracevlm import TraceVLM
from training.model.tvp import Grounded
from training.model.vision import VisionFeatures
from training.stages.network import (
    MaskGroup,
    MaskPrompt,
    Seen,
    Speech,
    StageNetwork,
    Tokens,
    TreePlan,
)
from training.tokenizer import load_tokenizer, special_ids


class NanoStage(StageNetwork[PackedBatch]):
    """``network`` with the nano tokenizer. Running statistics of norms stay as they are: a packed
    batch is small, and its pictures are not drawn evenly."""

    network: TraceVLM

    def __init__(self, network: TraceVLM, loss: LossConfig, half: bool) -> None:
        self._tokenizer = load_tokenizer()
        grid = network.config.vision.merged_grid
        super().__init__(network, SequenceEncoder(self._tokenizer, (grid, grid)), loss, half)
        ids = special_ids(self._tokenizer)
        self._pad = ids[SPECIAL.pad]
        self._speech = Speech(
            frozenset({ids[SPECIAL.end]}),
            ids[SPECIAL.seg],
            tuple(ids[token] for token in SPECIAL.codebook),
        )

    def train(self, mode: bool = True) -> "NanoStage":
        super().train(mode)
        for module in self.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.eval()
        return self

    def collate(self, rows: Sequence[Row], length: int) -> PackedBatch:
        vision = self.network.config.vision
        slots = self.network.config.tvp.max_keypoints
        return collate(rows, length, self._pad, slots, 4 * vision.grid)

    def to_device(self, batch: PackedBatch, device: torch.device) -> PackedBatch:
        moved: dict[str, Any] = {
            name: TraceBatch(*(t.to(device) for t in part))
            if isinstance(part, TraceBatch)
            else part.to(device)
            for name, part in batch._asdict().items()
        }
        return PackedBatch(**moved)

    def tokens(self, batch: PackedBatch) -> Tokens:
        return Tokens(batch.ids, batch.position_ids, batch.segment_ids, batch.targets)

    def see(self, batch: PackedBatch) -> Seen:
        with self.autocast(batch.ids.device):
            features = self.network.encode(batch.image)
        features = VisionFeatures(*(part.float() for part in features))
        seen = embed_packed(self.network, batch, features)
        return Seen(seen.x, seen)

    def mask_prompt(self, batch: PackedBatch) -> MaskPrompt:
        return MaskPrompt(batch.view_row[batch.mask_view], batch.codebook_columns)

    def masks(
        self, batch: PackedBatch, context: PackedEmbedding, spoken: Tensor | None
    ) -> list[MaskGroup]:
        view, wanted = batch.mask_view, batch.masks
        if spoken is None:
            view = torch.zeros(1, dtype=torch.int64, device=batch.ids.device)
            spoken = context.x.new_zeros(1, len(self._speech.codebook), context.x.shape[-1])
            wanted = wanted.new_zeros(1, *wanted.shape[1:])
        return [
            MaskGroup(self._logits(batch, context, view, spoken), wanted, batch.view_image[view])
        ]

    def picture_masks(self, batch: PackedBatch, context: PackedEmbedding, spoken: Tensor) -> Tensor:
        view = torch.arange(len(batch.view_image), device=spoken.device)
        return self._logits(batch, context, view, spoken)

    def _logits(
        self, batch: PackedBatch, context: PackedEmbedding, view: Tensor, spoken: Tensor
    ) -> Tensor:
        seen = Grounded(context.grounded.enhanced[view], context.grounded.trace[view])
        trace = TraceBatch(*(part[view] for part in batch.trace))
        image = batch.view_image[view]
        return self.network.segment(context.features, image, seen, trace, spoken.float())

    @property
    def language(self) -> LanguageModel:
        return self.network.model

    def logits(self, hidden: Tensor) -> Tensor:
        return self.network.model.logits(hidden)

    def decode(self, tokens: Sequence[int]) -> str:
        return str(self._tokenizer.decode(list(tokens), skip_special_tokens=False)).strip()

    @property
    def speech(self) -> Speech:
        return self._speech

    def layers(self) -> list[nn.Module]:
        return list(self.network.model.layers)

    def tree_config(self, plan: TreePlan) -> TreeConfig:
        config = self.network.config
        return TreeConfig(
            image_size=config.vision.image_size,
            max_keypoints=config.tvp.max_keypoints,
            tasks=plan.tasks,
            order=plan.order,
            trace_form=plan.trace_form,
            simplify=SimplifyConfig(weights="words" if plan.by_words else "uniform"),
        )
