"""What the pipeline saw and said, as a Rerun recording: one entity for each kind of thing.

| entity | what |
|---|---|
| ``scene/video`` | the frames, as JPEG |
| ``scene/masks`` | label image, class id = pixel value, coloured and named by trace |
| ``scene/traces`` | the polyline of each trace, broken where the pen was lifted or a point lost |
| ``scene/keypoints`` | its keypoints, larger the more they weigh |
| ``scene/gaze`` | the newest gaze sample |
| ``scene/captions`` | the text that stands beside each trace, under its keypoints |
| ``captions/partial``, ``captions/final``, ``captions/answers`` | every text as a log |
| ``attention`` | dwell map of the last seconds |

All times are stamps of the frames and samples, exact to the nanosecond, on the timeline ``stamp``.
"""

import importlib
from collections.abc import Mapping, Sequence
from typing import Any

import cv2
import numpy as np

from tracevlm_ros.core.errors import InputError
from tracevlm_ros.core.label_image import label_of
from tracevlm_ros.core.overlay import colour_of
from tracevlm_ros.core.types import (
    FloatArray,
    GazeSample,
    Image,
    Keypoints,
    Masks,
    TraceSnapshot,
)
from tracevlm_ros.evaluation.outcome import FrameOutcome, SpokenCaption

TIMELINE = "stamp"
_JPEG_QUALITY = 85
_POINT_RADIUS_PX = 5.0
_GAZE_COLOUR = (255, 255, 255)


def load_rerun() -> Any:
    """The Rerun SDK; InputError where it is not installed."""
    try:
        return importlib.import_module("rerun")
    except ModuleNotFoundError as error:
        raise InputError(
            f"the Python package '{error.name}' is missing; install the extra: "
            "pip install 'tracevlm_ros[view]' (or rerun-sdk)"
        ) from error


