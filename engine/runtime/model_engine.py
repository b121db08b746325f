"""The engine over a model directory: preprocessing, batching of traces, and the two paths.

``encode``, ``ground`` and ``segment`` are the fast path; ``describe`` may run beside them in
another thread. Frames of any size are stretched to the model's; more traces than one call of the
graphs takes run in several calls.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from itertools import islice
from typing import Any, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from engine.contract import CODEBOOK_TOKENS, WORDS
from engine.runtime.backend import Backend, Tensor, host
from engine.runtime.dialogue import Dialogue
from engine.runtime.language import Language
from engine.runtime.limits import (
    require_image,
    require_index,
    require_open,
    require_priors,
    require_prompts,
    require_seg_embeddings,
)
from engine.runtime.locating import find_points
from engine.runtime.manifest import Manifest
from engine.runtime.memory_pressure import MemoryPressure, Prefixes
from engine.runtime.passes import Cache
from engine.runtime.prompting import Question
from engine.runtime.together import Prompted, answer_in_groups
from engine.runtime.word_search import WordSearch
from tracevlm_ros.core.engine import AnswerPart, EngineInfo, Location, TracePrompt, TraceQuestion
from tracevlm_ros.core.errors import EngineMismatch
from tracevlm_ros.core.preprocess import fit_image
from tracevlm_ros.core.strokes import as_prompt, stroke_in
from tracevlm_ros.core.types import Description, Image

_SHARED = ("tokens", "deep", "shallow")
_PER_TRACE = ("enhanced", "trace_tokens")
_STROKE = ("points", "pen_up", "valid")


class Features(NamedTuple):
    """One frame as the vision encoder sees it, in the memory of the back end."""

    tokens: Tensor
    deep: Tensor
    shallow: Tensor


class TraceBatch(NamedTuple):
    """T traces: ``enhanced`` (T, N, D), ``trace_tokens`` (T, K, D), and where they run:
    ``points`` (T, K, 2), ``pen_up`` and ``valid`` (T, K)."""

    enhanced: Tensor
    trace_tokens: Tensor
    points: NDArray[np.float32]
    pen_up: NDArray[np.float32]
    valid: NDArray[np.float32]


class Grounded(NamedTuple):
    """A frame and its traces. ``prefixes`` keeps what ``describe`` has read of each trace."""

    features: Features
    batches: tuple[TraceBatch, ...]
    trace_count: int
    prefixes: Prefixes


class ModelEngine:
    """Implements ``core.engine.Engine``, ``Converser``, ``JointDescriber`` and ``Locator`` with the
    graphs of ``manifest`` on ``backend``; ``info`` tells what the model has learned of it.

    Owns ``backend`` and closes it.
    """

    def __init__(self, manifest: Manifest, backend: Backend, notes: tuple[str, ...] = ()) -> None:
        sizes = manifest.sizes
        self._info = EngineInfo(
            model_id=manifest.model_id,
            backend=backend.name,
            image_size_hw=(sizes["H"], sizes["W"]),
            mask_size_hw=(sizes["h_mask"], sizes["w_mask"]),
            max_traces=manifest.max_traces,
            max_keypoints=sizes["K"],
            notes=notes,
            converses=manifest.sections["prompt"].get("dialogues") is True,
            locates=manifest.sections["prompt"].get("locates") is True,
            max_answers=manifest.max_answers,
            leaves_cores=not backend.name.endswith("-cpu"),
        )
        self._width = sizes["D"]
        reads_strokes = manifest.sections["prompt"].get("masks_from_stroke") is True
        silence = np.zeros((CODEBOOK_TOKENS, sizes["D"]), np.float32)
        self._unspoken = silence if reads_strokes else None
        self._prior_hw = (sizes["h_shallow"], sizes["w_shallow"])
        self._backend = backend
        self._language = Language(backend, manifest)
        self._memory = MemoryPressure()
        self._search = (
            WordSearch(backend, self._memory, manifest, self._language.encode)
            if WORDS in manifest.graphs
            else None
        )
        self._closed = False

    @property
    def info(self) -> EngineInfo:
        """Its notes tell when memory ran out."""
        note = self._memory.note
        return self._info._replace(notes=(*self._info.notes, note)) if note else self._info

    @property
    def unspoken(self) -> NDArray[np.float32] | None:
        """See ``Engine.unspoken``; the manifest tells whether the model has been trained so."""
        return self._unspoken

    def encode(self, image_rgb: Image) -> Features:
        """See ``Engine.encode``; ``image_rgb`` is not kept."""
        require_open(self._closed)
        require_image(image_rgb)
        image = fit_image(image_rgb, self._info.image_size_hw)[None]
        return Features(**self._run_fast("vision", {"image": image}, _SHARED))

    def descriptors(self, features: Any) -> NDArray[np.float32] | None:
        """The encoder's deepest map, (h_deep, w_deep, C_deep)."""
        deep = np.asarray(host(features.deep), np.float32)
        return np.asarray(np.moveaxis(deep[0], 0, -1))

    def ground(self, features: Any, prompts: Sequence[TracePrompt]) -> Grounded:
        """See ``Engine.ground``."""
        require_open(self._closed)
        require_prompts(prompts, self._info)
        seen = _require_features(features)
        size = self._info.max_traces
        batches = tuple(
            self._ground_batch(seen, prompts[start : start + size])
            for start in range(0, len(prompts), size)
        )
        return Grounded(seen, batches, len(prompts), self._memory.new_prefixes())

    def segment(
        self,
        grounded: Any,
        seg_embeddings: Sequence[NDArray[np.float32] | None],
        priors: Sequence[NDArray[np.float32] | None] | None = None,
    ) -> list[NDArray[np.float32] | None]:
        """See ``Engine.segment``; only traces with embeddings cost time."""
        require_open(self._closed)
        frame = _require_grounded(grounded)
        require_seg_embeddings(len(seg_embeddings), frame.trace_count)
        require_priors(priors, frame.trace_count)
        earlier = [None] * frame.trace_count if priors is None else priors
        size = self._info.max_traces
        logits: list[NDArray[np.float32] | None] = []
        for number, batch in enumerate(frame.batches):
            rows = slice(number * size, (number + 1) * size)
            logits += self._segment_batch(
                frame.features, batch, seg_embeddings[rows], earlier[rows]
            )
        return logits

    def describe(
        self,
        grounded: Any,
        index: int,
        question: str | None = None,
        cancelled: Callable[[], bool] = lambda: False,
    ) -> Iterator[Description]:
        """See ``Engine.describe``; errors of the arguments are raised here, not while iterating."""
        require_open(self._closed)
        frame = _require_grounded(grounded)
        require_index(index, frame.trace_count)
        return self._dialogue(frame, index).ask(question, cancelled)

    def describe_together(
        self, asked: Sequence[TraceQuestion], cancelled: Callable[[int], bool] = lambda _: False
    ) -> Iterator[AnswerPart]:
        """See ``JointDescriber.describe_together``; beyond ``info.max_answers`` the rest follows
        after the first ones. Errors of the arguments are raised here, not while iterating."""
        require_open(self._closed)
        prompts = []
        for grounded, index, question in asked:
            frame = _require_grounded(grounded)
            require_index(index, frame.trace_count)
            laid_out = self._ask(frame, index, question)
            prompts.append(Prompted(laid_out, partial(self._prefix, frame, index, laid_out)))
        return answer_in_groups(self._language, self._memory, prompts, cancelled)

    def converse(self, grounded: Any, index: int) -> Dialogue:
        """A dialogue about trace ``index`` of ``grounded``; part of the slow path."""
        require_open(self._closed)
        frame = _require_grounded(grounded)
        require_index(index, frame.trace_count)
        return self._dialogue(frame, index)

    def locate(
        self, features: Any, text: str, cancelled: Callable[[], bool] = lambda: False
    ) -> Location | None:
        """See ``Locator.locate``: a stroke through what the model's map of the text shows, or, of
        a model without that map, the trace that it writes. The mask is that of the stroke alone; a
        stroke of the map is drawn anew inside its mask.

        Raises EngineMismatch for a longer text than the model reads, and where it has not learned
        to locate.
        """
        require_open(self._closed)
        seen = _require_features(features)
        if not self._info.locates:
            raise EngineMismatch(
                f"the model '{self._info.model_id}' has not learned to locate (prompt.locates in "
                "its manifest); load one that has"
            )
        points = None if cancelled() else self._points_of(text, seen, cancelled)
        if points is None or cancelled():
            return None
        if self._unspoken is None:
            return Location(points, None)
        grounded = self.ground(seen, [as_prompt(points, self._info.max_keypoints)])
        (logits,) = self.segment(grounded, [self._unspoken])
        if self._search is not None and logits is not None:
            within = stroke_in(logits)
            points = points if within is None else within
        return Location(points, logits)

    def _points_of(
        self, text: str, seen: Features, cancelled: Callable[[], bool]
    ) -> NDArray[np.float64] | None:
        if self._search is not None:
            return stroke_in(self._search.look_for(text, seen.deep, seen.shallow))
        tokens = host(seen.tokens)[0]
        return find_points(self._language, self._memory, tokens, text, cancelled)

    def _dialogue(self, frame: Grounded, index: int) -> Dialogue:
        return Dialogue(
            self._language,
            self._memory,
            lambda question: self._ask(frame, index, question),
            lambda asked: self._prefix(frame, index, asked),
        )

    def _ask(self, frame: Grounded, index: int, question: str | None) -> Question:
        """The prompt of a question about trace ``index``."""
        number, row = divmod(index, self._info.max_traces)
        batch = frame.batches[number]
        keypoints = int(batch.valid[row].sum())
        enhanced, trace_tokens = host(batch.enhanced), host(batch.trace_tokens)
        return self._language.ask(enhanced[row], trace_tokens[row, :keypoints], question)

    def _prefix(self, frame: Grounded, index: int, asked: Question) -> Cache:
        """What every question about the trace shares, prefilled when it is first needed."""
        prefix = frame.prefixes.get(index)
        if prefix is None:
            prefix = frame.prefixes[index] = self._language.read_prefix(asked)
        return prefix

    def warm_up(self) -> None:
        """Run every graph once, so that the first frame is as fast as the next ones."""
        features = self.encode(np.zeros((*self._info.image_size_hw, 3), dtype=np.uint8))
        one = TracePrompt(np.full((1, 2), 0.5), np.zeros(1), np.zeros(1, dtype=np.bool_))
        grounded = self.ground(features, [one])
        self.segment(grounded, [np.zeros((CODEBOOK_TOKENS, self._width), dtype=np.float32)])
        for _ in islice(self.describe(grounded, 0), 2):
            pass

    def close(self) -> None:
        """See ``Engine.close``; closing twice is no error."""
        self._closed = True
        self._backend.close()

    def _ground_batch(self, features: Features, prompts: Sequence[TracePrompt]) -> TraceBatch:
        inputs = pad_prompts(prompts, self._info.max_keypoints)
        out = self._run_fast("tvp", {"tokens": features.tokens, **inputs}, _PER_TRACE)
        stroke = (inputs[name] for name in _STROKE)
        return TraceBatch(out["enhanced"], out["trace_tokens"], *stroke)

    def _segment_batch(
        self,
        features: Features,
        batch: TraceBatch,
        seg_embeddings: Sequence[NDArray[np.float32] | None],
        priors: Sequence[NDArray[np.float32] | None],
    ) -> list[NDArray[np.float32] | None]:
        rows = [row for row, given in enumerate(seg_embeddings) if given is not None]
        if not rows:
            return [None] * len(seg_embeddings)
        chosen = batch if len(rows) == len(seg_embeddings) else take(batch, rows)
        given = [self._require_embeddings(item) for item in seg_embeddings if item is not None]
        out = self._run_fast(
            "mask",
            {
                "deep": features.deep,
                "shallow": features.shallow,
                "enhanced": chosen.enhanced,
                "trace_tokens": chosen.trace_tokens,
                "points": chosen.points,
                "pen_up": chosen.pen_up,
                "valid": chosen.valid,
                "prior": np.stack([fit_prior(priors[row], self._prior_hw) for row in rows]),
                "seg_embeddings": np.stack(given),
            },
        )
        logits: list[NDArray[np.float32] | None] = [None] * len(seg_embeddings)
        for row, mask in zip(rows, out["mask_logits"], strict=True):
            logits[row] = mask
        return logits

    def _run_fast(
        self, graph: str, inputs: Mapping[str, Tensor], resident: tuple[str, ...] = ()
    ) -> dict[str, Any]:
        return self._memory.fast(lambda: self._backend.run(graph, inputs, resident))

    def _require_embeddings(self, given: NDArray[np.float32]) -> NDArray[np.float32]:
        if given.shape != (CODEBOOK_TOKENS, self._width):
            raise EngineMismatch(
                f"segmentation embeddings are {given.shape}, this model takes "
                f"({CODEBOOK_TOKENS}, {self._width}); they belong to another model: describe again"
            )
        return np.asarray(given, dtype=np.float32)


