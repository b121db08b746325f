"""Everything a training run depends on; stored with each checkpoint and compared on resuming."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from tracevlm_ros.core.errors import ConfigError
from tracevlm_ros.core.settings import from_mapping, require_choice, require_range
from training.data.stream import DataConfig
from training.losses import LossConfig
from training.model.config import ModelConfig, nano, paper_mode, tiny

STAGES: dict[str, tuple[str, ...]] = {
    "vision": ("visual", "patch_heads"),
    "grounding": ("visual", "patch_heads", "tvp", "trace_heads", "pixel_decoder"),
    "joint": ("visual", "patch_heads", "tvp", "trace_heads", "model", "pixel_decoder"),
    "language": ("model",),
    "words": ("word_map",),
}
"""What each stage trains, by the first name of the parameter; everything else is frozen."""


@dataclass(frozen=True, kw_only=True, slots=True)
class OptimiserConfig:
    """AdamW, and Muon at ``muon_scale`` times the rate for the matrices inside (``optimisers``).

    The rate warms up over ``warmup`` steps, stays, and falls to ``floor`` of itself over the last
    ``decay`` steps. So a run can be prolonged from any checkpoint before the fall. Where a run has
    a limited time, the rate falls with that, too, from its beginning.
    """

    rate: float = 1e-3
    warmup: int = 200
    decay: int = 500
    floor: float = 0.05
    weight_decay: float = 0.05
    clip: float = 1.0
    muon: bool = True
    muon_scale: float = 2.0

    def __post_init__(self) -> None:
        require_range("rate", self.rate, 0.0, 1.0)
        require_range("warmup", self.warmup, 0, 10_000_000)
        require_range("decay", self.decay, 0, 10_000_000)
        require_range("floor", self.floor, 0.0, 1.0)
        require_range("weight_decay", self.weight_decay, 0.0, 10.0)
        require_range("clip", self.clip, 0.0, 1e6)
        require_range("muon_scale", self.muon_scale, 0.0, 100.0)

    def rate_at(self, step: int, steps: int, time_left: float = 1.0) -> float:
        """Learning rate of ``step`` (from 0) in a run of ``steps``, of whose time the share
        ``time_left`` is left."""
        rise = min(1.0, (step + 1) / max(1, self.warmup))
        left = min(time_left, (steps - step) / max(1, self.decay))
        fall = self.floor + (1.0 - self.floor) * min(1.0, left)
        return self.rate * rise * fall


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainConfig:
    """``model`` is a preset; ``paper`` switches off what the paper does not have (ADR 0007).

    ``seconds`` above 0 ends the run after that long, over all its pieces, before ``steps`` if need
    be. ``threads`` 0: as many as processors are idle at each
    step; results then differ in the last bits from run to run. ``precision`` bf16 computes in it
    where PyTorch's autocast does; weights stay fp32. ``device`` cpu, cuda, or auto: a GPU where
    there is one. ``loaders`` processes draw batches ahead of the training (0: it does so itself).
    ``recorded`` replays the step as CUDA graphs, which needs batches of one size
    (``data.room_tokens``) and a GPU.
    """

    stage: str = "joint"
    model: str = "nano"
    paper: bool = False
    seed: int = 1
    steps: int = 2000
    seconds: float = 0.0
    save_every: int = 100
    evaluate_every: int = 400
    threads: int = 2
    precision: str = "fp32"
    device: str = "cpu"
    loaders: int = 0
    recorded: bool = False
    data: DataConfig = field(default_factory=DataConfig)
    loss: LossConfig = field(default_factory=LossConfig)
    optimiser: OptimiserConfig = field(default_factory=OptimiserConfig)

    def __post_init__(self) -> None:
        require_choice("stage", self.stage, tuple(STAGES))
        require_choice("model", self.model, ("nano", "tiny"))
        require_range("steps", self.steps, 1, 100_000_000)
        require_range("seconds", self.seconds, 0.0, 1e9)
        require_range("save_every", self.save_every, 1, 100_000_000)
        require_range("evaluate_every", self.evaluate_every, 0, 100_000_000)
        require_choice("precision", self.precision, ("fp32", "bf16"))
        require_choice("device", self.device, ("cpu", "cuda", "auto"))
        require_range("loaders", self.loaders, 0, 64)
        require_range("threads", self.threads, 0, 1024)
        if self.recorded and (self.device == "cpu" or not self.data.room_tokens):
            raise ConfigError(
                "recorded is for a GPU and batches of one size; set device to cuda and "
                "data.room_tokens to the tokens of the longest sequence, or recorded to false"
            )

    def model_config(self) -> ModelConfig:
        preset = nano() if self.model == "nano" else tiny()
        return paper_mode(preset) if self.paper else preset

    def as_mapping(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def of_mapping(cls, values: Mapping[str, Any]) -> "TrainConfig":
        return from_mapping(cls, values)
