from pathlib import Path

import numpy as np
import pytest

from tests.training.data import tiny_sets
from tracevlm_ros.core.drops import Drops
from tracevlm_ros.core.errors import ConfigError, InputError
from training.data.messages import MessageTree, TreeConfig
from training.data.readers.catalogue import open_reader
from training.data.readers.records import Record
from training.data.readers.synthetic import Synthetic, SyntheticSource
from training.data.templates import STAGE_1_ORDER, TEMPLATES, Task
from training.data.trees import build_tree, spread, with_pictures

SMALL = TreeConfig(image_size=64, max_keypoints=6)


def tree_of(record: Record, config: TreeConfig = SMALL, seed: int = 0) -> MessageTree:
    return build_tree(record, config, np.random.default_rng(seed), Drops())


def synthetic(index: int = 0, clip_every: int = 0) -> Record:
    source = SyntheticSource(count=8, size_hw=(96, 96), clip_every=clip_every, frames=4)
    record = Synthetic(source).read(index)
    assert record is not None
    return record


def stage_1(**changes: object) -> TreeConfig:
    values: dict[str, object] = {
        "image_size": 64,
        "tasks": tuple(task.value for task in STAGE_1_ORDER),
        **changes,
    }
    return TreeConfig(**values)  # type: ignore[arg-type]


def test_one_picture_carries_every_narrative_times_every_task_in_order() -> None:
    record = synthetic()
    tree = tree_of(record, stage_1(max_branches=100))
    assert [image.shape for image in tree.images] == [(64, 64, 3)]
    told = [(branch.key, branch.task) for branch in tree.branches]
    assert told == [(n.key, task) for n in record.narratives for task in STAGE_1_ORDER]


def test_a_random_order_holds_the_same_branches() -> None:
    record = synthetic()
    fixed = tree_of(record, stage_1(max_branches=100))
    mixed = tree_of(record, stage_1(max_branches=100, order="random"))
    keys = [[(b.key, b.task.value) for b in tree.branches] for tree in (fixed, mixed)]
    assert keys[0] != keys[1]
    assert sorted(keys[0]) == sorted(keys[1])


def test_a_tree_is_a_function_of_record_settings_and_seed() -> None:
    one, two = (tree_of(synthetic(), seed=5) for _ in range(2))
    assert [b.exchanges for b in one.branches] == [b.exchanges for b in two.branches]
    for a, b in zip(one.branches, two.branches, strict=True):
        assert (a.trace is None) == (b.trace is None)
        if a.trace is not None and b.trace is not None:
            assert np.array_equal(a.trace.points, b.trace.points)


def test_more_branches_than_allowed_are_thinned_in_order() -> None:
    every = tree_of(synthetic(), stage_1(max_branches=100)).branches
    few = tree_of(synthetic(), stage_1(max_branches=4)).branches
    places = [[b.exchanges for b in every].index(b.exchanges) for b in few]
    assert len(places) == 4
    assert places == sorted(places)


def test_every_answer_parses_and_only_tasks_that_read_traces_have_one() -> None:
    seen = set()
    for index in range(4):
        config = TreeConfig(image_size=64, max_keypoints=6, max_branches=1000)
        for branch in tree_of(synthetic(index, clip_every=2), config).branches:
            template = TEMPLATES[branch.task]
            seen.add(branch.task)
            assert (branch.trace is not None) == template.reads_trace
            assert all(template.parse(e.answer).problems == () for e in branch.exchanges)
            if branch.trace is not None:
                assert 1 <= len(branch.trace.points) <= 6
                assert not branch.trace.pen_up[0]
    assert seen == set(Task)


def test_dialogues_keep_their_turns_and_masks_their_shapes() -> None:
    record = synthetic()
    tree = tree_of(record, TreeConfig(image_size=64, tasks=("ask", "segment"), max_branches=99))
    dialogues = [b for b in tree.branches if b.task is Task.ASK]
    assert len(dialogues) == len(record.dialogues)
    assert all(len(branch.exchanges) == 4 for branch in dialogues)
    assert all(b.masks for b in tree.branches if b.task is Task.SEGMENT)


def test_clips_are_thinned_with_their_points_and_shapes() -> None:
    record = synthetic(1, clip_every=2)
    thin = with_pictures(record, [0, 3])
    assert len(thin.pictures) == 2
    for before, after in zip(record.narratives, thin.narratives, strict=True):
        kept = np.isin(before.trace.picture, [0, 3])
        assert np.array_equal(after.trace.xy, before.trace.xy[kept])
        assert set(after.trace.picture.tolist()) <= {0, 1}
        changes = np.flatnonzero(np.diff(after.trace.picture)) + 1
        assert after.trace.pen_up[changes].all()
    assert all(place in (0, 1) for region in thin.regions for place, _ in region.shapes)
    assert spread(10, 3) == [0, 4, 9]


def test_grounded_phrases_become_masks_of_what_they_name(tmp_path: Path) -> None:
    record = open_reader(tiny_sets.panoptic(tmp_path)).read(0)
    assert record is not None
    tree = tree_of(record, TreeConfig(image_size=64, tasks=("refer_mask",)))
    asked = [branch.exchanges[0].question for branch in tree.branches]
    assert asked == ["mask of A cat", "mask of a wall"]


def test_a_damaged_picture_is_one_clear_error(tmp_path: Path) -> None:
    record = open_reader(tiny_sets.narratives(tmp_path)).read(8)
    assert record is not None
    with pytest.raises(InputError, match="decoded"):
        tree_of(record)


def test_settings_that_make_no_sense_are_refused() -> None:
    with pytest.raises(ConfigError, match="tasks"):
        TreeConfig(tasks=("paint",))
    with pytest.raises(ConfigError, match="order"):
        TreeConfig(order="any")
