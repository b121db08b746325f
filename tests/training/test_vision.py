import dataclasses

import torch

from training.model.config import VisionConfig, tiny
from training.model.merger import PatchMerger
from training.model.vision import VisionEncoder, rotary_tables


def _encoder(**changes: object) -> VisionEncoder:
    torch.manual_seed(0)
    return VisionEncoder(dataclasses.replace(tiny().vision, **changes), 32).eval()


def test_window_order_and_back_is_the_identity() -> None:
    encoder = _encoder()
    grid = torch.randn(2, 32, 4, 4)
    assert torch.equal(encoder._to_grid(encoder._to_windows(grid)), grid)


def test_windowed_blocks_do_not_mix_windows() -> None:
    encoder = _encoder(full_attention_blocks=())
    x = torch.randn(1, 16, 32)
    changed = x.clone()
    changed[:, :4] += 1.0
    block = encoder.blocks[0]
    one, two = encoder._run(block, x, False), encoder._run(block, changed, False)
    assert torch.equal(one[:, 4:], two[:, 4:])
    assert not torch.allclose(one[:, :4], two[:, :4])
    assert not torch.allclose(
        encoder._run(block, x, True)[:, 4:], encoder._run(block, changed, True)[:, 4:]
    )


def test_the_first_windows_rotary_rows_serve_every_window() -> None:
    """Attention depends on differences of positions, which repeat from window to window."""
    cos, sin = rotary_tables(VisionConfig(image_size=64, width=16, heads=1, window_patches=2))
    x, y = torch.randn(1, 16), torch.randn(1, 16)

    def score(a: int, b: int) -> torch.Tensor:
        def turned(v: torch.Tensor, at: int) -> torch.Tensor:
            rotated = torch.cat([-v[:, 8:], v[:, :8]], dim=1)
            return v * cos[at] + rotated * sin[at]

        return (turned(x, a) * turned(y, b)).sum()

    for window in range(4):
        torch.testing.assert_close(score(0, 3), score(4 * window, 4 * window + 3))


def test_merged_tokens_are_in_raster_order() -> None:
    merger = PatchMerger(8, 2, 5)
    grid = torch.randn(1, 8, 4, 6)[..., :4]
    tokens = merger(grid)
    for index in range(4):
        row, column = divmod(index, 2)
        block = grid[:, :, 2 * row : 2 * row + 2, 2 * column : 2 * column + 2]
        torch.testing.assert_close(merger(block)[:, 0], tokens[:, index])


def test_both_stems_give_the_shapes_of_the_contract() -> None:
    for stem, details, channels in (("conv", 0, 16), ("conv", 4, 32), ("linear", 0, 16)):
        encoder = _encoder(stem=stem, detail_channels=details)
        tokens, deep, shallow = encoder(torch.randn(2, 3, 64, 64))
        assert tokens.shape == (2, 4, 32)
        assert deep.shape == (2, 32, 4, 4)
        assert shallow.shape == (2, channels, 8, 8)
