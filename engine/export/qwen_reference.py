"""The whole network of a Qwen folder in fp32, as a back end to compare exports with."""

from pathlib import Path

import torch

from engine.contract import graph_specs
from engine.export.qwen_graphs import qwen_graph, still_grid
from engine.export.qwen_network import exportable
from engine.export.qwen_weights import grafted_parts
from engine.export.torch_backend import TorchBackend
from training.model.config import QwenConfig
from training.model.qwen.loading import load_backbone


def qwen_reference(folder: Path, config: QwenConfig, picture_hw: tuple[int, int]) -> TorchBackend:
    """Holds all weights in fp32: four bytes each."""
    model = grafted_parts(exportable(config), folder)
    load_backbone(model, folder, torch.float32)
    grid = still_grid(config, *picture_hw)
    specs = graph_specs(track=True)
    return TorchBackend({name: qwen_graph(name, model, grid) for name in specs}, specs)
