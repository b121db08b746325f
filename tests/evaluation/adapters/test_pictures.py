"""Masks of data sets, against the COCO tools where they are installed."""

import numpy as np
import pytest

from tracevlm_ros.core.errors import InputError
from tracevlm_ros.evaluation.adapters.pictures import decode_rle, fill_polygons


def test_run_lengths_go_down_the_columns_and_begin_with_zeros() -> None:
    mask = decode_rle([1, 2, 3], (2, 3))
    assert mask.tolist() == [[False, True, False], [True, False, False]]


def test_the_text_form_is_what_the_coco_tools_write() -> None:
    coco = pytest.importorskip("pycocotools.mask", reason="pycocotools is not installed")
    rng = np.random.default_rng(3)
    for size in ((7, 5), (40, 61), (200, 3)):
        mask = rng.random(size) < 0.4
        mask[: size[0] // 2] = True
        text = coco.encode(np.asfortranarray(mask.astype(np.uint8)))["counts"].decode()
        assert (decode_rle(text, size) == mask).all()


def test_runs_that_do_not_fill_the_mask_are_refused() -> None:
    with pytest.raises(InputError, match="cover 5 pixels"):
        decode_rle([2, 3], (2, 3))


def test_outlines_are_filled_with_pixel_corners_as_origin() -> None:
    mask = fill_polygons([[2, 1, 6, 1, 6, 4, 2, 4]], (6, 9))
    assert mask[1:4, 2:6].all()
    assert not mask[:, 7:].any() and not mask[5].any()
