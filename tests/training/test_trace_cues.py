import torch

from training.model.trace_cues import HEADS, REACHES, STEPS, Stroke, StrokeCues
from training.model.tvp import grid_centres

SIDE = 8


def _cues(spread: bool = True) -> StrokeCues:
    torch.manual_seed(0)
    return StrokeCues(6, spread)


def _stroke(*points: tuple[float, float], slots: int = 4) -> Stroke:
    xy = torch.zeros(1, slots, 2)
    xy[0, : len(points)] = torch.tensor(points)
    valid = (torch.arange(slots) < len(points)).float()[None]
    return Stroke(xy, torch.zeros(1, slots), valid)


def _run(pixels: torch.Tensor, stroke: Stroke, spread: bool = True) -> torch.Tensor:
    with torch.no_grad():
        planes: torch.Tensor = _cues(spread)(pixels, grid_centres(SIDE, SIDE), stroke)
    return planes


def test_closeness_is_one_on_the_stroke_and_falls_away_from_it() -> None:
    middle = 4.5 / SIDE
    planes = _run(torch.randn(1, 6, SIDE, SIDE), _stroke((0.1, middle), (0.9, middle)))
    assert planes.shape == (1, len(REACHES) + 2 * HEADS + len(STEPS), SIDE, SIDE)
    for plane in planes[0, : len(REACHES)]:
        assert torch.allclose(plane[4, 1:7], torch.ones(6), atol=1e-3)
        assert (plane[4] > plane[5]).all()
        assert (plane[5] >= plane[7]).all()


def test_padded_keypoints_change_nothing() -> None:
    pixels = torch.randn(1, 6, SIDE, SIDE)
    two = ((0.2, 0.3), (0.6, 0.7))
    padded = _stroke(*two, slots=4)
    elsewhere = padded.points.clone()
    elsewhere[0, 2:] = 0.95
    short = _run(pixels, _stroke(*two, slots=2))
    torch.testing.assert_close(_run(pixels, padded), short)
    torch.testing.assert_close(_run(pixels, padded._replace(points=elsewhere)), short)


def test_pixels_that_look_like_those_under_the_stroke_are_told_apart_from_others() -> None:
    """Two halves of one feature vector each; the stroke lies in the left one."""
    left, right = torch.randn(6), torch.randn(6)
    pixels = torch.empty(1, 6, SIDE, SIDE)
    pixels[0, :, :, :4], pixels[0, :, :, 4:] = left[:, None, None], right[:, None, None]
    planes = _run(pixels, _stroke((0.1, 0.2), (0.1, 0.4)))[0]
    best = planes[len(REACHES) : len(REACHES) + HEADS]
    assert (best[:, :, :4] > best[:, :, 4:]).all()
    four_steps = planes[-1]
    assert four_steps.max() == 1.0
    assert four_steps[7, 2] > four_steps[7, 5]


def test_many_strokes_over_one_picture_give_what_each_gives_alone() -> None:
    pixels = torch.randn(1, 6, SIDE, SIDE)
    first, second = _stroke((0.1, 0.2), (0.5, 0.2)), _stroke((0.7, 0.9))
    both = Stroke(*(torch.cat(parts) for parts in zip(first, second, strict=True)))
    together = _run(pixels, both)
    torch.testing.assert_close(together[:1], _run(pixels, first))
    torch.testing.assert_close(together[1:], _run(pixels, second))
