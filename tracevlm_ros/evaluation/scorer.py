"""Outcomes of one recording, frame by frame, into samples for the metrics.

A label image gives each pixel one owner, so traces about one object share its pixels: their masks
are joined before they are compared with the object. An object counts on each frame from the first
to the last mask of its traces; a frame between them without a mask scores 0, and one on which both
the object and the mask are empty does not count. A visit counts when the frames reached its middle:
of what came after a recording stopped, nothing could be said.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence

import numpy as np

from tracevlm_ros.core.label_image import label_of
from tracevlm_ros.core.types import BoolArray, Keypoints, Masks
from tracevlm_ros.evaluation.ground_truth import GroundTruth, Labels, Visit
from tracevlm_ros.evaluation.matching import TraceMatcher
from tracevlm_ros.evaluation.metrics.boundary import boundary_f
from tracevlm_ros.evaluation.metrics.masks import overlap
from tracevlm_ros.evaluation.metrics.pointing import point_in_mask
from tracevlm_ros.evaluation.metrics.stability import StabilityMeter
from tracevlm_ros.evaluation.outcome import FrameOutcome, SpokenCaption, shown_trace_ids
from tracevlm_ros.evaluation.samples import CaptionSample, MaskSample, Samples

_NS_PER_MS = 1e6
_MAX_LATENCY_NS = 60_000_000_000
"""Node times farther than this from the frame's are of another clock: not read as latency."""
_FORGET_NS = 3_000_000_000
"""A trace without line or mask for so long is over: no more gaps are expected of it."""


