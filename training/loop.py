"""The training loop: resumable at any step, losses apart, stops cleanly on SIGTERM."""

import copy
import json
import math
import signal
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from types import FrameType
from typing import Any

import torch
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from tracevlm_ros.core.errors import ConfigError
from training.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from training.data.sample import PATCH_CLASSES
from training.data.stream import Stream
from training.devices import repeat_exactly, to_device, training_device
from training.model.config import ModelConfig
from training.model.tracevlm import TraceVLM
from training.optimisers import Optimisers
from training.prefetch import Batches
from training.processors import idle_processors
from training.recorded import RecordedStep
from training.settings import STAGES, TrainConfig
from training.steps import (
    Terms,
    grounding_terms,
    joint_terms,
    total,
    vision_terms,
    word_terms,
)
from training.tokenizer import load_tokenizer, prompt_layout

CHECKPOINT_NAME = "checkpoint.pt"
LOG_NAME = "log.jsonl"
BACKGROUND_WEIGHT = 0.15
LOG_EVERY = 10
_MAY_DIFFER = (
    "steps", "save_every", "evaluate_every", "seconds", "threads", "loaders", "device", "recorded",
)  # fmt: skip
"""Settings that a run may be resumed with others of."""
_GPU_ATTENTION = (SDPBackend.FLASH_ATTENTION, SDPBackend.EFFICIENT_ATTENTION, SDPBackend.MATH)


def freeze_for(stage: str, model: nn.Module) -> int:
    """Freeze every parameter that ``stage`` does not train; returns how many numbers train."""
    trained = STAGES[stage]
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(name.split(".")[0] in trained)
    return sum(p.numel() for p in model.parameters() if p.requires_grad)


def set_training(stage: str, model: nn.Module) -> None:
    """Training mode for what ``stage`` trains; what is frozen keeps its running statistics too."""
    for name, part in model.named_children():
        part.train(name in STAGES[stage])


def load_initial(model: nn.Module, weights: Mapping[str, torch.Tensor]) -> str:
    """Weights of another stage where name and shape agree; says what begins anew."""
    own = model.state_dict()
    fitting = {
        name: value
        for name, value in weights.items()
        if name in own and own[name].shape == value.shape
    }
    model.load_state_dict(fitting, strict=False)
    anew = sorted({".".join(name.split(".")[:2]) for name in own if name not in fitting})
    return f"{len(fitting)} of {len(own)} tensors from the checkpoint; anew: {anew or 'none'}"


