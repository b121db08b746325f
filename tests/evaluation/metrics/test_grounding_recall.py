"""The recall curve against counting."""

import numpy as np
import pytest

from tracevlm_ros.core.errors import InputError
from tracevlm_ros.evaluation.metrics.grounding_recall import (
    GroundedPhrase,
    phrase_iou,
    recall_by_group,
    recall_curve,
    segment_ids,
)


def test_recall_is_the_share_that_reaches_each_threshold() -> None:
    ious = np.random.default_rng(5).random(37).tolist()
    curve = recall_curve(ious, points=101)
    counted = [sum(iou >= t for iou in ious) / len(ious) for t in curve.threshold]
    assert curve.recall.tolist() == pytest.approx(counted)


def test_the_area_is_the_mean_iou_up_to_the_step() -> None:
    ious = np.random.default_rng(6).random(500)
    curve = recall_curve(ious.tolist())
    assert curve.average == pytest.approx(float(ious.mean()), abs=1e-3)
    assert recall_curve([1.0, 1.0]).average == pytest.approx(1.0)
    assert recall_curve([0.0]).average == pytest.approx(0.0, abs=1e-3)


def test_groups_without_a_phrase_are_left_out() -> None:
    curves = recall_by_group([GroundedPhrase(0.8, True, False), GroundedPhrase(0.2, True, True)])
    assert set(curves) == {"all", "things", "singulars", "plurals"}
    assert curves["plurals"].phrases == 1
    assert curves["singulars"].average == pytest.approx(0.8, abs=2e-3)


def test_a_phrase_is_compared_with_all_of_its_segments() -> None:
    panoptic = segment_ids(
        np.array([[[1, 0, 0], [0, 1, 0]], [[0, 0, 1], [1, 0, 0]]], dtype=np.uint8)
    )
    assert panoptic.tolist() == [[1, 256], [65536, 1]]
    predicted = np.array([[True, True], [False, False]])
    assert phrase_iou(predicted, panoptic, [1, 256]) == pytest.approx(2 / 3)


@pytest.mark.parametrize("ious", [[], [0.5, 1.2], [float("nan")]])
def test_values_that_are_no_ious_are_refused(ious: list[float]) -> None:
    with pytest.raises(InputError, match=r"IoUs in 0\.\.1"):
        recall_curve(ious)