class RecordingScorer:
    """Feed each outcome with ``add``; ``finish`` gives the samples."""

    def __init__(self, truth: GroundTruth) -> None:
        self._truth = truth
        self._matcher = TraceMatcher(truth.visits)
        self._samples = Samples(truth_masks=len(truth.mask_pngs))
        self._last_ns: int | None = None
        self._traces: set[int] = set()
        self._active: dict[int, int] = {}
        self._first_mask_ns: dict[int, int] = {}
        self._first_caption: set[int] = set()
        self._meters: dict[int, StabilityMeter] = defaultdict(StabilityMeter)
        self._finals: dict[int, SpokenCaption] = {}
        self._gaps: dict[int, list[MaskSample]] = defaultdict(list)

    @property
    def frames(self) -> int:
        return self._samples.frames

    def add(self, outcome: FrameOutcome) -> tuple[MaskSample, ...]:
        """Score one frame; returns its mask samples, those of gaps excepted."""
        stamp_ns = outcome.frame.stamp_ns
        self._last_ns = stamp_ns if self._last_ns is None else max(self._last_ns, stamp_ns)
        self._samples.frames += 1
        self._samples.frames_with_masks += outcome.masks is not None
        self._samples.frames_with_truth += stamp_ns in self._truth.mask_pngs
        if outcome.step_ms is not None:
            self._samples.step_ms.append(outcome.step_ms)
        if outcome.describe_ms is not None:
            self._samples.describe_ms.append(outcome.describe_ms)
        self._keep_active(outcome)
        for trace in outcome.traces:
            self._matcher.see(trace.trace_id, trace.start_ns, trace.end_ns)
        for spoken in outcome.captions:
            self._hear(spoken)
        if outcome.masks is None:
            return ()
        self._behaviour(outcome, outcome.masks)
        return self._against_truth(outcome, outcome.masks)

    def finish(self) -> Samples:
        """Everything that had to wait for the end; call once."""
        samples = self._samples
        for meter in self._meters.values():
            flicker, gap_share = meter.result()
            samples.flickers += [flicker] if np.isfinite(flicker) else []
            samples.gap_shares += [gap_share] if np.isfinite(gap_share) else []
        samples.traces = len(self._traces)
        if self._truth.visits or self._truth.mask_pngs:
            labels = map(self._matcher.object_label, self._traces)
            samples.traces_without_object = sum(label is None for label in labels)
        self._pair_captions()
        return samples

    def _keep_active(self, outcome: FrameOutcome) -> None:
        stamp_ns, shown = outcome.frame.stamp_ns, shown_trace_ids(outcome)
        self._traces |= shown
        self._active |= dict.fromkeys(shown, stamp_ns)
        for trace_id, last_ns in list(self._active.items()):
            if abs(stamp_ns - last_ns) > _FORGET_NS:
                del self._active[trace_id]

    def _hear(self, spoken: SpokenCaption) -> None:
        caption = spoken.caption
        if caption.question:
            return
        trace_id = caption.trace_id
        self._traces.add(trace_id)
        self._matcher.see(trace_id, caption.start_ns, caption.end_ns)
        if trace_id not in self._first_caption and caption.text:
            self._first_caption.add(trace_id)
            delay_ns = spoken.visible_ns - caption.start_ns
            self._samples.first_caption_ms.append(delay_ns / _NS_PER_MS)
        if not caption.is_final:
            return
        self._finals[trace_id] = spoken
        latency_ns = spoken.published_ns - caption.stamp_ns
        if spoken.published_ns and 0 <= latency_ns < _MAX_LATENCY_NS:
            self._samples.caption_latency_ms.append(latency_ns / _NS_PER_MS)

    def _behaviour(self, outcome: FrameOutcome, masks: Masks) -> None:
        """Measures without ground truth."""
        points = _keypoints_on(outcome)
        for trace_id in sorted(self._active):
            mask = _joined(masks, [trace_id])
            self._meters[trace_id].add(mask if mask.any() else None)
            if not mask.any():
                continue
            if trace_id not in self._first_mask_ns:
                self._first_mask_ns[trace_id] = masks.stamp_ns
                start_ns = self._matcher.start_ns(trace_id)
                if start_ns is not None:
                    delay_ms = (masks.stamp_ns - start_ns) / _NS_PER_MS
                    self._samples.first_mask_ms.append(delay_ms)
            if trace_id in points:
                inside, count = point_in_mask(points[trace_id], mask)
                self._samples.points_in_mask += inside
                self._samples.points += count

    def _against_truth(self, outcome: FrameOutcome, masks: Masks) -> tuple[MaskSample, ...]:
        labels = self._truth.labels_at(outcome.frame.stamp_ns)
        if labels is None:
            return ()
        for trace_id, keypoints in _keypoints_on(outcome).items():
            self._matcher.place(trace_id, keypoints, labels)
        traces_of: dict[int, list[int]] = defaultdict(list)
        for trace_id in sorted(self._active.keys() & self._first_mask_ns.keys()):
            label = self._matcher.object_label(trace_id)
            if label is not None:
                traces_of[label].append(trace_id)
        found = []
        for label, trace_ids in sorted(traces_of.items()):
            sample = self._compare(label, trace_ids, masks, labels)
            if sample is not None:
                found.append(sample)
        return tuple(found)

    def _compare(
        self, label: int, trace_ids: list[int], masks: Masks, labels: Labels
    ) -> MaskSample | None:
        """The sample of one object; held back as a gap while its mask is empty."""
        predicted, truth = _joined(masks, trace_ids), labels == label
        is_gap = not predicted.any()
        if is_gap and not truth.any():
            return None
        shown = tuple(key for key in trace_ids if key in masks.trace_ids)
        first_ns = min(self._first_mask_ns[key] for key in (shown or trace_ids))
        since_s = (masks.stamp_ns - first_ns) / 1e9
        edge_f = 0.0 if is_gap else boundary_f(predicted, truth)
        sample = MaskSample(
            label, masks.stamp_ns, shown, overlap(predicted, truth), edge_f, since_s
        )
        if is_gap:
            self._gaps[label].append(sample)
            return None
        self._samples.masks += [*self._gap_within(label, shown), sample]
        return sample

    def _gap_within(self, label: int, shown: Sequence[int]) -> list[MaskSample]:
        """Gaps count when a trace that had a mask before them has one again."""
        gaps = self._gaps.pop(label, [])
        return [gap for gap in gaps if any(self._first_mask_ns[k] < gap.stamp_ns for k in shown)]

    def _is_reached(self, visit: Visit) -> bool:
        middle_ns = (visit.start_ns + visit.end_ns) // 2
        return self._last_ns is not None and middle_ns <= self._last_ns

    def _pair_captions(self) -> None:
        said: dict[int, list[int]] = defaultdict(list)
        for trace_id in self._finals:
            index = self._matcher.visit_index(trace_id)
            if index is not None:
                said[index].append(trace_id)
        for index, visit in enumerate(self._truth.visits):
            if not self._is_reached(visit):
                self._samples.visits_not_reached += 1
                continue
            self._samples.visits += 1
            longest = max(
                said.get(index, ()),
                key=lambda trace_id, at=index: self._matcher.overlap_ns(trace_id, at),
                default=None,
            )
            text, score = "", 0.0
            if longest is not None:
                caption = self._finals[longest].caption
                text, score = caption.text, caption.score
                self._samples.visits_described += 1
            self._samples.captions.append(
                CaptionSample(visit.label, longest, text, visit.texts, score)
            )


def _joined(masks: Masks, trace_ids: Iterable[int]) -> BoolArray:
    return np.isin(masks.labels, [label_of(trace_id) for trace_id in trace_ids])


def _keypoints_on(outcome: FrameOutcome) -> dict[int, Keypoints]:
    """Keypoints in this frame's pixels: of its traces, else of the captions that describe it."""
    said = {one.caption.trace_id: one.caption.keypoints for one in outcome.captions}
    return said | {trace.trace_id: trace.keypoints for trace in outcome.traces}
