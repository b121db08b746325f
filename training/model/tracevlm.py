"""The whole network: vision encoder, TVP, language model, codebook, pixel decoder."""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from training.model.config import ModelConfig
from training.model.language import LanguageModel
from training.model.patch_heads import PatchHeads, TraceHeads
from training.model.pixel_decoder import Asked, FeatureSizes, PixelDecoder
from training.model.trace_cues import Stroke
from training.model.trace_embedding import TraceBatch
from training.model.tvp import TVP, Grounded
from training.model.vision import VisionEncoder, VisionFeatures, normalise
from training.model.word_map import WordMap

NO_SLOT = -1


class PromptBatch(NamedTuple):
    """R = S + U sequences of prompt and answer, padded on the right to L.

    ``ids`` (R, L) with image and trajectory placeholders, ``position_ids`` (3, R, L);
    ``trace_index`` (S,) which trace each of the first S is about, ``image_index`` (U,) the image of
    each of the others, which have no trace. Image tokens start at column 1; ``slots`` (R, L) is the
    keypoint whose token stands there, ``NO_SLOT`` where none does.
    """

    ids: Tensor
    position_ids: Tensor
    trace_index: Tensor
    image_index: Tensor
    slots: Tensor


class TraceVLM(nn.Module):
    """``patch_classes``: label groups of the auxiliary heads, which the graphs do not need.
    ``word_map`` is None in the paper's mode and in checkpoints that did not teach it."""

    def __init__(self, config: ModelConfig, patch_classes: dict[str, int] | None = None) -> None:
        super().__init__()
        self.config = config
        width = config.language.width
        vision = config.vision
        self.visual = VisionEncoder(vision, width)
        self.tvp = TVP(config.tvp, width, vision.merged_grid)
        self.model = LanguageModel(config.language)
        self.pixel_decoder = PixelDecoder(
            config.decoder,
            width,
            FeatureSizes(
                vision.width,
                vision.shallow_width,
                vision.grid,
                vision.merge,
                vision.detail_channels,
            ),
        )
        self.patch_heads = PatchHeads(vision.width, patch_classes or {})
        self.trace_heads = TraceHeads(width, patch_classes or {})
        self.word_map = (
            WordMap(config.words, config.language.vocab, vision.width, vision.shallow_width)
            if config.words.blocks
            else None
        )

    def encode(self, image: Tensor) -> VisionFeatures:
        """``image`` (B, H, W, 3), 0..255."""
        features: VisionFeatures = self.visual(normalise(image))
        return features

    def ground(self, tokens: Tensor, trace: TraceBatch) -> Grounded:
        """TVP: ``tokens`` (T, N, D), already repeated to one row per trace."""
        grounded: Grounded = self.tvp(tokens, trace)
        return grounded

    def read(self, grounded: Grounded, prompt: PromptBatch, tokens: Tensor) -> Tensor:
        """Last hidden states (R, L, D) of the sequences in ``prompt``.

        ``tokens`` (B, N, D) are those of the images, for sequences without a trace.
        """
        x = self.model.embed_tokens(prompt.ids)
        visual = torch.cat([grounded.enhanced[prompt.trace_index], tokens[prompt.image_index]])
        x = torch.cat([x[:, :1], visual, x[:, 1 + visual.shape[1] :]], dim=1)
        trace = grounded.trace[prompt.trace_index]
        none = trace.new_zeros(len(prompt.image_index), *trace.shape[1:])
        places = prompt.slots.clamp(min=0)[..., None].expand(-1, -1, trace.shape[-1])
        keypoints = torch.cat([trace, none]).gather(1, places)
        x = torch.where((prompt.slots != NO_SLOT)[..., None], keypoints, x)
        hidden: Tensor = self.model(x, prompt.position_ids).hidden
        return hidden

    def segment(
        self,
        features: VisionFeatures,
        image_index: Tensor,
        grounded: Grounded,
        trace: TraceBatch,
        seg_embeddings: Tensor,
        prior: Tensor | None = None,
    ) -> Tensor:
        """Mask logits (T, h, w); ``image_index`` (T,) is the frame of each trace.

        ``prior`` (T, h / 2, w / 2) is the mask of a moment ago, 0..1, see ``Asked``.
        """
        if prior is None:
            prior = features.shallow.new_zeros(len(image_index), *features.shallow.shape[-2:])
        stroke = Stroke(trace.points, trace.pen_up, trace.valid)
        logits: Tensor = self.pixel_decoder(
            features.deep[image_index],
            features.shallow[image_index],
            grounded.enhanced,
            Asked(grounded.trace, stroke, prior),
            seg_embeddings,
        )
        return logits
