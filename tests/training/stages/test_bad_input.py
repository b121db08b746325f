"""A run over data in which everything is broken that may be: it goes on, and says what it left."""

import json

from tests.training.data import tiny_sets
from tests.training.stages.runs import tiny_stage, train
from training.stages.progress import LOG_NAME
from training.stages.snapshots import newest_snapshot, read_run_state

BROKEN = {
    "narrative_malformed",
    "narrative_empty",
    "narrative_without_trace",
    "narrative_held_out",
    "picture_missing",
    "picture_damaged",
    "annotation_without_image",
    "run_lengths_malformed",
    "polygon_outside_image",
    "polygon_malformed",
}


def test_broken_records_are_left_out_counted_and_never_end_a_run(tmp_path) -> None:
    data = tuple(
        str(path)
        for path in (
            tiny_sets.narratives(tmp_path / "a"),
            tiny_sets.instances(tmp_path / "b"),
            tiny_sets.refcoco(tmp_path / "c"),
        )
    )
    config = tiny_stage(data=data, order="random", micro_batches=1, steps=6)
    train(config, tmp_path / "run")
    state = read_run_state(newest_snapshot(tmp_path / "run"))
    drops = state.streams["0"]["drops"]
    assert {reason for reason, count in drops.items() if count} >= BROKEN, BROKEN - set(drops)
    lines = [json.loads(line) for line in (tmp_path / "run" / LOG_NAME).read_text().splitlines()]
    assert lines[-1]["step"] == 6
    assert all(line["samples"] > 0 for line in lines)
