import math

import numpy as np
import pytest
import torch

from tracevlm_ros.core.errors import InputError
from training.model.config import QwenVisionConfig
from training.model.qwen.layout import Grid, frame_layout, patch_places, to_maps, window_layout
from training.model.qwen.patches import cut_patches, cut_still, fitted_size, prepare

CONFIG = QwenVisionConfig(width=32, depth=2, heads=2, window=56, shallow_block=0)


def test_patches_equal_those_of_the_released_processor() -> None:
    pytest.importorskip("transformers")
    pytest.importorskip("PIL")
    from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil

    picture = np.random.default_rng(0).integers(0, 256, (84, 140, 3), dtype=np.uint8)
    wanted = Qwen2VLImageProcessorPil()(images=[picture], return_tensors="pt")
    given = prepare(torch.from_numpy(picture)[None], CONFIG)
    assert wanted["image_grid_thw"].tolist() == [list(given.grid)] == [[1, 6, 10]]
    torch.testing.assert_close(given.values, wanted["pixel_values"], rtol=0, atol=1e-5)


def test_a_still_is_cut_as_a_clip_of_one_frame() -> None:
    frame = torch.randn(1, 3, 84, 140, generator=torch.Generator().manual_seed(0))
    given, wanted = cut_still(frame, CONFIG), cut_patches(frame, CONFIG)
    assert given.grid == wanted.grid
    torch.testing.assert_close(given.values, wanted.values, rtol=0, atol=0)


def test_fitted_sizes_equal_those_of_the_released_processor() -> None:
    pytest.importorskip("transformers")
    pytest.importorskip("PIL")
    from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import smart_resize

    random = np.random.default_rng(1)
    sizes = [(28, 28), (56, 57), (13, 900), (4000, 3000), *random.integers(20, 3000, (200, 2))]
    for height, width in sizes:
        wanted = smart_resize(int(height), int(width), 28, 56 * 56, 28 * 28 * 1280)
        assert fitted_size(int(height), int(width), 28) == wanted


def test_a_still_fills_both_frames_of_its_step_and_an_odd_clip_repeats_its_last() -> None:
    frames = torch.randn(3, 3, 56, 56)
    values, grid = cut_patches(frames, CONFIG)
    assert grid == Grid(2, 4, 4)
    by_time = values.reshape(2, 16, 3, 2, 14, 14)
    assert torch.equal(by_time[1, :, :, 0], by_time[1, :, :, 1])
    assert not torch.equal(by_time[0, :, :, 0], by_time[0, :, :, 1])
    assert torch.equal(by_time[0, 0, :, 0], frames[0, :, :14, :14])


@pytest.mark.parametrize("shape", [(0, 3, 56, 56), (1, 3, 50, 56), (1, 3, 56, 0)])
def test_frames_that_cannot_be_cut_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(InputError, match="multiples of 28"):
        cut_patches(torch.zeros(shape), CONFIG)


def test_a_sliver_of_a_picture_is_refused() -> None:
    with pytest.raises(InputError, match="2 x 900"):
        fitted_size(900, 2, 28)


def test_pictures_are_resized_into_the_pixel_budget() -> None:
    picture = torch.full((1, 300, 500, 3), 200, dtype=torch.uint8)
    values, grid = prepare(picture, CONFIG, max_pixels=28 * 28 * 20)
    assert grid.rows * grid.columns <= 4 * 20
    assert math.isclose(grid.columns / grid.rows, 500 / 300, rel_tol=0.3)
    for channel in values.reshape(-1, 3, 2 * 14 * 14).unbind(1):
        torch.testing.assert_close(channel, channel[:1, :1].expand_as(channel))


@pytest.mark.parametrize("grid", [Grid(1, 6, 10), Grid(3, 4, 6), Grid(1, 2, 2), Grid(2, 8, 8)])
def test_windows_hold_neighbours_of_one_step_and_every_patch_once(grid: Grid) -> None:
    layout = window_layout((grid,), CONFIG)
    places = patch_places(grid, 2)
    step = np.repeat(np.arange(grid.steps), grid.rows * grid.columns)
    order = layout.order.numpy()
    assert sorted(order) == list(range(grid.patches()))
    assert torch.equal(layout.order[layout.inverse], torch.arange(grid.patches()))
    at = 0
    seen = set()
    for number, length in layout.groups:
        for _ in range(number):
            chunk = order[at : at + length]
            windows = {(step[i], *(places[i] // 4)) for i in chunk}
            assert len(windows) == 1
            assert not windows & seen
            seen |= windows
            at += length
    assert at == grid.patches()
    assert len(seen) == grid.steps * math.ceil(grid.rows / 4) * math.ceil(grid.columns / 4)


def test_full_attention_stays_inside_a_frame() -> None:
    layout = frame_layout((Grid(2, 4, 4), Grid(1, 2, 2)))
    assert layout.groups == ((2, 16), (1, 4))
    assert layout.order.tolist() == list(range(36))


def test_maps_put_each_patch_at_its_row_and_column() -> None:
    grid = Grid(2, 4, 6)
    places = torch.from_numpy(patch_places(grid, 2))
    maps = to_maps(places.float(), grid, 2)
    rows, columns = torch.meshgrid(torch.arange(4.0), torch.arange(6.0), indexing="ij")
    assert torch.equal(maps, torch.stack([rows, columns]).expand(2, -1, -1, -1))
