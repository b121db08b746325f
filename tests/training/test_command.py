import argparse
import dataclasses
import json
import resource

import pytest

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
