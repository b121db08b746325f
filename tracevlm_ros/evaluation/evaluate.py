"""One recording from end to end: outcomes, scores, predictions, pictures, overlay video.

Whatever happens half-way, what was scored until then is kept together with the error.
"""

import functools
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tracevlm_ros.core.attention_record import AttentionRecord
from tracevlm_ros.core.config import PipelineConfig
from tracevlm_ros.core.drops import Drops
from tracevlm_ros.core.engine import Engine
from tracevlm_ros.core.errors import InputError, TraceVLMError
from tracevlm_ros.core.gaze_mapping import GazeMapping
from tracevlm_ros.core.overlay import draw_overlay
from tracevlm_ros.core.pipeline import Pipeline
from tracevlm_ros.core.types import Image
from tracevlm_ros.evaluation.adapters.case import Case
from tracevlm_ros.evaluation.attention_times import AttentionTimes, attention_times
from tracevlm_ros.evaluation.gallery import Cases, Gallery, Picture
from tracevlm_ros.evaluation.ground_truth import (
    NO_TRUTH,
    GroundTruth,
    load_ground_truth,
    read_sidecar,
)
from tracevlm_ros.evaluation.live_replay import replay_live
from tracevlm_ros.evaluation.outcome import CaptionBoard, FrameOutcome, shown_trace_ids
from tracevlm_ros.evaluation.overlay_video import OverlayVideo
from tracevlm_ros.evaluation.predictions import PredictionWriter
from tracevlm_ros.evaluation.recorded import recorded_outcomes
from tracevlm_ros.evaluation.recording import (
    BagTopics,
    Sample,
    VideoWithGaze,
    bag_samples,
    video_samples,
)
from tracevlm_ros.evaluation.replay import replay
from tracevlm_ros.evaluation.samples import Samples
from tracevlm_ros.evaluation.scorer import RecordingScorer
from tracevlm_ros.evaluation.stamp_spans import SpanWatch
from tracevlm_ros.ingest.bag import BagReader

_NS_PER_MS = 1e6
Progress = Callable[[int], None]
"""Called after each frame with the number of frames done."""


def _say_nothing(frames: int) -> None:
    del frames


@dataclass(frozen=True, kw_only=True, slots=True)
class EvaluationConfig:
    """``gaze_mapping`` corrects gaze. ``sidecar`` overrides where the ground truth is looked for.
    ``with_predictions`` writes the output bag and the JSON lines, ``with_overlay`` the overlay
    video. ``in_real_time`` plays the recording at its own pace and drops what comes too fast."""

    pipeline: PipelineConfig = field(default_factory=PipelineConfig)
    gaze_mapping: GazeMapping | None = None
    topics: BagTopics = field(default_factory=BagTopics)
    sidecar: Path | None = None
    with_predictions: bool = True
    with_overlay: bool = False
    in_real_time: bool = False


OFFLINE, LIVE = "replayed offline", "recorded live"
IN_REAL_TIME = "replayed in real time"


@dataclass(slots=True)
class RecordingResult:
    """``kind`` is OFFLINE, IN_REAL_TIME or LIVE. ``error`` ended the recording early; everything
    else holds what came before it. ``start_ns`` is the stamp of the first frame, ``span_s`` the
    time from there to the last one, ``wall_s`` how long it took. ``attention`` is None for a
    recorded run: its messages do not tell."""

    name: str
    path: Path
    model_id: str = ""
    kind: str = OFFLINE
    samples: Samples = field(default_factory=Samples)
    strip: list[Picture] = field(default_factory=list)
    cases: Cases = field(default_factory=lambda: Cases([], []))
    missing_truth: tuple[str, ...] = ()
    notes: list[str] = field(default_factory=list)
    error: str | None = None
    overlay: Path | None = None
    start_ns: int = 0
    span_s: float = 0.0
    wall_s: float = 0.0
    attention: AttentionTimes | None = None


def evaluate_bag(
    path: Path,
    name: str,
    engine: Engine,
    config: EvaluationConfig,
    folder: Path,
    progress: Progress = _say_nothing,
) -> RecordingResult:
    """Replay a bag offline and score it; outputs go into ``folder``."""
    result = RecordingResult(name, path, engine.info.model_id)
    with _kept(result), BagReader(path) as bag:
        truth = load_ground_truth(bag, config.sidecar)
        pipeline = Pipeline(config.pipeline, engine, config.gaze_mapping)
        samples = bag_samples(bag, config.topics, pipeline.drops)
        _note_damage(result, bag)
        _replayed(result, samples, pipeline, engine, truth, config, folder, progress)
    return result


def evaluate_video(
    source: VideoWithGaze,
    name: str,
    engine: Engine,
    config: EvaluationConfig,
    folder: Path,
    progress: Progress = _say_nothing,
) -> RecordingResult:
    """The same for a video and its gaze; ground truth only from ``config.sidecar``."""
    result = RecordingResult(name, source.video, engine.info.model_id)
    with _kept(result):
        truth = NO_TRUTH if config.sidecar is None else read_sidecar(config.sidecar)
        pipeline = Pipeline(config.pipeline, engine, config.gaze_mapping)
        samples = video_samples(source)
        _replayed(result, samples, pipeline, engine, truth, config, folder, progress)
    return result


