import xml.etree.ElementTree as ET

import numpy as np
import pytest

from tracevlm_ros.evaluation.report.charts import binned_curve, curve, histogram, nice_limits


def test_a_histogram_draws_each_value_once_and_keeps_the_far_ones_in_the_last_bar() -> None:
    values = [0.05, 0.05, 0.55, 7.0]
    drawing = ET.fromstring(histogram(values, "J", (0.0, 1.0), bins=10))
    titles = [title.text or "" for title in drawing.iter("title")]
    counts = [int(title.rpartition(": ")[2]) for title in titles]
    assert counts == [2, 0, 0, 0, 0, 1, 0, 0, 0, 1]
    bars = list(drawing.iter("rect"))
    assert float(bars[0].attrib["height"]) == pytest.approx(2 * float(bars[5].attrib["height"]))


def test_labels_are_escaped() -> None:
    assert "a &lt; b" in histogram([1.0], "a < b")


def test_a_binned_curve_gives_means_and_quartiles_and_skips_empty_bins() -> None:
    points = binned_curve([0.0, 0.1, 0.9, 1.0], [0.2, 0.4, 0.8, 1.0], bins=4)
    assert [(point.x, point.mean) for point in points] == [
        (pytest.approx(0.125), pytest.approx(0.3)),
        (pytest.approx(0.875), pytest.approx(0.9)),
    ]
    assert points[0].low == pytest.approx(np.percentile([0.2, 0.4], 25))
    assert len(list(ET.fromstring(curve(points, "s", "J")).iter("circle"))) == 2


def test_nothing_to_draw_still_gives_a_chart() -> None:
    assert binned_curve([], []) == []
    ET.fromstring(curve([], "s", "J"))


@pytest.mark.parametrize(("highest", "limit"), [(0.9, 1.0), (12.0, 15.0), (501.0, 750.0)])
def test_limits_are_round_numbers_just_above(highest: float, limit: float) -> None:
    assert nice_limits([highest]) == (0.0, pytest.approx(limit))
