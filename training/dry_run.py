"""The nano stages before they start: data, freezes, memory and disk, by doing one step."""

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

from tracevlm_ros.core.errors import InputError
from training.checkpoint import load_checkpoint
from training.loop import CHECKPOINT_NAME, Trainer
from training.settings import TrainConfig
from training.stages.dry_run import check_disk, peak_memory


def dry_run(
    config: TrainConfig, folder: Path, initial: Path | None, say: Callable[[str], None]
) -> None:
    """Raise what the run would meet. A checkpoint in ``folder`` is tried with these settings; the
    step that is done is kept nowhere."""
    steps = config.steps
    with TemporaryDirectory() as scratch:
        copy = Path(scratch) / CHECKPOINT_NAME
        if (folder / CHECKPOINT_NAME).exists():
            shutil.copy(folder / CHECKPOINT_NAME, copy)
            steps = max(steps, load_checkpoint(copy).step + 1)
        trainer = Trainer(
            replace(config, steps=steps, evaluate_every=0), Path(scratch), initial, say
        )
        trainer.run(until=trainer.step + 1)
        if not copy.exists():
            raise InputError(f"no checkpoint was written to {scratch}; check the disk")
        check_disk(folder, 2 * copy.stat().st_size, say)
    say(f"one step and checkpoint: fine; peak memory {peak_memory() / (1 << 30):.2f} GiB")
