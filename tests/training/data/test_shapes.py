import numpy as np
import pytest

from tracevlm_ros.core.drops import Drops
from training.data.readers.shapes import Box, Outlines, RunLengths, read_segmentation, unpack_counts


def packed(counts: list[int]) -> str:
    """Textbook packing of run lengths, the inverse of what is tested."""
    text = ""
    for index, count in enumerate(counts):
        value = count - counts[index - 2] if index > 2 else count
        more = True
        while more:
            group = value & 31
            value >>= 5
            more = value != (-1 if group & 16 else 0)
            text += chr((group | (32 if more else 0)) + 48)
    return text


def test_run_lengths_of_random_masks_come_back() -> None:
    rng = np.random.default_rng(0)
    for _ in range(50):
        mask = rng.random((7, 11)) < rng.uniform(0.05, 0.95)
        flat = mask.T.reshape(-1)
        edges = np.flatnonzero(np.diff(flat)) + 1
        counts = np.diff(np.concatenate([[0], edges, [flat.size]])).tolist()
        counts = [0, *counts] if flat[0] else counts
        assert unpack_counts(packed(counts)) == tuple(counts)
        stored = {"size": [7, 11], "counts": packed(counts)}
        shape = read_segmentation(stored, (7, 11), Drops())
        if mask.any():
            assert shape is not None
            assert np.array_equal(shape.mask((7, 11)), mask)
        else:
            assert shape is None


def test_packed_run_lengths_agree_with_the_reference_tools() -> None:
    tools = pytest.importorskip("pycocotools.mask", reason="pycocotools is not installed")
    mask = np.random.default_rng(1).random((33, 47)) < 0.4
    stored = tools.encode(np.asfortranarray(mask.astype(np.uint8)))
    shape = RunLengths(unpack_counts(stored["counts"]), (33, 47))
    assert np.array_equal(shape.mask((33, 47)), mask)


@pytest.mark.parametrize("counts", ["P", "\x01", "é", [1, -1], [3, "x"], [5], None, 7])
def test_run_lengths_that_are_none_are_counted(counts: object) -> None:
    drops = Drops()
    assert read_segmentation({"size": [2, 3], "counts": counts}, (2, 3), drops) is None
    assert drops == {"run_lengths_malformed": 1}


@pytest.mark.parametrize(
    ("polygon", "reason"),
    [
        ([1.0, 1.0, 5.0, 5.0], "polygon_malformed"),
        ([1.0, 1.0, 5.0, 5.0, 2.0], "polygon_malformed"),
        ([1.0, 1.0, float("nan"), 5.0, 2.0, 2.0], "polygon_malformed"),
        (["a", 1, 2, 3, 4, 5], "polygon_malformed"),
        ([-9.0, 1.0, -1.0, 1.0, -5.0, 5.0], "polygon_outside_image"),
        ([30.0, 1.0, 40.0, 1.0, 35.0, 5.0], "polygon_outside_image"),
    ],
)
def test_polygons_that_cannot_be_drawn_are_counted(polygon: list[float], reason: str) -> None:
    drops = Drops()
    assert read_segmentation([polygon], (20, 30), drops) is None
    assert drops == {reason: 1}


def test_a_polygon_partly_outside_is_cut_at_the_edge() -> None:
    square = [-10.0, -10.0, 5.0, -10.0, 5.0, 5.0, -10.0, 5.0]
    shape = read_segmentation([square], (20, 30), Drops())
    assert shape is not None
    mask = shape.mask((20, 30))
    assert mask[:5, :5].all()
    assert mask.sum() == 25


def test_shapes_scale_with_the_picture() -> None:
    square = np.array([[10.0, 5.0], [20.0, 5.0], [20.0, 15.0], [10.0, 15.0]])
    outlines = Outlines((square,), (20, 30))
    box = Box((1 / 3, 0.25, 2 / 3, 0.75))
    for size in ((20, 30), (40, 60), (80, 120)):
        assert np.array_equal(outlines.mask(size), box.mask(size))
        assert box.mask(size).sum() == size[0] * size[1] // 6
