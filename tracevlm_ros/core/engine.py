"""What the pipeline asks of an engine. The engines themselves live in ``engine.runtime``."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from tracevlm_ros.core.types import Description, Image


class EngineInfo(NamedTuple):
    """Who answers: shown in captions, diagnostics and reports.

    ``notes`` says what the caller did not ask for, such as a fall-back to another back end.
    ``max_answers``: how many answers one pass of the language model reads on.
    ``converses``: the model has learned to read a question after others; ``locates``: to find what
    a text describes. ``leaves_cores``: it computes elsewhere than on the processor's cores, which
    can do other work meanwhile.
    """

    model_id: str
    backend: str
    image_size_hw: tuple[int, int]
    mask_size_hw: tuple[int, int]
    max_traces: int
    max_keypoints: int
    notes: tuple[str, ...] = ()
    converses: bool = False
    locates: bool = False
    max_answers: int = 1
    leaves_cores: bool = False


class TracePrompt(NamedTuple):
    """One trace as the model reads it.

    ``points`` (K, 2) float64 in 0..1 of the frame (x right, y down), already quantised and
    dequantised (``core.tokens``); ``dt_s`` (K,) seconds since the previous point, 0 for the first;
    ``pen_up`` (K,) bool.
    """

    points: NDArray[np.float64]
    dt_s: NDArray[np.float64]
    pen_up: NDArray[np.bool_]


class Location(NamedTuple):
    """What a text describes, in one frame.

    ``points`` (K, 2) float64 in 0..1 of the frame: the trace that the model draws of it, K >= 1.
    ``logits`` float32 ``mask_size_hw`` cover the frame; None from a model that gives no mask.
    """

    points: NDArray[np.float64]
    logits: NDArray[np.float32] | None


@runtime_checkable
class Locator(Protocol):
    """An engine that also finds what a text describes; ``info.locates`` tells whether its model has
    learned to, ``locator_of`` asks both."""

    def locate(
        self, features: Any, text: str, cancelled: Callable[[], bool] = lambda: False
    ) -> Location | None:
        """Find ``text`` in the frame of ``features`` (from ``encode``); None when nothing fits.

        Runs where ``describe`` runs, never at the same time; returns None soon once cancelled.
        """


class TraceQuestion(NamedTuple):
    """Trace ``trace`` of the frame ``grounded``, and what is asked about it; None: describe it."""

    grounded: Any
    trace: int
    question: str | None = None


class AnswerPart(NamedTuple):
    """``description`` is of the question in ``place`` of those that were asked."""

    place: int
    description: Description


@runtime_checkable
class JointDescriber(Protocol):
    """An engine that answers several questions in one go, ``info.max_answers`` at a time."""

    def describe_together(
        self, asked: Sequence[TraceQuestion], cancelled: Callable[[int], bool] = lambda _: False
    ) -> Iterator[AnswerPart]:
        """Stream the answers side by side, each as ``describe`` would give it.

        ``cancelled(place)`` ends one answer and leaves the rest. Runs where ``describe`` runs.
        """


class Dialogue(Protocol):
    """Questions about one trace of one frame, each read after all that was said before."""

    def ask(
        self, question: str | None, cancelled: Callable[[], bool] = lambda: False
    ) -> Iterator[Description]:
        """Stream the answer. Raises EngineMismatch, at the call, for more than the model reads."""


@runtime_checkable
class Converser(Protocol):
    """An engine that can go on with what was said; ``info.converses`` tells whether it should."""

    def converse(self, grounded: Any, index: int) -> Dialogue:
        """Begin a dialogue about trace ``index`` of ``grounded``. Runs where ``describe`` runs."""


class Engine(Protocol):
    """The two-rate model. Handles (``Any``) belong to the engine and are valid until ``close``.

    ``encode`` and ``segment`` are the fast path, ``describe`` the slow path. ``describe`` may run
    in another thread than the fast path; no other two calls may overlap.
    """

    @property
    def info(self) -> EngineInfo: ...

    @property
    def unspoken(self) -> NDArray[np.float32] | None:
        """Embeddings (6, D) that ask ``segment`` for what the stroke alone tells, before any word.

        None from a model that needs words for a mask; it makes no use of ``priors`` either.
        """

    def encode(self, image_rgb: Image) -> Any:
        """Vision encoder: uint8 (H, W, 3), any size -> visual features of this frame."""

    def descriptors(self, features: Any) -> NDArray[np.float32] | None:
        """(h, w, C) float32: what each part of the frame looks like to the model, on a grid that
        covers it, to compare frames by. None from a model that tells no such thing."""

    def ground(self, features: Any, prompts: Sequence[TracePrompt]) -> Any:
        """TVP, batched: features plus traces -> grounded features.

        More than ``max_traces`` traces run in several batches, at the cost of time.
        """

    def segment(
        self,
        grounded: Any,
        seg_embeddings: Sequence[NDArray[np.float32] | None],
        priors: Sequence[NDArray[np.float32] | None] | None = None,
    ) -> list[NDArray[np.float32] | None]:
        """Pixel decoder: mask logits float32 ``mask_size_hw`` per trace; None where unprompted.

        ``priors`` are the masks of a moment ago carried to this frame, one per trace, (h, w)
        float32 0..1 of any size, None where there is none.
        """

    def describe(
        self,
        grounded: Any,
        index: int,
        question: str | None = None,
        cancelled: Callable[[], bool] = lambda: False,
    ) -> Iterator[Description]:
        """Stream the description of trace ``index`` of ``grounded``; stops early when cancelled."""

    def close(self) -> None:
        """Free everything; further calls are errors."""


def locator_of(engine: Engine) -> Locator | None:
    """``engine`` where it finds what a text describes, None where its model has not learned to."""
    return engine if isinstance(engine, Locator) and engine.info.locates else None
