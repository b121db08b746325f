"""The nano network's graphs as modules: inputs and outputs exactly as ``engine.contract``."""

import copy

import torch
from torch import Tensor, nn

from engine.contract import PRIMITIVE, TRACK, WORDS
from engine.export.language_graphs import language_graph
from engine.export.track_graph import TrackGraph
from engine.export.weight_types import set_weight_type
from training.model.pixel_decoder import Asked
from training.model.trace_cues import Stroke
from training.model.trace_embedding import TraceBatch
from training.model.tracevlm import TraceVLM
from training.model.vision import VisionFeatures, normalise


class VisionGraph(nn.Module):
    """Floats from the start: TensorRT moves no uint8 about, it only casts it."""

    def __init__(self, model: TraceVLM) -> None:
        super().__init__()
        self.visual = model.visual
        self.dtype = next(model.visual.parameters()).dtype

    def forward(self, image: Tensor) -> VisionFeatures:
        features = self.visual(normalise(image.float()).to(self.dtype))
        return VisionFeatures(*(feature.float() for feature in features))


class TVPGraph(nn.Module):
    """Shares the visual tokens of one frame (1, N, D) over its T traces."""

    def __init__(self, model: TraceVLM) -> None:
        super().__init__()
        self.tvp = model.tvp

    def forward(
        self, tokens: Tensor, points: Tensor, dt_s: Tensor, pen_up: Tensor, valid: Tensor
    ) -> tuple[Tensor, Tensor]:
        trace = TraceBatch(points, dt_s, pen_up, valid)
        enhanced, refined = self.tvp(tokens.expand(points.shape[0], -1, -1), trace)
        return enhanced, refined


class MaskGraph(nn.Module):
    def __init__(self, model: TraceVLM) -> None:
        super().__init__()
        self.pixel_decoder = model.pixel_decoder

    def forward(
        self,
        deep: Tensor,
        shallow: Tensor,
        enhanced: Tensor,
        trace_tokens: Tensor,
        points: Tensor,
        pen_up: Tensor,
        valid: Tensor,
        prior: Tensor,
        seg_embeddings: Tensor,
    ) -> Tensor:
        asked = Asked(trace_tokens, Stroke(points, pen_up, valid), prior)
        logits: Tensor = self.pixel_decoder(deep, shallow, enhanced, asked, seg_embeddings)
        return logits


_OWN: dict[str, type[nn.Module]] = {"vision": VisionGraph, "tvp": TVPGraph, "mask": MaskGraph}


def nano_graph(
    name: str, model: TraceVLM, flavour: str = PRIMITIVE, joint: bool = False
) -> nn.Module:
    """The module of graph ``name``, in the types of ``model``'s weights."""
    if name == TRACK:
        return TrackGraph().eval()
    if name == WORDS:
        assert model.word_map is not None
        return model.word_map.eval()
    if name in _OWN:
        return _OWN[name](model).eval()
    return language_graph(name, flavour, model.model, joint=joint).eval()


def in_precision(model: TraceVLM, dtype: torch.dtype) -> TraceVLM:
    """A copy whose encoder and language model compute in ``dtype``; TVP and pixel decoder stay
    fp32, their Fourier codes need the digits."""
    twin = copy.deepcopy(model)
    set_weight_type(twin.visual, dtype)
    set_weight_type(twin.model, dtype)
    return twin
