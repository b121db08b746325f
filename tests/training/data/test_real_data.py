"""The readers on real files, where they are at hand."""

import os
from pathlib import Path

import numpy as np
import pytest

from tracevlm_ros.core.drops import Drops
from tracevlm_ros.core.errors import ConfigError
from training.data.messages import TreeConfig
from training.data.readers.catalogue import open_reader
from training.data.readers.localized_narratives import LocalizedNarratives
from training.data.readers.records import Record
from training.data.readers.source import Reader
from training.data.templates import TEMPLATES
from training.data.trees import build_tree


def data(*parts: str) -> Path:
    beside = Path(__file__).parents[4] / "shared" / "data"
    path = Path(os.environ.get("TRACEVLM_DATA", beside)).joinpath(*parts)
    if not path.exists():
        pytest.skip(f"{path} is absent: real data is not part of the project")
    return path


def usable(reader: Reader, count: int) -> list[Record]:
    step = max(1, len(reader) // count)
    read = (reader.read(index) for index in range(0, len(reader), step))
    return [record for record in read if record is not None]


def check(record: Record) -> None:
    config = TreeConfig(image_size=64, max_keypoints=16)
    tree = build_tree(record, config, np.random.default_rng(0), Drops())
    assert tree.branches
    for branch in tree.branches:
        assert all(TEMPLATES[e.task].parse(e.answer).problems == () for e in branch.exchanges)


@pytest.mark.parametrize(
    "parts", [("vidln_dev", "ln_keyframes.jsonl"), ("vidln_dev", "vidlns", "OVIS_train.jsonl"),
              ("davis_dev",), ("instances_dev",)],
)  # fmt: skip
def test_development_data_is_refused_in_training(parts: tuple[str, ...]) -> None:
    with pytest.raises(ConfigError, match="held out"):
        open_reader(data(*parts))


def test_all_forty_keyframe_narratives_are_read() -> None:
    reader = open_reader(data("vidln_dev", "ln_keyframes.jsonl"), training=False)
    assert isinstance(reader, LocalizedNarratives)
    records = usable(reader, 40)
    assert len(records) == len(reader) == 40
    assert np.median([len(r.narratives[0].trace.xy) for r in records]) == pytest.approx(127, abs=5)
    for record in records[::8]:
        check(record)


@pytest.mark.parametrize("name", ["OVIS_train", "oops_train"])
def test_narratives_of_videos_are_read_on_their_keyframes(name: str) -> None:
    reader = open_reader(data("vidln_dev", "vidlns", f"{name}.jsonl"), training=False)
    records = usable(reader, 2)
    assert len(records) == 2
    for record in records:
        assert len(record.pictures) == 10
        assert all(n.trace.picture.max() < 10 for n in record.narratives)
        check(record)
    assert "narrative_malformed" not in reader.drops


def test_training_photos_with_instances_are_read() -> None:
    reader = open_reader(data("instances_train"))
    records = usable(reader, 12)
    assert len(reader) == 1473
    assert all(region.category for record in records for region in record.regions)
    for record in records[::4]:
        check(record)


def test_captions_find_photos_in_both_folders() -> None:
    reader = open_reader(data("captions_train"))
    records = usable(reader, len(reader))
    assert len(records) == 2606
    assert sum(len(record.captions) for record in records) == 13036
    check(records[0])


def test_the_cow_stays_marked_through_its_video() -> None:
    reader = open_reader(data("davis_dev"), training=False)
    records = usable(reader, 10)
    assert len(records) == 10
    (region,) = records[0].regions
    assert len(region.shapes) == len(records[0].pictures)
    assert 0.005 < region.shapes[0][1].mask((90, 160)).mean() < 0.8
    check(records[0])
