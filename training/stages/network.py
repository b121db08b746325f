"""What the stages need of a network, nano or Qwen: packed rows in, loss terms out.

Terms are *sums* over tokens and masks: the trainer divides by the counts of the whole step, so the
result does not depend on how a step is cut into micro-batches and processes.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, Generic, NamedTuple, TypeVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from training.data.messages import TreeConfig
from training.data.packed_batch import packed_mask
from training.data.packed_stream import Row
from training.data.sequences import Encoder
from training.losses import LossConfig, dice_loss, ref_loss
from training.model.language import LanguageModel
from training.model.packed_attention import Apart, flat_samples, flat_works, sample_lengths
from training.model.patch_heads import IGNORED

B = TypeVar("B")


class Tokens(NamedTuple):
    """The packed rows of a batch: ``ids``, ``segment_ids``, ``targets`` (R, L), ``position_ids``
    (3, R, L)."""

    ids: Tensor
    position_ids: Tensor
    segment_ids: Tensor
    targets: Tensor


class Seen(NamedTuple):
    """``x`` (R, L, D), what the language model reads; ``context`` is what masks need later."""

    x: Tensor
    context: Any


class MaskPrompt(NamedTuple):
    """Which tokens prompt M masks: ``row`` (M,) and ``columns`` (M, 6) of the packed rows."""

    row: Tensor
    columns: Tensor


class MaskGroup(NamedTuple):
    """Masks of one size: ``logits`` and ``wanted`` (M, h, w), ``image`` (M,) which picture."""

    logits: Tensor
    wanted: Tensor
    image: Tensor


class Counts(NamedTuple):
    """What the terms of a batch are divided by."""

    tokens: int
    masks: int


class StageNetwork(nn.Module, ABC, Generic[B]):
    """``forward`` gives the sums ``text``, ``ref`` and ``dice`` of a batch made by ``collate``.

    The backbone computes in ``precision``; what is grafted onto it in fp32.
    """

    def __init__(self, network: nn.Module, encoder: Encoder, loss: LossConfig, half: bool) -> None:
        super().__init__()
        self.network = network
        self.encoder = encoder
        self.computes_in_half = half
        self._loss = loss

    @abstractmethod
    def collate(self, rows: Sequence[Row], length: int) -> B:
        """Packed rows as tensors on the CPU."""

    @abstractmethod
    def to_device(self, batch: B, device: torch.device) -> B: ...

    @abstractmethod
    def tokens(self, batch: B) -> Tokens: ...

    @abstractmethod
    def see(self, batch: B) -> Seen:
        """Encode pictures, ground traces, embed text."""

    @abstractmethod
    def masks(self, batch: B, context: Any, spoken: Tensor | None) -> list[MaskGroup]:
        """Masks of the batch, grouped by size, prompted by ``spoken`` (M, 6, D) of all its masks;
        None: one mask that means nothing, so that every weight takes part."""

    @abstractmethod
    def picture_masks(self, batch: B, context: Any, spoken: Tensor) -> Tensor:
        """Logits (P, h, w) on the P pictures of a batch of one sample; ``spoken`` (P, 6, D)."""

    @abstractmethod
    def mask_prompt(self, batch: B) -> MaskPrompt: ...

    @property
    @abstractmethod
    def language(self) -> LanguageModel: ...

    @abstractmethod
    def logits(self, hidden: Tensor) -> Tensor:
        """(..., D) -> (..., V)."""

    @abstractmethod
    def decode(self, tokens: Sequence[int]) -> str:
        """Text of ``tokens``, control tokens spelt as ``core.tokens`` does."""

    @property
    @abstractmethod
    def speech(self) -> "Speech": ...

    @abstractmethod
    def layers(self) -> list[nn.Module]:
        """Blocks that are sharded, and recomputed, one by one."""

    @abstractmethod
    def tree_config(self, plan: "TreePlan") -> TreeConfig: ...

    def autocast(self, device: torch.device) -> torch.autocast:
        return torch.autocast(device.type, torch.bfloat16, enabled=self.computes_in_half)

    def counts(self, batch: B) -> Counts:
        learned = int((self.tokens(batch).targets != IGNORED).sum())
        return Counts(learned, len(self.mask_prompt(batch).row))

    def forward(self, batch: B) -> dict[str, Tensor]:
        tokens = self.tokens(batch)
        device = tokens.ids.device
        seen = self.see(batch)
        with self.autocast(device):
            apart = samples_apart(tokens, self.computes_in_half)
            hidden = self.language(seen.x, tokens.position_ids, mask=apart).hidden
            learned = tokens.targets != IGNORED
            logits = self.logits(hidden[learned])
        text = F.cross_entropy(logits.float(), tokens.targets[learned], reduction="sum")
        return {"text": text, **self._mask_terms(batch, seen.context, hidden)}

    def _mask_terms(self, batch: B, context: Any, hidden: Tensor) -> dict[str, Tensor]:
        prompt = self.mask_prompt(batch)
        if not len(prompt.row):
            unused = [group.logits.sum() for group in self.masks(batch, context, None)]
            nothing = torch.stack(unused).sum() * 0.0
            return {"ref": nothing, "dice": nothing}
        spoken = hidden[prompt.row[:, None], prompt.columns]
        groups = self.masks(batch, context, spoken)
        twice = self._loss.claimed_twice
        ref = [ref_loss(g.logits, g.wanted, g.image, twice) * len(g.wanted) for g in groups]
        dice = [dice_loss(g.logits, g.wanted) * len(g.wanted) for g in groups]
        return {"ref": torch.stack(ref).sum(), "dice": torch.stack(dice).sum()}


def samples_apart(tokens: Tokens, half: bool) -> Apart:
    """What keeps samples from seeing each other: a GPU takes one large product sooner than many
    small ones, a CPU does not. FlashAttention computes in ``half`` precision alone."""
    segments = tokens.segment_ids
    if segments.device.type == "cpu":
        return sample_lengths(segments)
    if half and flat_works(segments.device):
        return flat_samples(segments)
    return packed_mask(segments)


class TreePlan(NamedTuple):
    """What a run decides of its message trees; the network decides sizes."""

    tasks: tuple[str, ...]
    order: str
    trace_form: str
    by_words: bool


class Speech(NamedTuple):
    """Token ids that generation has to know."""

    ends: frozenset[int]
    seg: int
    codebook: tuple[int, ...]
