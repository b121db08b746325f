"""TraceVLM on Qwen2.5-VL: the released backbone, and between merger and language model the TVP.

``model.visual``, ``model.language_model`` and ``lm_head`` bear Hugging Face's names. The grafted
parts (``tvp``, ``trace_gate``, ``feature_maps``, ``pixel_decoder``) compute in fp32 whatever the
backbone's type is: they learn from 0, where bf16 would lose small steps, and Fourier codes need
the digits. With gamma and gate at 0 the backbone answers as if they were not there.
"""

from collections.abc import Sequence
from contextlib import nullcontext
from typing import NamedTuple

import torch
from torch import Tensor, nn

from tracevlm_ros.core.errors import InputError
from training.model.config import QwenConfig
from training.model.language import LanguageModel, LanguageState
from training.model.pixel_decoder import Asked, FeatureSizes, PixelDecoder
from training.model.qwen.feature_maps import FeatureMaps, PixelMaps
from training.model.qwen.layout import Grid
from training.model.qwen.patches import Patches
from training.model.qwen.prompt import QwenPrompt
from training.model.qwen.vision import QwenFeatures, QwenVision
from training.model.trace_cues import Stroke
from training.model.trace_embedding import TraceBatch
from training.model.tvp import TVP, Grounded, grid_centres


class Encoded(NamedTuple):
    """One picture or clip: ``tokens`` (F, N, D) merged, one row per temporal step, and its maps."""

    tokens: Tensor
    maps: PixelMaps
    grid: Grid


class Spoken(NamedTuple):
    """What goes into one sequence: the prompt, its visual tokens (N, D) of all media one after the
    other, and the keypoints' features (K, D), fp32, or None."""

    prompt: QwenPrompt
    visual: Tensor | None
    trace: Tensor | None


class QwenCore(nn.Module):
    """Holds the two halves under the names that Hugging Face gives them."""

    def __init__(self, config: QwenConfig) -> None:
        super().__init__()
        self.visual = QwenVision(config.vision, config.language.width)
        self.language_model = LanguageModel(config.language)


class QwenBackbone(nn.Module):
    """Vision encoder, language model and head. A tied head has no weight of its own.

    ``device`` "meta" builds it without memory, for weights that are assigned afterwards.
    """

    def __init__(self, config: QwenConfig, device: str | None = None) -> None:
        super().__init__()
        self.config = config
        width, vocab = config.language.width, config.language.vocab
        with torch.device(device) if device else nullcontext():
            self.model = QwenCore(config)
            self.lm_head = None if config.tied_head else nn.Linear(width, vocab, bias=False)

    def see(self, patches: Sequence[Patches]) -> QwenFeatures:
        """All pictures and clips in one pass; no frame sees another."""
        values = torch.cat([part.values for part in patches])
        features: QwenFeatures = self.model.visual(values, tuple(part.grid for part in patches))
        return features

    def embed(self, ids: Tensor) -> Tensor:
        rows: Tensor = self.model.language_model.embed_tokens(ids)
        return rows

    def think(
        self, embeddings: Tensor, position_ids: Tensor, past: tuple[Tensor, Tensor] | None = None
    ) -> LanguageState:
        """Embeddings (B, S, D) and rope ids (3, B, S) after ``past``."""
        state: LanguageState = self.model.language_model(embeddings, position_ids, past)
        return state

    def logits(self, hidden: Tensor) -> Tensor:
        if self.lm_head is None:
            return self.model.language_model.logits(hidden)
        scores: Tensor = self.lm_head(hidden)
        return scores


