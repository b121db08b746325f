"""What the nano network's modules gave before the Qwen backbones shared them.

``python -m tests.training.nano_reference`` writes ``nano_reference.npz`` anew: only do that when
the nano network is meant to change, since checkpoints of it then change too.
"""

from pathlib import Path

import numpy as np
import torch

from tests.training.tiny import random_traces, tiny_model
from training.model.config import ModelConfig, paper_mode, tiny
from training.model.tracevlm import NO_SLOT, PromptBatch, TraceVLM

PATH = Path(__file__).with_name("nano_reference.npz")


def configs() -> dict[str, ModelConfig]:
    return {"options": tiny(), "paper": paper_mode(tiny())}


def filled_model(config: ModelConfig) -> TraceVLM:
    """A tiny network whose weights follow from their order alone, whatever torch's generator;
    without the map of words, which stands beside it."""
    model = tiny_model(config).eval()
    model.word_map = None
    with torch.no_grad():
        for number, parameter in enumerate(model.parameters()):
            steps = torch.arange(parameter.numel(), dtype=torch.float64)
            values = 0.15 * torch.sin(0.7 * steps + number) + (0.5 if parameter.ndim == 1 else 0.0)
            parameter.copy_(values.reshape(parameter.shape).to(parameter.dtype))
    return model


def shapes(model: TraceVLM) -> list[str]:
    return [f"{name} {tuple(value.shape)}" for name, value in model.state_dict().items()]


@torch.no_grad()
def outputs(model: TraceVLM) -> dict[str, np.ndarray]:
    """Every stage of the network on fixed inputs, each cut to a few hundred numbers."""
    ramp = torch.arange(64 * 64 * 3) * 7919 % 256
    features = model.encode(ramp.reshape(1, 64, 64, 3).to(torch.uint8))
    trace = random_traces(2, 6, 4)
    grounded = model.ground(features.tokens.expand(2, -1, -1), trace)
    ids = torch.arange(2 * 14).reshape(2, 14) * 37 % 2048
    slots = torch.full((2, 14), NO_SLOT)
    slots[0, 7:11], slots[1, 7:10] = torch.arange(4), torch.arange(3)
    none = torch.zeros(0, dtype=torch.int64)
    places = torch.arange(14).expand(3, 2, 14)
    hidden = model.read(
        grounded, PromptBatch(ids, places, torch.tensor([0, 1]), none, slots), features.tokens
    )
    first = model.model(hidden[:, :9], places[:, :, :9])
    second = model.model(hidden[:, 9:], places[:, :, 9:], (first.keys, first.values))
    masks = model.segment(features, torch.tensor([0, 0]), grounded, trace, hidden[:, -6:])
    found = {
        "tokens": features.tokens, "deep": features.deep, "shallow": features.shallow,
        "enhanced": grounded.enhanced, "trace": grounded.trace, "hidden": hidden,
        "decoded": second.hidden, "keys": second.keys, "logits": model.model.logits(hidden),
        "masks": masks,
    }  # fmt: skip
    return {name: value.flatten()[:: max(1, value.numel() // 300)].numpy()
            for name, value in found.items()}  # fmt: skip


def main() -> None:
    torch.set_num_threads(1)
    saved: dict[str, np.ndarray] = {}
    for name, config in configs().items():
        model = filled_model(config)
        saved[f"{name}.shapes"] = np.array(shapes(model))
        saved |= {f"{name}.{key}": value for key, value in outputs(model).items()}
    np.savez_compressed(PATH, **saved)


if __name__ == "__main__":
    main()
