"""The contract's graphs for a Qwen backbone, at one picture size.

Inputs and outputs are those of ``engine.contract``. One thing the host does differently: the
prompt's keypoint rows are not the trace features themselves but the row of ``<|traj_pad|>`` plus
``trace_gate`` x feature, see ``keypoint_rows``.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from engine.contract import GRAPHS, PRIMITIVE, TRACK
from engine.export.language_graphs import language_graph
from engine.export.track_graph import TrackGraph
from tracevlm_ros.core.errors import EngineMismatch
from training.model.config import QwenConfig
from training.model.pixel_decoder import Asked
from training.model.qwen.layout import Grid, all_places, frame_layout, window_layout
from training.model.qwen.network import TraceQwen
from training.model.qwen.patches import cut_still
from training.model.trace_cues import Stroke
from training.model.trace_embedding import TraceBatch
from training.model.tvp import grid_centres
from training.model.vision import VisionFeatures, normalise


def still_grid(config: QwenConfig, height: int, width: int) -> Grid:
    """Patches of a still; EngineMismatch unless both sides are whole merged patches."""
    factor = config.vision.patch_size * config.vision.merge
    if min(height, width) < factor or height % factor or width % factor:
        raise EngineMismatch(
            f"picture size is {height} x {width}; both sides must be multiples of {factor}"
        )
    return Grid(1, height // config.vision.patch_size, width // config.vision.patch_size)


def qwen_sizes(config: QwenConfig, grid: Grid) -> dict[str, int]:
    """Every symbol of the contract that config and picture size fix."""
    vision, language = config.vision, config.language
    return {
        "H": grid.rows * vision.patch_size,
        "W": grid.columns * vision.patch_size,
        "N": grid.patches() // vision.merge**2,
        "D": language.width,
        "K": config.tvp.max_keypoints,
        "vocab": language.vocab,
        "layers": language.depth,
        "kv_heads": language.kv_heads,
        "head_dim": language.head_dim,
        "C_deep": vision.width,
        "h_deep": grid.rows,
        "w_deep": grid.columns,
        "C_shallow": vision.shallow_channels,
        "h_shallow": 2 * grid.rows,
        "w_shallow": 2 * grid.columns,
        "h_mask": 4 * grid.rows,
        "w_mask": 4 * grid.columns,
    }


def keypoint_rows(model: TraceQwen, trace_tokens: Tensor) -> Tensor:
    """Prompt rows (K, D) of valid keypoints' features (K, D); what a host computes."""
    pad = model.embed(torch.tensor([model.config.tokens.traj_pad], device=trace_tokens.device))
    return pad.float() + model.trace_gate * trace_tokens


class QwenVisionGraph(nn.Module):
    """Window indices are made before tracing, so that they are constants of the graph."""

    def __init__(self, model: TraceQwen, grid: Grid) -> None:
        super().__init__()
        self.model, self.grid = model, grid
        vision = model.config.vision
        window_layout((grid,), vision)
        frame_layout((grid,))
        all_places((grid,), vision.merge)

    def forward(self, image: Tensor) -> VisionFeatures:
        """(1, H, W, 3) uint8 -> the contract's ``vision`` outputs."""
        encoded = self.model.encode(
            [cut_still(normalise(image.float()), self.model.config.vision)]
        )[0]
        return VisionFeatures(encoded.tokens.float(), *encoded.maps)


class QwenTVPGraph(nn.Module):
    """T traces over one still; a trace without a valid keypoint changes nothing."""

    def __init__(self, model: TraceQwen, grid: Grid) -> None:
        super().__init__()
        self.tvp = model.tvp
        self.rows, self.columns = model.token_grid(grid)

    def forward(
        self, tokens: Tensor, points: Tensor, dt_s: Tensor, pen_up: Tensor, valid: Tensor
    ) -> tuple[Tensor, Tensor]:
        visual = tokens.expand(points.shape[0], -1, -1)
        trace = TraceBatch(points, dt_s, pen_up, valid)
        enhanced, refined = self.tvp(visual, trace, grid_centres(self.rows, self.columns))
        drawn = (valid > 0).any(1)[:, None, None]
        return torch.where(drawn, enhanced, visual), refined


class QwenMaskGraph(nn.Module):
    def __init__(self, model: TraceQwen, grid: Grid) -> None:
        super().__init__()
        self.pixel_decoder = model.pixel_decoder
        self.token_grid = model.token_grid(grid)

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
        logits: Tensor = self.pixel_decoder(
            deep, shallow, enhanced, asked, seg_embeddings, self.token_grid
        )
        return logits


_OWN: dict[str, Callable[[TraceQwen, Grid], nn.Module]] = {
    "vision": QwenVisionGraph,
    "tvp": QwenTVPGraph,
    "mask": QwenMaskGraph,
}


def qwen_graph(
    name: str, model: TraceQwen, grid: Grid, flavour: str = PRIMITIVE, joint: bool = False
) -> nn.Module:
    """The module of graph ``name``; EngineMismatch where the model cannot be exported.

    Exported attention is of primitive operations: load the model with ``fused_attention`` off.
    """
    if name not in (*GRAPHS, TRACK):
        known = ", ".join((*GRAPHS, TRACK))
        raise EngineMismatch(f"graph '{name}' is not of {known}; give one of them")
    if model.config.language.fused_attention:
        raise EngineMismatch(
            "the model has fused_attention on; load it with a config that has it off to export"
        )
    if name == TRACK:
        return TrackGraph().eval()
    if name in _OWN:
        return _OWN[name](model, grid).eval()
    language, head = model.model.language_model, model.lm_head
    return language_graph(name, flavour, language, head, joint).eval()


_PREFIXES = {
    "vision": {"model.": ""},
    "prefill": {"language.": "model.language_model.", "head.": "lm_head."},
    "decode": {"language.": "model.language_model.", "head.": "lm_head."},
}


def network_name(graph: str, name: str) -> str:
    """The name in ``TraceQwen`` of what graph ``graph`` calls ``name``."""
    for own, full in _PREFIXES.get(graph, {}).items():
        if name.startswith(own):
            return full + name.removeprefix(own)
    return name
