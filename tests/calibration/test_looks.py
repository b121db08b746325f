from pathlib import Path

import numpy as np
import pytest

from calibration.clicked_targets import read_clicked_targets
from calibration.looks import LookRules, TargetSpan, looks_at_sightings, looks_in_spans
from calibration.markers import Sighting
from tracevlm_ros.core.drops import Drops
from tracevlm_ros.core.errors import ConfigError, InputError
from tracevlm_ros.core.types import GazeSample

SIZE_HW = (500, 1000)
SIZE = np.array([1000.0, 500.0])
MS = 1_000_000


def seen(number: int, x: float, y: float, start_ms: int, end_ms: int) -> list[Sighting]:
    return [Sighting(t * MS, number, x, y) for t in range(start_ms, end_ms + 1, 40)]


def gaze(x: float, y: float, start_ms: int, end_ms: int, noise: float = 2.0) -> list[GazeSample]:
    rng = np.random.default_rng(start_ms)
    return [
        GazeSample(t * MS, x + rng.normal(0, noise), y + rng.normal(0, noise))
        for t in range(start_ms, end_ms, 10)
    ]


def test_each_marker_takes_the_gaze_that_is_nearest_to_it() -> None:
    sightings = seen(1, 200, 100, 0, 2000) + seen(2, 800, 400, 0, 2000)
    samples = gaze(230, 120, 0, 1000) + gaze(820, 430, 1000, 2000)
    drops = Drops()
    first, second = looks_at_sightings(sightings, samples, SIZE_HW, LookRules(), drops)
    np.testing.assert_allclose(first.target * SIZE - 0.5, (200, 100))
    np.testing.assert_allclose(first.gaze.mean(axis=0) * SIZE - 0.5, (230, 120), atol=1)
    np.testing.assert_allclose(second.gaze.mean(axis=0) * SIZE - 0.5, (820, 430), atol=1)
    assert len(first.gaze) == len(second.gaze) == 100
    assert +drops == {}


def test_stray_samples_are_left_out_and_do_not_end_a_look() -> None:
    samples = gaze(210, 110, 0, 1000)
    for index in range(5, 100, 5):
        samples[index] = samples[index]._replace(x_px=290.0)
    drops = Drops()
    sightings = seen(1, 200, 100, 0, 1000)
    (look,) = looks_at_sightings(sightings, samples, SIZE_HW, LookRules(), drops)
    assert len(look.gaze) == 81
    assert drops["gaze_not_stable"] == 19


def test_gaze_that_passes_by_is_no_look() -> None:
    samples = [GazeSample(t * MS, 60 + 0.4 * t, 100) for t in range(0, 700, 10)]
    drops = Drops()
    sightings = seen(1, 200, 100, 0, 1000)
    assert looks_at_sightings(sightings, samples, SIZE_HW, LookRules(), drops) == []
    assert drops["gaze_not_stable"] == 70 - drops["gaze_far_from_target"]


def test_samples_without_a_target_are_counted_by_reason() -> None:
    sightings = seen(1, 200, 100, 0, 400)
    samples = [
        *gaze(200, 100, 0, 400),
        GazeSample(401 * MS, np.nan, 3.0),
        GazeSample(402 * MS, 200, 100, confidence=0.1),
        *gaze(200, 100, 500, 600),
        *gaze(900, 400, 405 - 5, 401),
    ]
    drops = Drops()
    looks_at_sightings(sightings, samples, SIZE_HW, LookRules(), drops)
    assert drops["gaze_lost"] == 2
    assert drops["gaze_without_target"] == 10
    assert drops["gaze_far_from_target"] == 1


def test_a_marker_that_is_hidden_for_a_second_is_not_interpolated() -> None:
    sightings = seen(1, 200, 100, 0, 400) + seen(1, 800, 400, 1400, 1800)
    drops = Drops()
    looks_at_sightings(sightings, gaze(500, 250, 500, 1300), SIZE_HW, LookRules(), drops)
    assert drops["gaze_without_target"] == 80


def test_one_marker_carried_through_the_view_gives_many_targets() -> None:
    def place(t: float) -> tuple[float, float]:
        return 100 + 0.1 * t, 100 + 0.03 * t

    sightings = [Sighting(t * MS, 5, *place(t)) for t in range(0, 8001, 40)]
    samples = [GazeSample(t * MS, place(t)[0] + 30, place(t)[1] - 20) for t in range(0, 8000, 10)]
    looks = looks_at_sightings(sightings, samples, SIZE_HW, LookRules(), Drops())
    assert len(looks) >= 7
    offsets = np.array([(look.gaze - look.target).mean(axis=0) * SIZE for look in looks])
    np.testing.assert_allclose(offsets, np.tile((30.0, -20.0), (len(looks), 1)), atol=0.01)


def test_a_marker_that_is_whisked_away_is_not_followed() -> None:
    sightings = [Sighting(t * MS, 5, 0.6 * t, 100) for t in range(0, 1001, 40)]
    samples = [GazeSample(t * MS, 0.6 * t, 100) for t in range(0, 1000, 10)]
    drops = Drops()
    assert looks_at_sightings(sightings, samples, SIZE_HW, LookRules(), drops) == []
    assert drops["gaze_target_fast"] >= 98


def test_looks_at_one_place_are_one_target() -> None:
    sightings = seen(1, 200, 100, 0, 5000)
    samples = gaze(210, 110, 0, 500) + gaze(214, 110, 3000, 3500)
    (look,) = looks_at_sightings(sightings, samples, SIZE_HW, LookRules(), Drops())
    assert len(look.gaze) == 100


def test_a_clicked_point_takes_every_sample_of_its_span() -> None:
    spans = [TargetSpan(0, 500 * MS, 100, 50), TargetSpan(900 * MS, 1000 * MS, 5, 5)]
    drops = Drops()
    (look,) = looks_in_spans(spans, gaze(130, 60, 0, 800), SIZE_HW, LookRules(), drops)
    assert len(look.gaze) == 50
    np.testing.assert_allclose(look.target * SIZE - 0.5, (100, 50))
    assert drops["target_without_gaze"] == 1


def test_clicked_points_are_read_with_seconds_from_the_first_frame(tmp_path: Path) -> None:
    path = tmp_path / "points.csv"
    path.write_text("name, start_s, end_s, x_px, y_px\na, 0.5, 1.25, 10, 20.5\n")
    assert read_clicked_targets(path, 7) == [TargetSpan(500_000_007, 1_250_000_007, 10.0, 20.5)]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("start_s,end_s,x_px\n0,1,2\n", "no column y_px"),
        ("start_s,end_s,x_px,y_px\n", "no clicked points"),
        ("start_s,end_s,x_px,y_px\n0,1,2,3\n2,1,2,3\n", "line 3.*ends at 1 s"),
        ("start_s,end_s,x_px,y_px\n0,1,two,3\n", "line 2: x_px is 'two'"),
        ("start_s,end_s,x_px,y_px\n0,1,nan,3\n", "must be finite"),
        ("start_s,end_s,x_px,y_px\n0,1,3\n", "y_px is None"),
    ],
)
def test_a_garbled_table_is_refused_by_line(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "points.csv"
    path.write_text(text)
    with pytest.raises(InputError, match=message):
        read_clicked_targets(path, 0)


def test_rules_out_of_range_are_refused() -> None:
    with pytest.raises(ConfigError, match="max_distance is 2"):
        LookRules(max_distance=2)
