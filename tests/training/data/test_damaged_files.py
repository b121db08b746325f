"""Files with values deleted or replaced at random: nothing but the stated errors comes out."""

import copy
import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.training.data import tiny_sets
from tracevlm_ros.core.drops import Drops
from tracevlm_ros.core.errors import InputError, TraceVLMError
from training.data.messages import TreeConfig
from training.data.readers.catalogue import form_of, open_reader
from training.data.trees import build_tree

JUNK = [None, -1, 0, "", [], {}, "x", 1e400, float("nan"), 10**30, True, [[]], {"a": 1}, -5.5]
ROUNDS = 30


def places(document: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    keys = (
        list(document) if isinstance(document, dict)
        else range(len(document)) if isinstance(document, list) else ()
    )  # fmt: skip
    found: list[tuple[Any, ...]] = []
    for key in keys:
        found += [(*path, key), *places(document[key], (*path, key))]
    return found


def damaged(document: Any, chance: random.Random) -> Any:
    document = copy.deepcopy(document)
    *above, last = chance.choice(places(document))
    target = document
    for key in above:
        target = target[key]
    if chance.random() < 0.3:
        del target[last]
    else:
        target[last] = copy.deepcopy(chance.choice(JUNK))
    return document


def use_all(path: Path, form: str) -> None:
    """Read and build everything; only TraceVLMErrors may end it."""
    reader = open_reader(path, form=form)
    config = TreeConfig(image_size=32, max_keypoints=6)
    for index in range(len(reader)):
        record = reader.read(index)
        if record is not None:
            try:
                build_tree(record, config, np.random.default_rng(0), Drops())
            except InputError as error:
                assert str(error)


@pytest.mark.parametrize(
    ("make", "document"),
    [
        (tiny_sets.instances, ""),
        (tiny_sets.captions, ""),
        (tiny_sets.refcoco, "refs(unc).json"),
        (tiny_sets.refcoco, "instances.json"),
        (tiny_sets.panoptic, ""),
        (tiny_sets.panoptic, "../panoptic_train2017.json"),
        (tiny_sets.hc_stvg, ""),
        (tiny_sets.video_refer, ""),
    ],
)
def test_damaged_documents_are_refused_or_skipped(
    tmp_path: Path, make: Callable[[Path], Path], document: str
) -> None:
    path = make(tmp_path)
    form = form_of(path)
    file = path / document if path.is_dir() else (path.parent / Path(document).name)
    file = file if document else path
    original, chance = json.loads(file.read_text()), random.Random(0)
    for _ in range(ROUNDS):
        file.write_text(json.dumps(damaged(original, chance)))
        try:
            use_all(path, form)
        except TraceVLMError as error:
            assert str(error)


@pytest.mark.parametrize("make", [tiny_sets.narratives, tiny_sets.video_narratives])
def test_damaged_lines_are_skipped(tmp_path: Path, make: Callable[[Path], Path]) -> None:
    path = make(tmp_path)
    form, chance = form_of(path), random.Random(0)
    original = json.loads(path.read_text().splitlines()[0])
    tiny_sets.write_lines(path, [damaged(original, chance) for _ in range(4 * ROUNDS)])
    use_all(path, form)
