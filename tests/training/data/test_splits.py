import pickle
from pathlib import Path

import pytest

from tests.training.data import tiny_sets
from tracevlm_ros.core.errors import ConfigError, InputError
from training.data.readers.catalogue import open_reader
from training.data.readers.refcoco import ids_of_test_images, read_refs, unpickle_plain
from training.data.readers.source import Source
from training.data.readers.splits import read_excluded, split_of, write_excluded


@pytest.mark.parametrize(
    ("path", "split"),
    [
        ("coco_train_localized_narratives-00000-of-00004.jsonl", "train"),
        ("open_images_validation_localized_narratives.jsonl", "val"),
        ("ade20k_test.jsonl", "test"),
        ("instances_train2017.json", "train"),
        ("captions_val2014.json", "val"),
        ("photos_train/instances.json", "train"),
        ("vidln_dev/vidlns/OVIS_train.jsonl", "dev"),
        ("val2017/a_train.json", "val"),
        ("VideoRefer-Bench-D.json", "test"),
        ("HCVG_train.json", "train"),
        ("test_v2.json", "test"),
        ("contest/latest.json", ""),
        ("photos.json", ""),
    ],
)
def test_the_split_is_told_from_the_path_and_held_out_words_win(path: str, split: str) -> None:
    assert split_of(Path("/data") / path) == split


@pytest.mark.parametrize("name", ["a_dev", "a_val2017", "a_test"])
def test_training_refuses_held_out_folders_whatever_it_is_told(tmp_path: Path, name: str) -> None:
    path = tmp_path / name / "train.jsonl"
    with pytest.raises(ConfigError, match="held out"):
        Source(annotations=path)
    with pytest.raises(ConfigError, match="held out"):
        Source(annotations=path, split="train")
    assert Source(annotations=path, training=False).split in ("dev", "val", "test")


def test_training_refuses_data_of_an_unknown_split_until_told(tmp_path: Path) -> None:
    path = tmp_path / "some.jsonl"
    with pytest.raises(ConfigError, match="which split"):
        Source(annotations=path)
    assert Source(annotations=path, split="train").split == "train"
    with pytest.raises(ConfigError, match="'trainn'"):
        Source(annotations=path, split="trainn")


@pytest.mark.parametrize("split", ["val", "test"])
def test_training_refuses_held_out_expressions(tmp_path: Path, split: str) -> None:
    folder = tiny_sets.refcoco(tmp_path)
    with pytest.raises(ConfigError, match="held out"):
        open_reader(folder, split=split)
    assert len(open_reader(folder, split=split, training=False)) == 1


def test_test_images_of_expressions_are_listed_and_left_out_everywhere(tmp_path: Path) -> None:
    folder = tiny_sets.refcoco(tmp_path)
    ids = ids_of_test_images([folder])
    assert ids == {3}
    write_excluded(tmp_path / "ids.txt", [*ids, 1], "refs")
    excluded = read_excluded(tmp_path / "ids.txt")
    assert excluded == {1, 3}
    makers = (tiny_sets.instances, tiny_sets.captions, tiny_sets.panoptic, tiny_sets.refcoco)
    for number, make in enumerate(makers):
        reader = open_reader(make(tmp_path / str(number)), excluded=excluded)
        assert [reader.read(i) for i in range(len(reader)) if reader.read(i)] == []
        assert reader.drops["image_excluded"] > 0


def test_a_list_of_images_that_is_none_is_one_clear_error(tmp_path: Path) -> None:
    (tmp_path / "ids.txt").write_text("12\nthirteen\n")
    with pytest.raises(InputError, match=r"ids\.txt"):
        read_excluded(tmp_path / "ids.txt")


class _Trap:
    """Runs code when it is unpickled."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self):
        return (Path.touch, (self.target,))


def test_a_pickle_that_asks_for_code_is_refused_and_runs_nothing(tmp_path: Path) -> None:
    sprung = tmp_path / "sprung"
    path = tmp_path / "refs(unc).p"
    path.write_bytes(pickle.dumps([_Trap(sprung)]))
    with pytest.raises(InputError, match="asks for"):
        unpickle_plain(path)
    assert not sprung.exists()
    pickle.loads(path.read_bytes())
    assert sprung.exists()


@pytest.mark.parametrize("data", [b"", b"\x80", b"\x80\x02]q\x00(", b"garbage", b"\x80\x04\x95"])
def test_damaged_pickles_are_one_clear_error(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "refs.p"
    path.write_bytes(data)
    with pytest.raises(InputError, match=r"refs\.p"):
        read_refs(path)


def test_pickles_of_the_second_python_are_read(tmp_path: Path) -> None:
    path = tmp_path / "refs.p"
    text = (
        b"(lp0\n(dp1\nS'ref_id'\np2\nI1\nsS'ann_id'\np3\nI1\nsS'image_id'\np4\nI1\ns"
        b"S'split'\np5\nS'train'\np6\nsS'sentences'\np7\n(lp8\n(dp9\nS'sent'\np10\n"
        b"S'caf\\xe9'\np11\nsasa."
    )
    path.write_bytes(text)
    assert read_refs(path)[0]["sentences"][0]["sent"] == "café"
