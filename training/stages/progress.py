"""What a run says while it runs: a line, ``log.jsonl``, and TensorBoard where it is installed."""

import json
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

LOG_NAME = "log.jsonl"
TENSORBOARD_FOLDER = "tensorboard"
_EVERY = 10


class Progress:
    """Records of one process; only the first speaks and writes (``active``)."""

    def __init__(
        self, folder: Path, steps: int, say: Callable[[str], None], active: bool, tensorboard: bool
    ) -> None:
        self._folder, self._steps, self._active = folder, steps, active
        self._say = say
        self._board = _board(folder, say) if active and tensorboard else None
        self._started = time.monotonic()
        self._first: int | None = None

    def say(self, line: str) -> None:
        if self._active:
            self._say(line)

    def step(self, record: Mapping[str, float]) -> None:
        """One training step; ``record`` holds ``step`` and plain numbers."""
        number = int(record["step"])
        if self._first is None:
            self._first, self._started = number - 1, time.monotonic() - record["step_s"]
        self._write("train", number, record)
        if not self._active or (number % _EVERY and number not in (self._first + 1, self._steps)):
            return
        step_s = (time.monotonic() - self._started) / (number - self._first)
        left = (self._steps - number) * step_s
        terms = " ".join(f"{name} {record[name]:.3f}" for name in ("text", "ref", "dice"))
        self._say(
            f"step {number}/{self._steps} {terms} | {step_s:.2f} s/step, waiting "
            f"{record['wait_s'] / max(record['step_s'], 1e-9):.0%}, "
            f"{record['samples'] / max(record['step_s'], 1e-9):.1f} samples/s | "
            f"ETA {_duration(left)}"
        )

    def validation(self, step: int, scores: Mapping[str, float]) -> None:
        self._write("validation", step, {"step": step, **scores})
        self.say(
            f"step {step} held out: " + " ".join(f"{k} {v:.3f}" for k, v in scores.items())
        )  # fmt: skip

    def close(self) -> None:
        if self._board is not None:
            self._board.close()

    def _write(self, kind: str, step: int, record: Mapping[str, float]) -> None:
        if not self._active:
            return
        try:
            with (self._folder / LOG_NAME).open("a", encoding="utf-8") as file:
                file.write(json.dumps({"kind": kind, **record}) + "\n")
        except OSError as error:
            self._say(f"step {step} is not in {LOG_NAME} ({error}); training goes on")
        if self._board is not None:
            for name, value in record.items():
                if name != "step":
                    self._board.add_scalar(f"{kind}/{name}", value, step)

    def __enter__(self) -> "Progress":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def _board(folder: Path, say: Callable[[str], None]) -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        say("no TensorBoard here (pip install tensorboard); log.jsonl has every figure")
        return None
    return SummaryWriter(str(folder / TENSORBOARD_FOLDER))


def _duration(seconds: float) -> str:
    hours, minutes = divmod(round(seconds / 60.0), 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min"
