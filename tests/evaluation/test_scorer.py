"""What counts, what does not, and what is told apart, on outcomes made by hand."""

from collections.abc import Iterable, Mapping

import cv2
import numpy as np
import pytest

from tests.evaluation.scenes import MS, box, caption_at, outcome_at, trace_at
from tracevlm_ros.evaluation.figures import make_figures
from tracevlm_ros.evaluation.ground_truth import NO_TRUTH, GroundTruth, Visit
from tracevlm_ros.evaluation.outcome import FrameOutcome
from tracevlm_ros.evaluation.samples import Samples
from tracevlm_ros.evaluation.scorer import RecordingScorer

BALL = Visit(label=1, texts=("a red ball",), start_ns=0, end_ns=400 * MS)
BOX = Visit(label=2, texts=("a blue box",), start_ns=500 * MS, end_ns=900 * MS)


def truth(masks: Mapping[int, np.ndarray], *visits: Visit) -> GroundTruth:
    pngs = {stamp: cv2.imencode(".png", labels)[1].tobytes() for stamp, labels in masks.items()}
    return GroundTruth(visits, pngs)


def score(outcomes: Iterable[FrameOutcome], known: GroundTruth) -> Samples:
    scorer = RecordingScorer(known)
    for outcome in outcomes:
        scorer.add(outcome)
    return scorer.finish()


def test_a_mask_is_compared_with_the_object_whose_visit_its_trace_overlaps_most() -> None:
    labels = box(0, 0, 10, 10, 1) + box(20, 0, 30, 10, 2)
    known = truth({700 * MS: labels}, BALL, BOX)
    trace = trace_at(7, 380 * MS, 700 * MS, (25.0, 5.0))
    (sample,) = score([outcome_at(700 * MS, box(20, 0, 30, 20, 7), (trace,))], known).masks
    assert sample.label == 2
    assert sample.overlap.iou == pytest.approx(0.5)


def test_masks_of_traces_about_one_object_are_joined() -> None:
    known = truth({300 * MS: box(0, 0, 20, 10)}, BALL)
    traces = (trace_at(1, 0, 100 * MS, (5.0, 5.0)), trace_at(2, 120 * MS, 300 * MS, (15.0, 5.0)))
    predicted = box(0, 0, 10, 10, 1) + box(10, 0, 20, 10, 2)
    (sample,) = score([outcome_at(300 * MS, predicted, traces)], known).masks
    assert sample.overlap.iou == 1.0
    assert sample.trace_ids == (1, 2)


def test_frames_before_the_first_and_after_the_last_mask_do_not_count_but_gaps_do() -> None:
    shown = {0: 0, 100: 1, 200: 0, 300: 1, 400: 0}
    known = truth({ms * MS: box(0, 0, 10, 10) for ms in shown}, BALL)
    trace = trace_at(1, 0, 300 * MS, (5.0, 5.0))
    outcomes = [outcome_at(ms * MS, box(0, 0, 10, 10) * on, (trace,)) for ms, on in shown.items()]
    samples = score(outcomes, known)
    assert [one.overlap.iou for one in samples.masks] == [1.0, 0.0, 1.0]
    assert samples.gap_shares == [pytest.approx(1 / 3)]


def test_an_object_out_of_view_without_a_mask_does_not_count() -> None:
    known = truth({100 * MS: box(0, 0, 10, 10), 200 * MS: box(0, 0, 0, 0)}, BALL)
    trace = trace_at(1, 0, 100 * MS, (5.0, 5.0))
    outcomes = [
        outcome_at(100 * MS, box(0, 0, 10, 10), (trace,)),
        outcome_at(200 * MS, box(0, 0, 0, 0), (trace,)),
    ]
    assert len(score(outcomes, known).masks) == 1


def test_without_visits_the_object_under_the_keypoints_is_taken_and_background_is_none() -> None:
    labels = box(0, 0, 10, 10, 4)
    known = truth({100 * MS: labels})
    on_it, beside = trace_at(1, 0, 1, (5.0, 5.0)), trace_at(2, 0, 1, (50.0, 30.0))
    predicted = box(0, 0, 10, 10, 1) + box(45, 25, 55, 35, 2)
    samples = score([outcome_at(100 * MS, predicted, (on_it, beside))], known)
    assert [(one.label, one.overlap.iou) for one in samples.masks] == [(4, 1.0)]


def test_times_run_from_the_first_sample_of_the_trace() -> None:
    trace = trace_at(1, 40 * MS, 90 * MS, (5.0, 5.0))
    outcomes = [
        outcome_at(100 * MS, box(0, 0, 0, 0), (trace,), (caption_at(100 * MS, start_ns=40 * MS),)),
        outcome_at(300 * MS, box(0, 0, 9, 9), (trace,)),
    ]
    samples = score(outcomes, NO_TRUTH)
    assert samples.first_caption_ms == [60.0]
    assert samples.first_mask_ms == [260.0]
    assert samples.caption_latency_ms == []


