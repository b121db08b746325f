"""One network looked at from outside: point at things, compare what it says and marks."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import cv2
import numpy as np
import torch
from tokenizers import Tokenizer
from torch import Tensor

from tracevlm_ros.core.engine import TracePrompt
from tracevlm_ros.core.prompt import PromptLayout
from tracevlm_ros.core.types import Image
from training.data.batch import trace_batch
from training.data.sample import TraceTarget
from training.data.templates import Task
from training.data.traces import simplify_trace
from training.evaluation.scores import MaskScores
from training.generation import (
    Described,
    PromptedTraces,
    answer_without_trace,
    describe_and_segment,
)
from training.model.tracevlm import TraceVLM

LIVE_WEIGHT = 0.5


@dataclass(frozen=True)
class Judge:
    """Asks ``model``. With ``shuffled`` the points of every trace change places and times."""

    model: TraceVLM
    tokenizer: Tokenizer
    layout: PromptLayout
    shuffled: bool = False

    @property
    def order(self) -> str:
        return "shuffled" if self.shuffled else "as drawn"

    @property
    def side(self) -> int:
        """Pixels along one side of the pictures that the model takes."""
        return self.model.config.vision.image_size

    def prompt(self, target: TraceTarget, size_hw: tuple[int, int]) -> TracePrompt:
        """``target`` as the live system simplifies it."""
        slots = self.model.config.tvp.max_keypoints
        prompt = simplify_trace(target, size_hw, LIVE_WEIGHT, slots)
        return shuffle(prompt) if self.shuffled else prompt

    def describe(self, image_rgb: np.ndarray, prompts: Sequence[TracePrompt]) -> list[Described]:
        """Captions and masks over ``image_rgb``, ``side`` x ``side`` pixels."""
        batch = trace_batch(prompts, self.model.config.tvp.max_keypoints)
        traces = PromptedTraces(batch, tuple(len(prompt.points) for prompt in prompts))
        return describe_and_segment(self.model, image_rgb, traces, self.tokenizer, self.layout)

    @torch.no_grad()
    def look(self, image_rgb: Image) -> Tensor:
        """Image tokens (1, N, D) of ``image_rgb``, ``side`` x ``side`` pixels, for ``answer``."""
        tokens: Tensor = self.model.encode(torch.from_numpy(image_rgb)[None]).tokens
        return tokens

    def answer(self, tokens: Tensor, task: Task, about: str = "") -> str:
        """See ``answer_without_trace``."""
        return answer_without_trace(self.model, tokens, task, self.tokenizer, self.layout, about)


def shuffle(prompt: TracePrompt) -> TracePrompt:
    """The same points in another order, their waits in yet another; always the same one."""
    rng = np.random.default_rng(len(prompt.points))
    order, times = rng.permutation(len(prompt.points)), rng.permutation(len(prompt.points))
    return TracePrompt(prompt.points[order], prompt.dt_s[times], prompt.pen_up[order])


class Judged(NamedTuple):
    """``failed``: it never came to a mask of its own; ``first`` and ``second`` are there still.
    ``closer``: IoU of ``look_closer``, None where nobody looked."""

    text: str
    failed: bool
    iou: float
    first: float
    second: float
    closer: float | None = None


def judge(described: Described, mask: np.ndarray, closer: np.ndarray | None = None) -> Judged:
    """``mask`` (h, w) bool is the truth, at its own resolution."""
    spoken = described.mask_logits
    return Judged(
        described.answer.text,
        spoken is None,
        0.0 if spoken is None else overlap(spoken, mask),
        overlap(described.of_stroke.first, mask),
        overlap(described.of_stroke.second, mask),
        None if closer is None else overlap(closer, mask),
    )


def overlap(logits: np.ndarray, mask: np.ndarray) -> float:
    """IoU; logits are resized bilinearly to the mask's size and cut at 0."""
    height, width = mask.shape
    shown = cv2.resize(logits, (width, height), interpolation=cv2.INTER_LINEAR) > 0
    both, either = int((shown & mask).sum()), int((shown | mask).sum())
    return both / max(1, either)


def mask_scores(judged: Sequence[Judged]) -> MaskScores:
    closer = [one.closer for one in judged if one.closer is not None]
    return MaskScores(
        mask_iou=float(np.mean([one.iou for one in judged])),
        mask_iou_first=float(np.mean([one.first for one in judged])),
        mask_iou_second=float(np.mean([one.second for one in judged])),
        mask_iou_closer=float(np.mean(closer)) if closer else None,
    )