def take(batch: TraceBatch, rows: list[int]) -> TraceBatch:
    """The traces ``rows`` of ``batch``, in host memory."""
    return TraceBatch(
        host(batch.enhanced)[rows],
        host(batch.trace_tokens)[rows],
        batch.points[rows],
        batch.pen_up[rows],
        batch.valid[rows],
    )


def fit_prior(prior: NDArray[np.float32] | None, size_hw: tuple[int, int]) -> NDArray[np.float32]:
    """``prior`` (h, w) averaged or interpolated to ``size_hw``; zeros where there is none."""
    if prior is None:
        return np.zeros(size_hw, np.float32)
    shrinks = prior.shape[0] > size_hw[0]
    how = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(prior, size_hw[::-1], interpolation=how), np.float32)


def pad_prompts(prompts: Sequence[TracePrompt], slots: int) -> dict[str, NDArray[np.float32]]:
    """Inputs ``points``, ``dt_s``, ``pen_up`` and ``valid`` of the ``tvp`` graph, zero-padded."""
    count = len(prompts)
    padded = {name: np.zeros((count, slots), np.float32) for name in ("dt_s", "pen_up", "valid")}
    padded["points"] = np.zeros((count, slots, 2), np.float32)
    for row, prompt in enumerate(prompts):
        length = len(prompt.points)
        padded["points"][row, :length] = prompt.points
        padded["dt_s"][row, :length] = prompt.dt_s
        padded["pen_up"][row, :length] = prompt.pen_up
        padded["valid"][row, :length] = 1.0
    return padded


def _require_features(features: Any) -> Features:
    if not isinstance(features, Features):
        raise EngineMismatch(f"features are {type(features).__name__}; pass what encode gave")
    return features


def _require_grounded(grounded: Any) -> Grounded:
    if not isinstance(grounded, Grounded):
        raise EngineMismatch(f"grounded is {type(grounded).__name__}; pass what ground gave")
    return grounded
