import json
from pathlib import Path

import numpy as np
import pytest

from tests.training.data import tiny_sets
from tracevlm_ros.core.errors import ConfigError, InputError
from training.data.messages import TreeConfig
from training.data.packed_stream import PackedStream, Row
from training.data.packing import PackConfig
from training.data.readers.catalogue import open_reader
from training.data.readers.source import Reader
from training.data.readers.synthetic import Synthetic, SyntheticSource
from training.data.sequences import SequenceEncoder
from training.data.sharding import ShardConfig
from training.tokenizer import load_tokenizer

ENCODER = SequenceEncoder(load_tokenizer(), (2, 2))


def readers(root: Path) -> list[Reader]:
    makers = (tiny_sets.narratives, tiny_sets.instances, tiny_sets.refcoco, tiny_sets.video_refer)
    real: list[Reader] = [
        open_reader(make(root / make.__name__)) if not (root / make.__name__).exists() else
        open_reader(next((root / make.__name__).glob("*/*.json*")) if make is not tiny_sets.refcoco
                    else root / make.__name__ / "refcoco")
        for make in makers
    ]  # fmt: skip
    return [*real, Synthetic(SyntheticSource(count=5, size_hw=(64, 64), clip_every=3, frames=2))]


def stream(root: Path, length: int = 300, **sharding: int) -> PackedStream:
    trees = TreeConfig(image_size=32, max_keypoints=6, max_branches=5, order="random")
    packing = PackConfig(length=length, open_rows=3)
    return PackedStream(readers(root), ENCODER, trees, packing, ShardConfig(seed=2, **sharding))


def told(row: Row) -> list[tuple[object, ...]]:
    """All that the network would see of a row, as plain values."""
    return [
        (
            sample.place,
            sample.tree.key,
            sample.sequence.ids.tolist(),
            None if sample.branch.trace is None else sample.branch.trace.points.tolist(),
            [image.tobytes() for image in sample.tree.images],
        )
        for sample in row.samples
    ]


def test_resuming_from_any_row_gives_exactly_the_rows_that_follow(tmp_path: Path) -> None:
    unbroken = stream(tmp_path)
    rows = [next(unbroken) for _ in range(14)]
    for stop in (0, 3, 4, 9):
        state = json.loads(json.dumps(rows[stop].state))
        resumed = stream(tmp_path)
        resumed.load_state_dict(state)
        for expected in rows[stop + 1 :]:
            found = next(resumed)
            assert told(found) == told(expected)
            assert found.state == expected.state


def test_some_of_those_states_hold_waiting_samples_and_half_used_records(tmp_path: Path) -> None:
    run = stream(tmp_path)
    states = [next(run).state for _ in range(10)]
    assert all(state["rows"] for state in states)
    assert any(state["branch"] for state in states)
    assert max(len(json.dumps(state)) for state in states) < 5000


def test_a_fresh_stream_with_the_same_settings_gives_the_same_rows(tmp_path: Path) -> None:
    one, two = stream(tmp_path), stream(tmp_path)
    assert [told(next(one)) for _ in range(5)] == [told(next(two)) for _ in range(5)]


def test_shards_meet_different_records(tmp_path: Path) -> None:
    places = []
    for rank in range(2):
        run = stream(tmp_path, rank=rank, world=2)
        rows = [next(run) for _ in range(4)]
        places.append({sample.place for row in rows for sample in row.samples})
        assert {place % 2 for place in places[-1]} == {rank}
    assert not places[0] & places[1]


def test_states_of_other_settings_are_refused(tmp_path: Path) -> None:
    state = next(stream(tmp_path)).state
    with pytest.raises(ConfigError, match="packing"):
        stream(tmp_path, length=200).load_state_dict(state)
    with pytest.raises(ConfigError, match="sharding"):
        stream(tmp_path, rank=1, world=2).load_state_dict(state)


def test_what_is_left_out_is_counted_across_a_resume(tmp_path: Path) -> None:
    run = stream(tmp_path)
    state = [next(run).state for _ in range(8)][-1]
    assert run.drops["picture_damaged"] >= 1
    assert run.drops["narrative_malformed"] >= 2
    resumed = stream(tmp_path)
    resumed.load_state_dict(state)
    assert resumed.drops == state["drops"]
    next(resumed)
    next(run)
    assert resumed.drops == run.drops


def test_samples_longer_than_a_row_are_left_out_and_counted(tmp_path: Path) -> None:
    run = stream(tmp_path, length=60)
    rows = [next(run) for _ in range(6)]
    lengths = [sum(len(s.sequence.ids) for s in row.samples) for row in rows]
    assert max(lengths) <= 60
    assert run.drops["sample_too_long"] > 0


def test_data_that_yields_nothing_is_an_error_and_no_endless_loop(tmp_path: Path) -> None:
    path = tiny_sets.write_lines(
        tmp_path / "ln_train.jsonl", [tiny_sets.narrative_line(image="gone")] * 3
    )
    run = PackedStream([open_reader(path)], ENCODER, TreeConfig(), PackConfig(), ShardConfig())
    with pytest.raises(InputError, match="picture_missing"):
        next(run)


def test_rows_are_filled_well() -> None:
    source: Reader = Synthetic(SyntheticSource(count=50, size_hw=(64, 64)))
    trees = TreeConfig(image_size=32, max_keypoints=6)
    run = PackedStream([source], ENCODER, trees, PackConfig(length=512), ShardConfig())
    used = [sum(len(s.sequence.ids) for s in next(run).samples) for _ in range(10)]
    assert np.mean(used) / 512 > 0.9
