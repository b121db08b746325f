import numpy as np
import pytest

from tracevlm_ros.core.errors import InputError
from tracevlm_ros.synthetic.attention import STYLES, dwell, minimum_jerk, scribble


def disc(size=200, radius=40, centre=(90, 110)):
    y, x = np.mgrid[:size, :size]
    return (x - centre[0]) ** 2 + (y - centre[1]) ** 2 <= radius**2


def inside_share(mask, xy):
    column, row = np.round(xy).astype(int).T
    return mask[row, column].mean()


@pytest.mark.parametrize("style", STYLES)
def test_strokes_of_every_style_lie_on_or_close_to_the_object(style):
    mask = disc()
    for seed in range(12):
        stroke = scribble(mask, np.random.default_rng(seed), style=style)
        distance = np.hypot(stroke[:, 0] - 90, stroke[:, 1] - 110)
        assert distance.max() < 40 * 1.45
        assert np.median(distance) < 40 * 1.2
        assert np.allclose(np.diff(stroke[:, 2]), 1 / 60)
        assert stroke[0, 2] == 0.0
        assert 0.3 <= stroke[-1, 2] <= 4.0


def test_strokes_are_mostly_inside_and_sometimes_leave_the_object():
    mask = disc()
    shares = [
        inside_share(mask, scribble(mask, np.random.default_rng(seed))[:, :2]) for seed in range(80)
    ]
    assert np.mean(shares) > 0.85
    assert min(shares) < 0.9


def test_strokes_resemble_those_that_people_drew():
    """At the median 37 points and 1.9 square roots of the area long; within a factor of 2."""
    mask = disc()
    strokes = [scribble(mask, np.random.default_rng(seed)) for seed in range(80)]
    lengths = [np.linalg.norm(np.diff(s[:, :2], axis=0), axis=1).sum() for s in strokes]
    assert 20 < np.median([len(s) for s in strokes]) < 74
    assert 0.95 < np.median(lengths) / np.sqrt(mask.sum()) < 3.8


def test_points_stay_in_the_image_when_the_object_touches_its_edge():
    mask = disc(100, 30, (0, 99))
    for seed in range(30):
        generator = np.random.default_rng(seed)
        for path in (scribble(mask, generator), dwell(mask, generator)):
            assert path[:, :2].min() >= 0.0
            assert path[:, :2].max() <= 99.0


@pytest.mark.parametrize("size", [(1, 1), (1, 9), (3, 2)])
def test_the_smallest_objects_can_be_scribbled_on(size):
    mask = np.zeros((50, 50), np.uint8)
    mask[20 : 20 + size[0], 30 : 30 + size[1]] = 255
    for style in STYLES:
        stroke = scribble(mask, np.random.default_rng(1), style=style)
        assert np.isfinite(stroke).all()
    assert np.isfinite(dwell(mask, np.random.default_rng(1))).all()


def test_the_same_generator_state_gives_the_same_attention():
    for act in (scribble, dwell):
        one, two = (act(disc(), np.random.default_rng(5)) for _ in range(2))
        assert np.array_equal(one, two)


def test_a_dwell_rests_on_the_object_at_the_asked_rate():
    mask = disc()
    for seed in range(20):
        gaze = dwell(mask, np.random.default_rng(seed), rate_hz=200.0)
        assert np.allclose(np.diff(gaze[:, 2]), 1 / 200)
        assert inside_share(mask, gaze[:, :2]) > 0.7
        steps = np.linalg.norm(np.diff(gaze[:, :2], axis=0), axis=1)
        assert np.median(steps) < 6.0


def test_minimum_jerk_starts_and_ends_at_rest():
    s = np.array([0.0, 1e-4, 0.5, 1 - 1e-4, 1.0])
    values = minimum_jerk(s)
    assert values[[0, 2, 4]] == pytest.approx([0.0, 0.5, 1.0])
    assert values[1] < 1e-10
    assert 1 - values[3] < 1e-10


def test_an_empty_mask_is_refused():
    for act in (scribble, dwell):
        with pytest.raises(InputError, match=r"mask \(4, 4\) is empty"):
            act(np.zeros((4, 4), bool), np.random.default_rng(0))
