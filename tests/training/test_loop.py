import json

import pytest
import torch

from tests.training.tiny import DATA, tiny_model, tiny_run
from tracevlm_ros.core.errors import ConfigError, InputError
from training.checkpoint import load_checkpoint, save_checkpoint
from training.loop import CHECKPOINT_NAME, LOG_NAME, Trainer, freeze_for, load_initial
from training.settings import OptimiserConfig


def _quiet(_: str) -> None:
    pass


def _weights(folder) -> dict[str, torch.Tensor]:
    return load_checkpoint(folder / CHECKPOINT_NAME).weights


def test_a_resumed_run_ends_with_bit_identical_weights(tmp_path) -> None:
    Trainer(tiny_run(), tmp_path / "whole", say=_quiet).run()
    for until in (2, 3, 6):
        Trainer(tiny_run(), tmp_path / "pieces", say=_quiet).run(until=until)
    whole, pieces = _weights(tmp_path / "whole"), _weights(tmp_path / "pieces")
    assert whole.keys() == pieces.keys()
    assert all(torch.equal(whole[name], pieces[name]) for name in whole)


def test_a_stop_signal_saves_after_the_step_and_stops(tmp_path) -> None:
    trainer = Trainer(tiny_run(), tmp_path, say=_quiet)
    step = trainer._train_one

    def step_then_signal() -> dict[str, float]:
        record = step()
        if trainer.step == 2:
            import signal

            signal.raise_signal(signal.SIGTERM)
        return record

    trainer._train_one = step_then_signal
    trainer.run()
    assert load_checkpoint(tmp_path / CHECKPOINT_NAME).step == 2


def test_vision_stage_trains_the_encoder_alone_and_joint_starts_from_it(tmp_path) -> None:
    first = Trainer(tiny_run(stage="vision", steps=2), tmp_path / "vision", say=_quiet)
    before = {name: value.clone() for name, value in first.model.state_dict().items()}
    first.run()
    moved = {
        name.split(".")[0]
        for name, value in first.model.state_dict().items()
        if not torch.equal(value, before[name])
    }
    assert moved == {"visual", "patch_heads"}
    second = Trainer(
        tiny_run(), tmp_path / "joint", tmp_path / "vision" / CHECKPOINT_NAME, say=_quiet
    )
    assert all(
        torch.equal(value, second.model.state_dict()[name])
        for name, value in first.model.state_dict().items()
    )


def test_freezing_counts_the_parameters_that_train() -> None:
    model = tiny_model()
    words = sum(p.numel() for p in model.word_map.parameters())
    everything = sum(p.numel() for p in model.parameters()) - words
    assert freeze_for("joint", model) == everything
    assert freeze_for("words", model) == words
    encoder = sum(p.numel() for p in model.visual.parameters())
    heads = sum(p.numel() for p in model.patch_heads.parameters())
    assert freeze_for("vision", model) == encoder + heads < everything
    assert not any(p.requires_grad for p in model.model.parameters())
    language = sum(p.numel() for p in model.model.parameters())
    assert freeze_for("language", model) == language


def test_loss_falls_on_a_few_batches(tmp_path) -> None:
    run = tiny_run(steps=40, optimiser=OptimiserConfig(rate=3e-3, warmup=2, decay=1))
    Trainer(run, tmp_path, say=_quiet).run()
    lines = [json.loads(line) for line in (tmp_path / LOG_NAME).read_text().splitlines()]
    for name in ("text", "patch"):
        start = sum(line[name] for line in lines[:5])
        end = sum(line[name] for line in lines[-5:])
        assert end < 0.9 * start, name
    assert {"text", "ref", "dice", "patch", "rate", "norm", "seconds"} <= set(lines[0])


def test_a_checkpoint_of_other_settings_is_refused(tmp_path) -> None:
    Trainer(tiny_run(steps=1), tmp_path, say=_quiet).run()
    with pytest.raises(ConfigError, match="seed"):
        Trainer(tiny_run(seed=2), tmp_path, say=_quiet)


def test_a_damaged_checkpoint_is_one_clear_error(tmp_path) -> None:
    path = tmp_path / "bad.pt"
    path.write_bytes(b"not a checkpoint")
    with pytest.raises(InputError, match=r"bad\.pt"):
        load_checkpoint(path)


def test_a_failed_save_leaves_the_old_checkpoint_whole(tmp_path, monkeypatch) -> None:
    Trainer(tiny_run(steps=1), tmp_path, say=_quiet).run()
    path = tmp_path / CHECKPOINT_NAME
    before = path.read_bytes()

    def full_disk(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(torch, "save", full_disk)
    with pytest.raises(OSError, match="No space"):
        save_checkpoint(path, load_checkpoint(path))
    assert path.read_bytes() == before
    assert [item.name for item in tmp_path.glob("*.draft")] == []


def test_the_learning_rate_rises_stays_and_falls() -> None:
    config = OptimiserConfig(rate=1.0, warmup=10, decay=20, floor=0.1)
    rates = [config.rate_at(step, 100) for step in range(100)]
    assert rates[0] == pytest.approx(0.1)
    assert rates[10:80] == pytest.approx([1.0] * 70)
    assert rates[99] == pytest.approx(0.1 + 0.9 / 20)
    assert DATA.images == 2


def test_grounding_leaves_the_language_model_alone_and_needs_no_words(tmp_path) -> None:
    trainer = Trainer(tiny_run(stage="grounding", steps=2), tmp_path, say=_quiet)
    before = {name: value.clone() for name, value in trainer.model.state_dict().items()}
    trainer.run()
    moved = {
        name.split(".")[0]
        for name, value in trainer.model.state_dict().items()
        if not torch.equal(value, before[name])
    }
    assert moved == {"visual", "patch_heads", "tvp", "trace_heads", "pixel_decoder"}


def test_what_a_stage_freezes_keeps_its_running_statistics(tmp_path) -> None:
    trainer = Trainer(tiny_run(stage="language", steps=2), tmp_path, say=_quiet)
    before = {name: value.clone() for name, value in trainer.model.named_buffers()}
    trainer.run()
    assert any("running_mean" in name for name in before)
    for name, value in trainer.model.named_buffers():
        assert torch.equal(value, before[name]), name


def test_weights_that_do_not_fit_begin_anew_and_are_named(tmp_path) -> None:
    model = tiny_model()
    weights = {name: value + 1.0 for name, value in model.state_dict().items()}
    weights["pixel_decoder.bias"] = torch.zeros(3)
    report = load_initial(model, weights)
    assert "anew: ['pixel_decoder.bias']" in report
    assert torch.equal(model.state_dict()["tvp.code_proj.bias"], weights["tvp.code_proj.bias"])


def test_training_in_half_precision_keeps_the_weights_whole_and_the_losses_close(tmp_path) -> None:
    losses = {}
    for precision in ("fp32", "bf16"):
        trainer = Trainer(tiny_run(precision=precision), tmp_path / precision, say=_quiet)
        losses[precision] = trainer._train_one()
        assert all(p.dtype == torch.float32 for p in trainer.model.parameters())
    for name in ("text", "ref", "dice", "patch", "trace"):
        assert losses["bf16"][name] == pytest.approx(losses["fp32"][name], rel=0.03)