class RerunLog:
    """Writes to ``stream``, a ``rerun.RecordingStream``. Frames may come in any order of stamps."""

    def __init__(self, rerun: Any, stream: Any) -> None:
        self._rerun = rerun
        self._stream = stream
        self._names: dict[int, str] = {}

    def add_frame(self, outcome: FrameOutcome, texts: Mapping[int, str]) -> None:
        """One frame with its masks, traces and captions; ``texts`` stand beside the traces."""
        self._at(outcome.frame.stamp_ns)
        self._stream.log("scene/video", self._jpeg(outcome.frame.image_rgb))
        self._name_traces(outcome, texts)
        if outcome.masks is not None:
            self._stream.log("scene/masks", self._rerun.SegmentationImage(_labels(outcome.masks)))
        self._add_traces(outcome.traces)
        self._add_texts(outcome, texts)
        for spoken in outcome.captions:
            self.add_caption(spoken)

    def add_gaze(self, samples: Sequence[GazeSample]) -> None:
        """Samples in pixels of the scene; those without a place (blinks) are left out."""
        seen = [one for one in samples if np.isfinite([one.x_px, one.y_px]).all()]
        if not seen:
            return
        stamps = np.array([one.stamp_ns for one in seen], dtype="datetime64[ns]")
        places = np.array([(one.x_px, one.y_px) for one in seen], dtype=np.float32)
        points = self._rerun.Points2D
        self._stream.log(
            "scene/gaze", points.from_fields(colors=[_GAZE_COLOUR], radii=[3.0]), static=True
        )
        self._stream.send_columns(
            "scene/gaze",
            indexes=[self._rerun.TimeColumn(TIMELINE, timestamp=stamps)],
            columns=points.columns(positions=places),
        )

    def add_attention(self, stamp_ns: int, dwell: Image) -> None:
        """``dwell`` uint8 (H, W) as the pipeline renders it."""
        self._at(stamp_ns)
        self._stream.log("attention", self._encoded(".png", dwell))

    def close(self) -> None:
        """Wait until everything is written or sent."""
        self._stream.flush()
        self._stream.disconnect()

    def _at(self, stamp_ns: int) -> None:
        self._stream.set_time(TIMELINE, timestamp=np.datetime64(stamp_ns, "ns"))

    def _jpeg(self, image_rgb: Image) -> Any:
        return self._encoded(".jpg", np.ascontiguousarray(image_rgb[..., ::-1]))

    def _encoded(self, suffix: str, pixels: Image) -> Any:
        options = [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY] if suffix == ".jpg" else []
        _, data = cv2.imencode(suffix, pixels, options)
        media_type = {".jpg": "image/jpeg", ".png": "image/png"}[suffix]
        return self._rerun.EncodedImage(contents=data.tobytes(), media_type=media_type)

    def _name_traces(self, outcome: FrameOutcome, texts: Mapping[int, str]) -> None:
        """Give each label its trace's colour and, once there is one, its text.

        Static, the newest holds for all times: the viewer takes no context that changes in time.
        """
        masks = outcome.masks
        ids = {trace.trace_id for trace in outcome.traces}
        ids |= set() if masks is None else set(masks.trace_ids)
        names = {one: texts.get(one) or self._names.get(one) or f"trace {one}" for one in ids}
        if names.items() <= self._names.items():
            return
        self._names |= names
        info = self._rerun.AnnotationInfo
        context = [info(label_of(one), name, colour_of(one)) for one, name in self._names.items()]
        context.append(info(0, "", (0, 0, 0, 0)))
        self._stream.log("scene", self._rerun.AnnotationContext(context), static=True)

    def _add_traces(self, traces: Sequence[TraceSnapshot]) -> None:
        strips: list[FloatArray] = []
        strip_colours, places, colours, radii = [], [], [], []
        for trace in traces:
            colour = colour_of(trace.trace_id)
            parts = polylines(trace.keypoints)
            strips += parts
            strip_colours += [colour] * len(parts)
            kept = kept_points(trace.keypoints)
            places += list(trace.keypoints.xy_px[kept])
            radii += list(_POINT_RADIUS_PX * trace.keypoints.weight[kept])
            colours += [colour] * int(kept.sum())
        self._stream.log(
            "scene/traces", self._rerun.LineStrips2D(strips, colors=strip_colours, radii=1.5)
        )
        self._stream.log(
            "scene/keypoints",
            self._rerun.Points2D(
                np.array(places, dtype=np.float32).reshape(-1, 2), colors=colours, radii=radii
            ),
        )

    def _add_texts(self, outcome: FrameOutcome, texts: Mapping[int, str]) -> None:
        places, labels, colours = [], [], []
        for trace in outcome.traces:
            points = trace.keypoints.xy_px[kept_points(trace.keypoints)]
            if len(points) and trace.trace_id in texts:
                places.append((points[:, 0].mean(), points[:, 1].max()))
                labels.append(texts[trace.trace_id])
                colours.append(colour_of(trace.trace_id))
        self._stream.log(
            "scene/captions",
            self._rerun.Points2D(
                np.array(places, dtype=np.float32).reshape(-1, 2),
                labels=labels,
                colors=colours,
                radii=0.0,
                show_labels=True,
            ),
        )

    def add_caption(self, spoken: SpokenCaption) -> None:
        """One text, at the stamp of the frame that it describes."""
        caption = spoken.caption
        self._at(caption.stamp_ns)
        kind = "final" if caption.is_final else "partial"
        text = f"trace {caption.trace_id}: {caption.text} ({caption.score:.2f})"
        if caption.question:
            kind, text = "answers", f"{caption.question} {caption.text} ({caption.score:.2f})"
        level = "INFO" if caption.is_final else "DEBUG"
        self._stream.log(
            f"captions/{kind}",
            self._rerun.TextLog(text, level=level, color=colour_of(caption.trace_id)),
        )


def layout(rerun: Any) -> Any:
    """The viewer's panels: the scene, and beside it attention and captions; time = stamps."""
    blueprint = importlib.import_module(f"{rerun.__name__}.blueprint")
    return blueprint.Blueprint(
        blueprint.Horizontal(
            blueprint.Spatial2DView(origin="scene", name="Scene"),
            blueprint.Vertical(
                blueprint.Spatial2DView(origin="attention", name="Attention"),
                blueprint.TextLogView(origin="captions", name="Captions"),
            ),
            column_shares=[2, 1],
        ),
        blueprint.TimePanel(timeline=TIMELINE, state="collapsed"),
        blueprint.SelectionPanel(state="collapsed"),
        blueprint.BlueprintPanel(state="collapsed"),
    )


def kept_points(keypoints: Keypoints) -> Any:
    """bool (K,): points with a place that were not lost."""
    return np.isfinite(keypoints.xy_px).all(axis=1) & ~keypoints.lost


def polylines(keypoints: Keypoints) -> list[FloatArray]:
    """The strokes (N, 2), N >= 2, of a trace: no line over a lifted pen or a lost point."""
    kept = kept_points(keypoints)
    joined = kept[1:] & kept[:-1] & ~keypoints.pen_up[1:]
    parts = np.split(keypoints.xy_px, np.flatnonzero(~joined) + 1)
    return [part for part in parts if len(part) > 1]


def _labels(masks: Masks) -> Any:
    """In 8 bits where they fit: half the memory in the viewer."""
    fits = not masks.labels.size or int(masks.labels.max()) < 256
    return masks.labels.astype(np.uint8) if fits else masks.labels
