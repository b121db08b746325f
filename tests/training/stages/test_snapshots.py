import json
import resource

import pytest

from tests.training.stages.runs import quiet, tiny_stage, train
from tracevlm_ros.core.errors import ConfigError, InputError
from training.stages.building import build
from training.stages.snapshots import (
    DRAFT,
    RUN_FILE,
    Snapshots,
    load_network,
    newest_snapshot,
    read_run_state,
)
from training.stages.trainer import StageTrainer


@pytest.fixture
def no_room():
    """No file may grow beyond 64 KiB: what a full disk does to a writer."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (65536, hard))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_full_disk_is_one_clear_error_and_older_snapshots_stay(tmp_path, no_room) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
    trainer = StageTrainer(tiny_stage(), tmp_path, say=quiet)
    trainer.run(until=1)
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    with pytest.raises(InputError, match=r"step 2 could not be saved.*MiB free.*step_00000001"):
        trainer.run(until=2)
    resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
    assert newest_snapshot(tmp_path).name == "step_00000001"
    assert not list(tmp_path.glob(f"*{DRAFT}"))
    train(tiny_stage(), tmp_path, until=2)
    assert newest_snapshot(tmp_path).name == "step_00000002"


def test_drafts_of_a_killed_run_are_cleared_and_only_the_newest_snapshots_stay(tmp_path) -> None:
    (tmp_path / f"step_00000009{DRAFT}").mkdir(parents=True)
    train(tiny_stage(save_every=1, keep=2), tmp_path)
    assert sorted(path.name for path in tmp_path.glob("step_*")) == [
        "step_00000003",
        "step_00000004",
    ]


def test_a_snapshot_of_another_network_is_one_clear_error(tmp_path) -> None:
    train(tiny_stage(steps=1), tmp_path)
    other = build(tiny_stage(model="tiny-qwen")).stage.network
    with pytest.raises(InputError, match="does not fit this network"):
        load_network(newest_snapshot(tmp_path), other)
    with pytest.raises(ConfigError, match="has model 'tiny', asked is 'tiny-qwen'"):
        StageTrainer(tiny_stage(model="tiny-qwen"), tmp_path, say=quiet)


@pytest.mark.parametrize("content", ["", "[]", "{}", json.dumps({"format": 99})])
def test_a_damaged_run_file_is_one_clear_error(tmp_path, content) -> None:
    path = tmp_path / "step_00000001"
    path.mkdir()
    (path / RUN_FILE).write_text(content)
    with pytest.raises(InputError, match="no snapshot of a run"):
        read_run_state(path)


def test_a_folder_that_cannot_be_made_is_one_clear_error(tmp_path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot be made"):
        StageTrainer(tiny_stage(), tmp_path / "file" / "run", say=quiet)
    assert Snapshots.__doc__