class Trainer:
    """A run in ``folder``. ``initial`` gives weights to start from (another stage's checkpoint)."""

    def __init__(
        self,
        config: TrainConfig,
        folder: Path,
        initial: Path | None = None,
        say: Callable[[str], None] = print,
    ) -> None:
        torch.set_num_threads(config.threads or 1)
        torch.manual_seed(config.seed)
        self.device = training_device(config.device)
        repeat_exactly(self.device, required=not config.recorded)
        self.config, self.folder, self._say = config, folder, say
        self.tokenizer = load_tokenizer()
        self.model = TraceVLM(self._model_config(), PATCH_CLASSES).to(self.device)
        self.layout = prompt_layout(self.tokenizer, self.model.config.vision.merged_grid)
        self.stream = Stream(
            config.data, self.model.config, self.tokenizer, self.layout, config.seed
        )
        self._weights = self._class_weights()
        draws = {"vision": self.stream.vision, "words": self.stream.words}
        draw = draws.get(config.stage, self.stream.joint)
        self._batches = Batches(draw, config.steps, config.loaders, self.device.type == "cuda")
        trained = freeze_for(config.stage, self.model)
        set_training(config.stage, self.model)
        self.optimiser = Optimisers(self.model, config.optimiser)
        self._recorded = self._record() if config.recorded else None
        self.step, self._seconds = 0, 0.0
        self._history: list[dict[str, Any]] = []
        self._earlier: list[dict[str, Any]] = []
        self._stop = False
        folder.mkdir(parents=True, exist_ok=True)
        if (folder / CHECKPOINT_NAME).exists():
            self._resume(load_checkpoint(folder / CHECKPOINT_NAME))
        elif initial is not None:
            before = load_checkpoint(initial)
            self._earlier = [*before.earlier, before.summary()]
            say(load_initial(self.model, before.weights))
        say(f"{config.stage}: {trained:,} parameters train, step {self.step} of {config.steps}")

    def run(self, until: int | None = None) -> None:
        """Train to ``until`` (default: the configured steps); SIGTERM or SIGINT saves and stops."""
        last = self.config.steps if until is None else min(until, self.config.steps)
        previous = {
            s: signal.signal(s, self._request_stop) for s in (signal.SIGTERM, signal.SIGINT)
        }
        started, first, saved_seconds = time.monotonic(), self.step, self._seconds
        try:
            while self.step < last and not self._stop and not self._is_time_up():
                record = self._train_one()
                self._seconds = saved_seconds + time.monotonic() - started
                if record is not None:
                    self._log(record, (time.monotonic() - started) / (self.step - first))
                if self.step % self.config.save_every == 0:
                    self.save()
                every = self.config.evaluate_every
                speaks = "model" in STAGES[self.config.stage]
                if every and speaks and self.step % every == 0:
                    self._evaluate()
        finally:
            self._batches.close()
            for number, handler in previous.items():
                signal.signal(number, handler)
            self.save()

    def save(self) -> None:
        save_checkpoint(
            self.folder / CHECKPOINT_NAME,
            Checkpoint(
                config=self.config.as_mapping(),
                step=self.step,
                seconds=self._seconds,
                weights=self.model.state_dict(),
                optimiser=self.optimiser.state_dict(),
                random_state=torch.get_rng_state(),
                history=self._history,
                earlier=self._earlier,
            ),
        )

    def _train_one(self) -> dict[str, float] | None:
        """What is logged of the step; None for most of the steps that are replayed, since asking
        waits for the GPU."""
        config = self.config.optimiser
        if self.config.threads == 0:
            torch.set_num_threads(idle_processors())
        rate = config.rate_at(self.step, self.config.steps, self._time_left())
        if self._recorded is not None:
            self._recorded.run(self._batches.of_step(self.step), rate)
            terms, norm = self._recorded.terms, self._recorded.norm
        else:
            terms, norm = self._stepped(rate)
        self.step += 1
        if self._recorded is not None and self.step % LOG_EVERY and self.step != self.config.steps:
            return None
        named = {name: float(term.detach()) for name, term in terms.items()}
        if not math.isfinite(sum(named.values())):
            raise ConfigError(f"loss is {named} at step {self.step - 1}; lower rate {rate:.2g}")
        return {"step": self.step, "rate": rate, "norm": float(norm), **named}

    def _time_left(self) -> float:
        """Share of the time that the run may take, 1 where it takes as long as it takes."""
        seconds = self.config.seconds
        return max(0.0, 1.0 - self._seconds / seconds) if seconds else 1.0

    def _is_time_up(self) -> bool:
        return self._time_left() == 0.0

    def _stepped(self, rate: float) -> tuple[Terms, torch.Tensor]:
        terms = self._terms(to_device(self._batches.of_step(self.step), self.device))
        loss = total(terms)
        if not torch.isfinite(loss):
            raise ConfigError(f"loss is {loss.item()} at step {self.step}; lower rate {rate:.2g}")
        loss.backward()  # type: ignore[no-untyped-call]
        norm = nn.utils.clip_grad_norm_(self._trained(), self.config.optimiser.clip)
        self.optimiser.step(rate)
        return terms, norm

    def _trained(self) -> list[nn.Parameter]:
        return [p for p in self.model.parameters() if p.requires_grad]

    def _record(self) -> RecordedStep:
        if self.device.type != "cuda":
            raise ConfigError("recorded needs a GPU and PyTorch sees none; set recorded to false")
        config = self.config.optimiser
        return RecordedStep(
            self._terms, self._trained(), self.optimiser, config.clip, config.warmup
        )

    def _terms(self, batch: Any) -> Terms:
        half = self.config.precision == "bf16"
        kind = self.device.type
        # The CPU's fused attention made the encoder take 78 ms an image there and back, not 58.
        kernels = [SDPBackend.MATH] if kind == "cpu" else list(_GPU_ATTENTION)
        with torch.autocast(kind, torch.bfloat16, half), sdpa_kernel(kernels):
            if self.config.stage == "vision":
                image, labels = batch
                return vision_terms(self.model, image, labels, self._weights)
            if self.config.stage == "words":
                return word_terms(self.model, batch)
            terms = grounding_terms if self.config.stage == "grounding" else joint_terms
            return terms(self.model, batch, self.config.loss, self._weights)

    def _model_config(self) -> ModelConfig:
        """On a GPU with the fused attention, which exported graphs do without."""
        config = self.config.model_config()
        if self.device.type == "cpu":
            return config
        return replace(config, language=replace(config.language, fused_attention=True))

    def _class_weights(self) -> dict[str, torch.Tensor]:
        shape = torch.ones(PATCH_CLASSES["shape"])
        shape[0] = BACKGROUND_WEIGHT
        weights = {"shape": shape, "category": self.stream.category_weights()}
        return {name: weight.to(self.device) for name, weight in weights.items()}

    def _resume(self, checkpoint: Checkpoint) -> None:
        stored, mine = dict(checkpoint.config), self.config.as_mapping()
        for free in _MAY_DIFFER:
            stored.pop(free, None)
            mine.pop(free, None)
        differing = [key for key in mine if stored.get(key) != _plain(mine[key])]
        if differing:
            key = differing[0]
            raise ConfigError(
                f"checkpoint in {self.folder} has {key}={stored.get(key)!r}, asked is "
                f"{mine[key]!r}; use another --out or the same settings"
            )
        self.model.load_state_dict(checkpoint.weights)
        self.optimiser.load_state_dict(checkpoint.optimiser)
        torch.set_rng_state(checkpoint.random_state)
        self.step, self._seconds = checkpoint.step, checkpoint.seconds
        self._history, self._earlier = checkpoint.history, list(checkpoint.earlier)

    def _evaluate(self) -> None:
        from training.evaluation import Judge, evaluate_synthetic

        # Generation, with its many small steps, runs on the CPU.
        model = copy.deepcopy(self.model).cpu().eval()
        scores = evaluate_synthetic(Judge(model, self.tokenizer, self.layout), scenes=25)
        record = {"step": self.step, "evaluation": scores.as_mapping()}
        self._history.append(record)
        self._write(record)
        self._say(f"step {self.step} held out: {scores.as_line()}")

    def _log(self, record: dict[str, float], step_s: float) -> None:
        self._write({**record, "seconds": round(self._seconds, 1)})
        if self.step % LOG_EVERY and self.step != self.config.steps:
            return
        left_min = (self.config.steps - self.step) * step_s / 60.0
        terms = " ".join(
            f"{name} {record[name]:.3f}"
            for name in ("text", "told", "ref", "dice", "patch", "trace")
            if name in record
        )
        self._say(f"step {self.step} {terms} | {step_s:.2f} s/step, {left_min:.0f} min left")

    def _write(self, record: dict[str, Any]) -> None:
        with (self.folder / LOG_NAME).open("a", encoding="utf-8") as file:
            file.write(json.dumps(record) + "\n")

    def _request_stop(self, number: int, _: FrameType | None) -> None:
        self._say(f"signal {number}: saving after this step")
        self._stop = True


def _plain(value: Any) -> Any:
    """Tuples as the lists that a checkpoint may hold."""
    return list(value) if isinstance(value, tuple) else value