class TraceQwen(QwenBackbone):
    """The whole network.

    ``backbone_device`` as in ``QwenBackbone``; the grafted parts are real and initialised. Every
    picture brings its own grid; ``reference_grid`` (merged tokens along a side) sizes the square
    tables of TVP and decoder that fixed-size exports use.
    """

    def __init__(
        self, config: QwenConfig, backbone_device: str | None = None, reference_grid: int = 16
    ) -> None:
        super().__init__(config, backbone_device)
        width, vision = config.language.width, config.vision
        self.tvp = TVP(config.tvp, width, reference_grid)
        self.trace_gate = nn.Parameter(torch.zeros(width))
        self.feature_maps = FeatureMaps(vision)
        self.pixel_decoder = PixelDecoder(
            config.decoder,
            width,
            FeatureSizes(
                vision.width, vision.shallow_channels, reference_grid * vision.merge, vision.merge
            ),
        )

    def encode(self, patches: Sequence[Patches]) -> list[Encoded]:
        """One ``Encoded`` for each picture or clip."""
        return self.divide(self.see(patches), patches)

    def divide(self, features: QwenFeatures, patches: Sequence[Patches]) -> list[Encoded]:
        """``features`` of all ``patches`` -> those of each picture or clip, with its maps."""
        merge = self.config.vision.merge
        sizes = [part.grid.patches() for part in patches]
        tokens = torch.split(features.tokens, [size // merge**2 for size in sizes])
        per_patch = (features.deep, features.early, features.embedded)
        parts = [torch.split(values, sizes) for values in per_patch]
        return [
            Encoded(
                own.reshape(part.grid.steps, -1, own.shape[1]),
                self.feature_maps(deep, early, embedded, part.grid),
                part.grid,
            )
            for part, own, deep, early, embedded in zip(patches, tokens, *parts, strict=True)
        ]

    def ground(self, encoded: Encoded, trace: TraceBatch, frame: Tensor) -> Grounded:
        """TVP for T rows of ``trace``, row i on the temporal step ``frame[i]`` of ``encoded``.

        A row without a valid keypoint leaves its tokens as they are, exactly. The result has the
        tokens' type for ``enhanced`` (T, N, D), fp32 for ``trace`` (T, K, D). To describe a clip,
        give one row per step and ``frame`` = 0, 1, 2 ...
        """
        limit = self.config.tvp.max_frames
        if encoded.grid.steps > limit:
            raise InputError(
                f"the clip has {encoded.grid.steps} temporal steps, TVP knows {limit}; take fewer "
                "frames or set tvp.max_frames before training"
            )
        rows, columns = self.token_grid(encoded.grid)
        visual = encoded.tokens[frame]
        centres = grid_centres(rows, columns, visual.device)
        enhanced, refined = self.tvp(visual.float(), trace, centres, frame)
        drawn = (trace.valid > 0).any(1)[:, None, None]
        return Grounded(torch.where(drawn, enhanced.to(visual.dtype), visual), refined)

    def embed_prompt(self, spoken: Spoken) -> Tensor:
        """(L, D): text rows, visual tokens in place of their placeholders, and the gated keypoint
        features added to theirs. Raises InputError when counts differ."""
        prompt, device = spoken.prompt, self.trace_gate.device
        x = self.embed(torch.from_numpy(prompt.ids).to(device))
        visual_count = 0 if spoken.visual is None else len(spoken.visual)
        trace_count = 0 if spoken.trace is None else len(spoken.trace)
        slots = (len(prompt.visual_columns), len(prompt.trace_columns))
        if (visual_count, trace_count) != slots:
            raise InputError(
                f"{visual_count} visual tokens and {trace_count} keypoints for a prompt laid out "
                f"for {slots[0]} and {slots[1]}; lay it out with the same grids and keypoints"
            )
        if spoken.visual is not None:
            columns = torch.from_numpy(prompt.visual_columns).to(device)
            x = x.index_copy(0, columns, spoken.visual.to(x.dtype))
        if spoken.trace is not None:
            columns = torch.from_numpy(prompt.trace_columns).to(device)
            x = x.index_add(0, columns, (self.trace_gate * spoken.trace).to(x.dtype))
        return x

    def read(self, sequences: Sequence[Spoken]) -> Tensor:
        """Last hidden states (R, L, D), normed; shorter sequences are padded on the right, and
        what stands there means nothing."""
        rows = [self.embed_prompt(spoken) for spoken in sequences]
        length = max(len(row) for row in rows)
        places = torch.zeros(3, len(rows), length, dtype=torch.int64)
        for index, spoken in enumerate(sequences):
            ids = torch.from_numpy(spoken.prompt.position_ids)
            places[:, index, : ids.shape[1]] = ids
        x = nn.utils.rnn.pad_sequence(rows, batch_first=True)
        return self.think(x, places.to(x.device)).hidden

    def segment(
        self,
        encoded: Encoded,
        frame: Tensor,
        grounded: Grounded,
        trace: TraceBatch,
        seg_embeddings: Tensor,
        prior: Tensor | None = None,
    ) -> Tensor:
        """Mask logits (T, 4 rows, 4 columns), fp32; ``seg_embeddings`` (T, 6, D), ``prior``
        (T, 2 rows, 2 columns) the mask of a moment ago."""
        shallow = encoded.maps.shallow[frame]
        if prior is None:
            prior = shallow.new_zeros(len(frame), *shallow.shape[-2:])
        stroke = Stroke(trace.points, trace.pen_up, trace.valid)
        logits: Tensor = self.pixel_decoder(
            encoded.maps.deep[frame],
            shallow,
            grounded.enhanced.float(),
            Asked(grounded.trace, stroke, prior),
            seg_embeddings.float(),
            self.token_grid(encoded.grid),
        )
        return logits

    def token_grid(self, grid: Grid) -> tuple[int, int]:
        """(rows, columns) of merged tokens."""
        return grid.rows // self.config.vision.merge, grid.columns // self.config.vision.merge


def valid_keypoints(grounded: Grounded, valid: Tensor) -> Tensor:
    """(K, D): the features of the valid keypoints, row after row, as prompts place them."""
    return grounded.trace[valid > 0]
