import json

import pytest

from tests.training.data import tiny_sets
from tests.training.stages.runs import tiny_stage, train
from tests.training.tiny import tiny_model, tiny_run
from tracevlm_ros.core.errors import ConfigError, InputError
from training.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from training.command import run
from training.data.sample import PATCH_CLASSES
from training.dry_run import dry_run as dry_run_nano
from training.model.config import VisionConfig, tiny
from training.model.tracevlm import TraceVLM
from training.settings import TrainConfig
from training.stages import dry_run as module
from training.stages.building import build
from training.stages.dry_run import dry_run, needs_of
from training.stages.settings import StageConfig


def said(config: StageConfig, folder, initial=None) -> str:
    lines: list[str] = []
    dry_run(config, folder, initial, lines.append)
    return "\n".join(lines)


def test_a_sound_run_tells_data_memory_disk_and_freezes_and_leaves_nothing(tmp_path) -> None:
    report = said(tiny_stage(stage="1"), tmp_path / "run")
    for part in ("memory: ", "disk: ", "freezes: 31,264 numbers train", "samples a row", "fine"):
        assert part in report
    assert not list((tmp_path / "run").iterdir())


def test_too_little_memory_is_told_before_anything_is_built(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(module, "free_memory", lambda _: 8 << 30)
    config = tiny_stage(model="qwen2.5-vl-7b", weights="bf16")
    with pytest.raises(ConfigError, match=r"need 6\d\.\d GiB, 8\.0 GiB are free"):
        dry_run(config, tmp_path, None, print)


def test_needs_of_released_sizes_follow_from_their_parameters() -> None:
    everything = 8_292_166_656 + 320_545_353
    needs = needs_of(tiny_stage(model="qwen2.5-vl-7b"))
    assert needs.states == everything * 16
    assert needs.snapshot == everything * 12
    frozen = needs_of(tiny_stage(model="qwen2.5-vl-7b", stage="1", weights="bf16"))
    assert 2 * everything < frozen.states < 3 * everything


def test_a_full_disk_is_told_before_the_run(tmp_path, monkeypatch) -> None:
    usage = type("Usage", (), {"free": 1000})
    monkeypatch.setattr(module.shutil, "disk_usage", lambda _: usage)
    with pytest.raises(InputError, match="snapshots take"):
        said(tiny_stage(), tmp_path)


def test_a_run_of_other_settings_in_the_folder_is_told(tmp_path) -> None:
    train(tiny_stage(steps=1), tmp_path)
    with pytest.raises(ConfigError, match="seed"):
        said(tiny_stage(seed=5), tmp_path)


def test_weights_of_another_config_are_one_clear_error(tmp_path) -> None:
    wider = tiny()
    vision = {**{f: getattr(wider.vision, f) for f in wider.vision.__slots__}, "mlp_width": 64}
    other = tiny_model(type(wider)(vision=VisionConfig(**vision), tvp=wider.tvp,
                                   language=wider.language, decoder=wider.decoder))  # fmt: skip
    path = tmp_path / "checkpoint.pt"
    empty = Checkpoint({}, 0, 0.0, other.state_dict(), [], next(iter(other.parameters())), [])
    save_checkpoint(path, empty)
    with pytest.raises(InputError, match=r"of another config: .*mlp"):
        build(tiny_stage(paper=False), path)
    train(tiny_stage(steps=1), tmp_path / "run")
    with pytest.raises(InputError, match="does not fit"):
        build(tiny_stage(model="tiny-qwen"), tmp_path / "run")
    build(tiny_stage(), tmp_path / "run")


def test_data_without_a_usable_sample_is_told_with_the_reasons(tmp_path) -> None:
    path = tiny_sets.write_lines(
        tmp_path / "ln_train.jsonl", [tiny_sets.narrative_line(image="gone")] * 3
    )
    with pytest.raises(InputError, match="picture_missing"):
        said(tiny_stage(data=(str(path),)), tmp_path / "run")


def test_held_out_data_is_refused(tmp_path) -> None:
    path = tiny_sets.write_lines(tmp_path / "ln_val.jsonl", [tiny_sets.narrative_line()])
    with pytest.raises(ConfigError, match="held out"):
        said(tiny_stage(data=(str(path),)), tmp_path / "run")
    with pytest.raises(ConfigError, match="held out"):
        said(tiny_stage(data=("synthetic:1000003:5",)), tmp_path / "run")


def test_nano_stages_are_tried_too_and_leave_nothing(tmp_path) -> None:
    lines: list[str] = []
    dry_run_nano(tiny_run(), tmp_path / "run", None, lines.append)
    assert "fine" in lines[-1]
    assert any("parameters train" in line for line in lines)
    assert not (tmp_path / "run").exists()


def test_the_command_runs_a_stage_and_refuses_what_is_not_of_it(tmp_path, capsys) -> None:
    import argparse

    from training.command import add_arguments

    parser = argparse.ArgumentParser()
    add_arguments(parser)
    settings = tmp_path / "settings.json"
    values = tiny_stage(steps=2).as_mapping()
    settings.write_text(json.dumps(values))
    words = ["--stage", "1", "--config", str(settings), "--out", str(tmp_path / "run")]
    assert run(parser.parse_args([*words, "--dry-run"])) == 0
    assert run(parser.parse_args([*words, "--set", "schedule.rate=1e-4"])) == 0
    assert "step 2/2" in capsys.readouterr().out
    scored = load_checkpoint(tmp_path / "run" / "checkpoint.pt")
    assert scored.step == 2
    TraceVLM(TrainConfig.of_mapping(scored.config).model_config(), PATCH_CLASSES).load_state_dict(
        scored.weights
    )
    with pytest.raises(ConfigError, match="unknown setting 'stepps'"):
        run(parser.parse_args([*words, "--set", "stepps=4"]))
    with pytest.raises(ConfigError, match="--data is for the stages"):
        run(parser.parse_args(["--stage", "joint", "--data", "synthetic"]))
