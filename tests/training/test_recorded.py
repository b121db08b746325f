"""Steps replayed as CUDA graphs; runs of a given length."""

from dataclasses import replace

import pytest
import torch

from tests.training.tiny import DATA, tiny_batch, tiny_run
from tracevlm_ros.core.errors import ConfigError
from training.checkpoint import load_checkpoint
from training.loop import CHECKPOINT_NAME, Trainer
from training.recorded import fill
from training.settings import OptimiserConfig

CPU = torch.device("cpu")


def _quiet(_: str) -> None:
    pass


def test_a_held_batch_takes_new_values_in_the_same_places() -> None:
    first, second = tiny_batch(0), tiny_batch(0)
    second = second._replace(image=255 - second.image)
    held = fill(None, first, CPU)
    places = held.image.data_ptr(), held.trace.points.data_ptr()
    held = fill(held, second, CPU)
    assert (held.image.data_ptr(), held.trace.points.data_ptr()) == places
    assert torch.equal(held.image, second.image)
    assert held.patch_labels.keys() == first.patch_labels.keys()
    assert held.image.data_ptr() != second.image.data_ptr()


def test_a_batch_of_another_size_is_refused() -> None:
    held = fill(None, {"a": torch.zeros(2, 3)}, CPU)
    with pytest.raises(ValueError, match=r"a batch of \(2, 4\) after one of \(2, 3\)"):
        fill(held, {"a": torch.zeros(2, 4)}, CPU)


def test_recording_is_refused_where_it_cannot_be() -> None:
    with pytest.raises(ConfigError, match="recorded is for a GPU and batches of one size"):
        tiny_run(recorded=True)
    with pytest.raises(ConfigError, match="recorded is for a GPU and batches of one size"):
        tiny_run(recorded=True, device="cuda")


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
def test_recording_without_a_gpu_is_one_clear_error(tmp_path) -> None:
    run = tiny_run(recorded=True, device="auto", data=replace(DATA, room_tokens=64))
    with pytest.raises(ConfigError, match="PyTorch sees none"):
        Trainer(run, tmp_path, say=_quiet)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU here: graphs need CUDA")
def test_replayed_steps_give_the_losses_of_ordinary_ones(tmp_path) -> None:
    data = replace(DATA, room_tokens=64)
    found = []
    for recorded in (False, True):
        run = tiny_run(steps=20, device="cuda", recorded=recorded, data=data)
        Trainer(run, tmp_path / str(recorded), say=_quiet).run()
        found.append(load_checkpoint(tmp_path / str(recorded) / CHECKPOINT_NAME).weights)
    plain, replayed = found
    for name, value in plain.items():
        torch.testing.assert_close(replayed[name], value, atol=2e-2, rtol=5e-2)


def test_a_run_ends_with_its_time_and_is_saved(tmp_path) -> None:
    trainer = Trainer(tiny_run(steps=10_000, seconds=1.5), tmp_path, say=_quiet)
    trainer.run()
    assert 1 <= trainer.step < 10_000
    assert load_checkpoint(tmp_path / CHECKPOINT_NAME).step == trainer.step
    again = Trainer(tiny_run(steps=10_000, seconds=1.5), tmp_path, say=_quiet)
    again.run()
    assert again.step == trainer.step


def test_the_rate_falls_with_the_time_that_is_left() -> None:
    config = OptimiserConfig(rate=1.0, warmup=1, decay=1, floor=0.1)
    assert config.rate_at(5, 1000) == pytest.approx(1.0)
    assert config.rate_at(5, 1000, 0.5) == pytest.approx(0.55)
    assert config.rate_at(5, 1000, 0.0) == pytest.approx(0.1)
    falling = OptimiserConfig(rate=1.0, warmup=1, decay=10, floor=0.0)
    assert falling.rate_at(8, 10, 0.9) == pytest.approx(0.2)
