"""Everything that a run of the paper's stages depends on; stored with each snapshot."""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from tracevlm_ros.core.errors import ConfigError
from tracevlm_ros.core.settings import from_mapping, require_choice, require_range
from training.data.messages import TRACE_FORMS
from training.data.packing import PackConfig
from training.data.templates import STAGE_1_ORDER, Task
from training.losses import LossConfig

PAPER_STAGES = ("1", "1.5", "2")
NANO_MODELS = ("nano", "tiny")
QWEN_MODELS = ("tiny-qwen", "qwen2.5-vl-3b", "qwen2.5-vl-7b")
STAGE_2_TASKS = (Task.INTERPRET, Task.GROUND, Task.ASK, Task.SEGMENT, Task.REFER_MASK)
PAPER_RATE = {"1": 4e-5, "1.5": 4e-5, "2": 2e-5}
FREE = ("steps", "save_every", "keep", "validation", "workers", "threads", "device", "tensorboard")
"""What may be another when a run is resumed."""
_AT_LEAST_ONE = {
    "steps": 100_000_000,
    "save_every": 100_000_000,
    "keep": 1000,
    "micro_batches": 65536,
    "rows": 4096,
    "threads": 1024,
}


@dataclass(frozen=True, kw_only=True, slots=True)
class ScheduleConfig:
    """AdamW at ``rate`` (0: the paper's of the stage): a rise over ``warmup_share`` of the steps,
    then half a cosine down to ``floor`` of the rate."""

    rate: float = 0.0
    warmup_share: float = 0.03
    floor: float = 0.0
    weight_decay: float = 0.0
    clip: float = 1.0
    betas: tuple[float, float] = (0.9, 0.95)

    def __post_init__(self) -> None:
        require_range("rate", self.rate, 0.0, 1.0)
        require_range("warmup_share", self.warmup_share, 0.0, 1.0)
        require_range("floor", self.floor, 0.0, 1.0)
        require_range("weight_decay", self.weight_decay, 0.0, 10.0)
        require_range("clip", self.clip, 1e-6, 1e6)

    def share_at(self, step: int, steps: int) -> float:
        """Share of the rate for ``step`` (from 0) in a run of ``steps``."""
        warmup = math.ceil(self.warmup_share * steps)
        if step < warmup:
            return (step + 1) / warmup
        done = (step - warmup) / max(1, steps - warmup)
        return self.floor + (1.0 - self.floor) * 0.5 * (1.0 + math.cos(math.pi * done))


@dataclass(frozen=True, kw_only=True, slots=True)
class ValidationConfig:
    """Held-out losses after step ``first`` (early, so that what is broken shows at once) and then
    ``every`` so many steps (0: never); ``answers`` are generated freely to count malformed ones."""

    first: int = 1
    every: int = 200
    rows: int = 4
    answers: int = 8
    data: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        require_range("first", self.first, 0, 100_000_000)
        require_range("every", self.every, 0, 100_000_000)
        require_range("rows", self.rows, 1, 100_000)
        require_range("answers", self.answers, 0, 100_000)
        object.__setattr__(self, "data", tuple(self.data))


@dataclass(frozen=True, kw_only=True, slots=True)
class StageConfig:
    """One stage. ``data`` names what is read (paths, ``synthetic:SEED:COUNT``).

    A step learns from ``micro_batches`` streams, ``rows`` packed rows of each, whatever the number
    of processes: these share the streams, so gradients are accumulated where there are fewer
    processes than streams. ``backbone`` is a Hugging Face folder of a Qwen model; without it the
    weights are random. ``weights`` is the type that the backbone is stored in, ``precision`` the
    one that it computes in. ``order``: tasks of a narrative in the paper's fixed order, or mixed.
    ``trace_form``: how the model is shown a trace (``data.trace_forms``; tvp is the method).
    ``checkpointing`` computes layers again for their gradients, with ``keep_products`` all but
    their matrix products. ``compile`` gives the layers to ``torch.compile``, which fuses what lies
    between products and keeps the products by itself.
    ``train_tvp`` lets stage 2 train TVP as well (paper 3.4; 4.1 trains the language model alone).
    """

    stage: str = "1"
    model: str = "nano"
    backbone: str = ""
    paper: bool = True
    seed: int = 1
    data: tuple[str, ...] = ("synthetic:0:20000",)
    exclude: str = ""
    order: str = "fixed"
    trace_form: str = "tvp"
    tasks: tuple[str, ...] = ()
    weights_by_words: bool = False
    max_pixels: int = 200_704
    train_tvp: bool = False
    steps: int = 1000
    micro_batches: int = 2
    rows: int = 1
    packing: PackConfig = field(default_factory=PackConfig)
    loss: LossConfig = field(default_factory=LossConfig)
    schedule: ScheduleConfig = field(default_factory=ScheduleConfig)
    precision: str = "fp32"
    weights: str = "fp32"
    checkpointing: bool = False
    keep_products: bool = False
    compile: bool = False
    save_every: int = 100
    keep: int = 2
    validation: ValidationConfig = field(default_factory=ValidationConfig)
    workers: bool = False
    threads: int = 1
    device: str = "auto"
    tensorboard: bool = True

    def __post_init__(self) -> None:
        require_choice("stage", self.stage, PAPER_STAGES)
        require_choice("model", self.model, (*NANO_MODELS, *QWEN_MODELS))
        require_choice("order", self.order, ("fixed", "random"))
        require_choice("trace_form", self.trace_form, TRACE_FORMS)
        require_choice("precision", self.precision, ("fp32", "bf16"))
        require_choice("weights", self.weights, ("fp32", "bf16"))
        require_choice("device", self.device, ("auto", "cpu", "cuda"))
        for name, high in _AT_LEAST_ONE.items():
            require_range(name, getattr(self, name), 1, high)
        require_range("max_pixels", self.max_pixels, 28 * 28, 1 << 28)
        if self.keep_products and not self.checkpointing:
            raise ConfigError("keep_products is on and checkpointing off; switch both on")
        if self.compile and self.keep_products:
            raise ConfigError("compile keeps products by itself; switch keep_products off")
        if self.backbone and self.model in NANO_MODELS:
            raise ConfigError(
                f"backbone is '{self.backbone}'; {self.model} takes none, name a Qwen"
            )
        for name in ("data", "tasks"):
            object.__setattr__(self, name, tuple(getattr(self, name)))
        for task in self.tasks:
            require_choice("tasks", task, tuple(task.value for task in Task))
        if not self.data:
            raise ConfigError("data is empty; name at least one data set, or synthetic:0:20000")

    @property
    def is_qwen(self) -> bool:
        return self.model in QWEN_MODELS

    @property
    def rate(self) -> float:
        return self.schedule.rate or PAPER_RATE[self.stage]

    def stage_tasks(self) -> tuple[str, ...]:
        """What is learned, in order: ``tasks``, or those of the stage (METHOD, training)."""
        if self.tasks:
            return self.tasks
        of_stage = {"1": STAGE_1_ORDER, "1.5": tuple(Task), "2": STAGE_2_TASKS}[self.stage]
        return tuple(task.value for task in of_stage)

    def as_mapping(self) -> dict[str, Any]:
        return asdict(self)

    def fixed(self) -> dict[str, Any]:
        """What has to be the same when a run is resumed, as JSON holds it."""
        return {key: _plain(value) for key, value in asdict(self).items() if key not in FREE}

    @classmethod
    def of_mapping(cls, values: Mapping[str, Any]) -> "StageConfig":
        return from_mapping(cls, values)


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, tuple | list) else value