def evaluate_case(
    case: Case,
    engine: Engine,
    config: EvaluationConfig,
    folder: Path,
    progress: Progress = _say_nothing,
) -> RecordingResult:
    """The same for one item of a data set."""
    result = RecordingResult(case.name, Path(case.name), engine.info.model_id)
    with _kept(result):
        pipeline = Pipeline(config.pipeline, engine)
        samples = case.samples()
        _replayed(result, samples, pipeline, engine, case.truth, config, folder, progress)
    return result


def evaluate_recorded(
    inputs: Path,
    outputs: Path,
    name: str,
    config: EvaluationConfig,
    folder: Path,
    progress: Progress = _say_nothing,
) -> RecordingResult:
    """Score what a live graph answered: the bag that was played and the bag that was recorded."""
    result = RecordingResult(name, outputs, kind=LIVE)
    with _kept(result), BagReader(inputs) as played, BagReader(outputs) as recorded:
        truth = load_ground_truth(played, config.sidecar)
        _note_damage(result, played)
        _note_damage(result, recorded)
        drops = Drops()
        outcomes = recorded_outcomes(played, recorded, config.topics, drops)
        with _nothing_scored_on_error(result):
            _score(result, outcomes, truth, drops, config, folder, None, progress)
    return result


def _replayed(
    result: RecordingResult,
    samples: Iterable[Sample],
    pipeline: Pipeline,
    engine: Engine,
    truth: GroundTruth,
    config: EvaluationConfig,
    folder: Path,
    progress: Progress,
) -> None:
    """Raises InputError, with nothing scored, when gaze and frames never overlap."""
    spans = SpanWatch(round(config.pipeline.gaze_offset_ms * _NS_PER_MS))
    with ExitStack() as stack:
        writer = stack.enter_context(PredictionWriter(folder)) if config.with_predictions else None
        play = replay_live if config.in_real_time else replay
        result.kind = IN_REAL_TIME if config.in_real_time else OFFLINE
        outcomes = stack.enter_context(closing(play(spans.passing(samples), pipeline, engine)))
        drops, attention = pipeline.drops, pipeline.attention
        _score(result, outcomes, truth, drops, config, folder, writer, progress, attention)
    with _nothing_scored_on_error(result):
        spans.require_overlap()


@contextmanager
def _nothing_scored_on_error(result: RecordingResult) -> Iterator[None]:
    """Scores of recordings that do not belong together are worth nothing; drops are kept."""
    try:
        yield
    except InputError:
        result.samples = Samples(drops=result.samples.drops)
        raise


def _score(
    result: RecordingResult,
    outcomes: Iterable[FrameOutcome],
    truth: GroundTruth,
    drops: Drops,
    config: EvaluationConfig,
    folder: Path,
    writer: PredictionWriter | None,
    progress: Progress,
    attention: AttentionRecord | None = None,
) -> None:
    scorer, gallery, board = RecordingScorer(truth), Gallery(), CaptionBoard()
    result.missing_truth = truth.missing
    before = time.perf_counter()
    with ExitStack() as stack:
        video = _open_video(result, config, folder, stack)
        try:
            for outcome in outcomes:
                result.start_ns = result.start_ns or outcome.frame.stamp_ns
                if writer is not None:
                    writer.write(outcome)
                scores = scorer.add(outcome)
                picture = _painter(outcome, board)
                gallery.add(outcome, picture, scores)
                if video is not None:
                    video.write(picture(), outcome.frame.stamp_ns)
                result.model_id = _model_id(outcome) or result.model_id
                result.span_s = (outcome.frame.stamp_ns - result.start_ns) / 1e9
                progress(scorer.frames)
        finally:
            result.samples = scorer.finish()
            result.samples.drops.update(drops)
            result.strip, result.cases = gallery.strip(), gallery.cases()
            result.wall_s = time.perf_counter() - before
            if attention is not None:
                result.attention = attention_times(attention, board.last_texts())


def _open_video(
    result: RecordingResult, config: EvaluationConfig, folder: Path, stack: ExitStack
) -> OverlayVideo | None:
    if not config.with_overlay:
        return None
    folder.mkdir(parents=True, exist_ok=True)
    result.overlay = folder / "overlay.mp4"
    return stack.enter_context(OverlayVideo(result.overlay))


def _painter(outcome: FrameOutcome, board: CaptionBoard) -> Callable[[], Image]:
    """Draws at most once, and only when asked."""
    board.add(outcome.captions)
    texts = board.texts_at(outcome.frame.stamp_ns, shown_trace_ids(outcome))

    @functools.cache
    def paint() -> Image:
        return draw_overlay(outcome.frame.image_rgb, outcome.masks, outcome.traces, texts)

    return paint


def _model_id(outcome: FrameOutcome) -> str:
    return outcome.captions[-1].caption.model_id if outcome.captions else ""


def _note_damage(result: RecordingResult, bag: BagReader) -> None:
    if bag.damage:
        result.notes.append(f"damaged: {bag.damage}")


@contextmanager
def _kept(result: RecordingResult) -> Iterator[None]:
    """Turns an error of the project into ``result.error``; anything else is a bug and passes."""
    try:
        yield
    except TraceVLMError as error:
        result.error = str(error)


def recording_names(paths: Iterable[Path]) -> Iterator[str]:
    """A short folder name for each recording, unique among them."""
    used: dict[str, int] = {}
    for path in paths:
        stem = path.stem if path.is_file() else path.name
        used[stem] = used.get(stem, 0) + 1
        yield stem if used[stem] == 1 else f"{stem}_{used[stem]}"
