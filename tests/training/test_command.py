import argparse
import dataclasses
import json
import resource

import pytest
import torch
from safetensors.torch import save_file

from tests.training.tiny import tiny_run
from tracevlm_ros.core.errors import ConfigError, InputError
from training.checkpoint import load_checkpoint
from training.command import add_arguments, run, settings_of
from training.loop import CHECKPOINT_NAME


def _parse(*words: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    return parser.parse_args(words)


def test_arguments_override_the_settings_file(tmp_path) -> None:
    path = tmp_path / "settings.json"
    path.write_text(json.dumps({"steps": 7, "seed": 3, "data": {"images": 5, "photo_share": 0.1}}))
    settings = settings_of(_parse("--config", str(path), "--steps", "9", "--images", "2"))
    assert (settings.steps, settings.seed) == (9, 3)
    assert (settings.data.images, settings.data.photo_share) == (2, 0.1)


def test_unknown_settings_and_unreadable_files_are_clear_errors(tmp_path) -> None:
    path = tmp_path / "settings.json"
    path.write_text('{"optimiser": {"speed": 1}}')
    with pytest.raises(ConfigError, match=r"optimiser\.speed"):
        settings_of(_parse("--config", str(path)))
    path.write_text("{")
    with pytest.raises(InputError, match="JSON"):
        settings_of(_parse("--config", str(path)))


def test_the_command_trains_then_resumes_then_scores(tmp_path, capsys) -> None:
    path = tmp_path / "settings.json"
    path.write_text(json.dumps({"model": "tiny", "threads": 1, "data": {"traces_per_image": 1}}))
    common = ("--config", str(path), "--images", "1", "--out", str(tmp_path / "run"))
    assert run(_parse(*common, "--steps", "1")) == 0
    assert run(_parse(*common, "--steps", "2")) == 0
    capsys.readouterr()
    checkpoint = str(tmp_path / "run" / "checkpoint.pt")
    assert run(_parse("--evaluate", checkpoint, "--scenes", "1", "--json")) == 0
    scores = json.loads(capsys.readouterr().out)
    assert scores["data"] == "synthetic"
    assert 0.0 <= scores["mask_iou"] <= 1.0


def test_a_packed_checkpoint_scores_like_the_whole_one_and_can_be_trained_on(
    tmp_path, capsys
) -> None:
    settings = tmp_path / "settings.json"
    config = dataclasses.replace(tiny_run(), steps=1)
    settings.write_text(json.dumps(config.as_mapping()))
    assert run(_parse("--config", str(settings), "--out", str(tmp_path / "run"))) == 0
    whole, packed = tmp_path / "run" / CHECKPOINT_NAME, tmp_path / "weights.safetensors"
    assert run(_parse("--pack", str(whole), "--out", str(packed))) == 0
    assert packed.stat().st_size < 0.3 * whole.stat().st_size
    before, after = load_checkpoint(whole), load_checkpoint(packed)
    assert after.config["stage"] == before.config["stage"]
    for name, value in before.weights.items():
        assert after.weights[name].dtype == value.dtype
        torch.testing.assert_close(after.weights[name], value, atol=1e-3, rtol=1e-3)
    capsys.readouterr()
    assert run(_parse("--evaluate", str(packed), "--scenes", "1", "--json")) == 0
    on = ("--config", str(settings), "--out", str(tmp_path / "on"), "--from", str(packed))
    assert run(_parse(*on)) == 0
    assert "anew: none" in capsys.readouterr().out


def test_what_cannot_be_packed_or_unpacked_is_named(tmp_path) -> None:
    with pytest.raises(ConfigError, match=r"ends in \.safetensors"):
        run(_parse("--pack", "x.pt", "--out", str(tmp_path / "x.pt")))
    broken = tmp_path / "broken.safetensors"
    broken.write_bytes(b"12345678 no header")
    with pytest.raises(InputError, match=r"broken\.safetensors is no packed checkpoint"):
        load_checkpoint(broken)
    foreign = tmp_path / "foreign.safetensors"
    save_file({"x": torch.zeros(2)}, foreign)
    with pytest.raises(InputError, match=r"foreign\.safetensors is no packed checkpoint"):
        load_checkpoint(foreign)


def test_a_full_disk_is_one_clear_error_and_the_old_checkpoint_stays(tmp_path) -> None:
    settings = tmp_path / "settings.json"
    config = dataclasses.replace(tiny_run(), steps=2, save_every=1)
    settings.write_text(json.dumps(config.as_mapping()))
    out = tmp_path / "run"
    words = ["--config", str(settings), "--out", str(out), "--steps"]
    assert run(_parse(*words, "1")) == 0
    before = (out / CHECKPOINT_NAME).read_bytes()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (65536, hard))
    try:
        with pytest.raises(InputError, match="could not be kept"):
            run(_parse(*words, "2"))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert (out / CHECKPOINT_NAME).read_bytes() == before
    assert run(_parse(*words, "2")) == 0
    assert load_checkpoint(out / CHECKPOINT_NAME).step == 2