def test_live_latency_is_read_from_the_node_clock_unless_that_is_another_clock() -> None:
    spoken = (
        caption_at(100 * MS, 1, published_ns=350 * MS),
        caption_at(100 * MS, 2, published_ns=10**18),
    )
    samples = score([outcome_at(100 * MS, box(0, 0, 0, 0), (), spoken)], NO_TRUTH)
    assert samples.caption_latency_ms == [250.0]


def test_the_longest_overlapping_trace_speaks_for_a_visit_and_silence_counts_as_empty() -> None:
    spoken = (
        caption_at(100 * MS, 1, "a red ball", 0, 300 * MS),
        caption_at(100 * MS, 2, "a wall", 300 * MS, 390 * MS),
        caption_at(100 * MS, 3, "yes", 0, 400 * MS, question="is it red?"),
        caption_at(100 * MS, 1, "a red", 0, 300 * MS, is_final=False),
    )
    outcomes = [outcome_at(100 * MS, None, (), spoken), outcome_at(900 * MS, None)]
    samples = score(outcomes, truth({}, BALL, BOX))
    assert [(one.trace_id, one.text) for one in samples.captions] == [(1, "a red ball"), (None, "")]
    assert (samples.visits, samples.visits_described) == (2, 1)
    values = make_figures(samples, with_java=False).values()
    assert values["described"] == values["exact"] == 0.5


def test_visits_that_no_frame_reached_are_counted_and_not_scored_as_silence() -> None:
    spoken = (caption_at(100 * MS, 1, "a red ball", 0, 300 * MS),)
    outcomes = [outcome_at(100 * MS, None, (), spoken), outcome_at(500 * MS, None)]
    samples = score(outcomes, truth({}, BALL, BOX))
    assert (samples.visits, samples.visits_not_reached) == (1, 1)
    values = make_figures(samples, with_java=False).values()
    assert values["described"] == values["exact"] == values["visits_not_reached"] == 1.0


def test_when_no_visit_was_reached_that_is_the_reason_of_missing_captions() -> None:
    figures = make_figures(score([], truth({}, BALL, BOX)), with_java=False)
    assert figures.left_out["CIDEr-D"] == "no frame reached any of 2 visits"


def test_ground_truth_masks_of_no_frame_are_told_apart_from_none() -> None:
    known = truth({100 * MS + 1: box(0, 0, 10, 10), 200 * MS + 1: box(0, 0, 10, 10)}, BALL)
    outcomes = [outcome_at(100 * MS, box(0, 0, 10, 10), (trace_at(1, 0, 100 * MS, (5.0, 5.0)),))]
    left_out = make_figures(score(outcomes, known), with_java=False).left_out
    assert left_out["J mean"] == "2 ground truth masks, none has the stamp of a frame"


def test_frames_dropped_live_are_told_apart_from_frames_without_an_object() -> None:
    outcomes = [outcome_at(100 * MS, None), outcome_at(200 * MS, box(0, 0, 0, 0))]
    samples = score(outcomes, NO_TRUTH)
    assert (samples.frames, samples.frames_with_masks) == (2, 1)


def test_keypoints_of_captions_stand_in_where_traces_were_not_recorded() -> None:
    spoken = (caption_at(100 * MS),)
    samples = score([outcome_at(100 * MS, box(0, 0, 10, 10), (), spoken)], NO_TRUTH)
    assert (samples.points_in_mask, samples.points) == (1, 1)


def test_figures_without_ground_truth_are_left_out_by_name_and_none_is_nan() -> None:
    figures = make_figures(score([outcome_at(100 * MS, box(0, 0, 0, 0))], NO_TRUTH))
    assert {"J mean", "F mean", "J&F", "cIoU", "gIoU", "P@0.5"} <= set(figures.left_out)
    assert figures.left_out["J mean"] == "no ground truth masks"
    assert {"BLEU-1..4", "ROUGE-L", "CIDEr-D", "METEOR 1.5", "SPICE"} <= set(figures.left_out)
    assert all(np.isfinite(figure.value) for figure in figures.figures)


def test_poured_samples_hold_everything_of_both() -> None:
    known = truth({100 * MS: box(0, 0, 10, 10)}, BALL)
    trace = trace_at(1, 0, 100 * MS, (5.0, 5.0))
    one, two = (score([outcome_at(100 * MS, box(0, 0, 10, 10), (trace,))], known) for _ in "ab")
    two.drops["gaze_late"] = 3
    one.pour(two)
    assert (one.frames, one.traces, len(one.masks), one.drops["gaze_late"]) == (2, 2, 2, 3)
