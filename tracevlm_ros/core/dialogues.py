"""Conversations about traces: a question is read after what was asked and said before."""

from collections import OrderedDict
from collections.abc import Callable, Iterator
from typing import NamedTuple

from tracevlm_ros.core.engine import Converser, Dialogue, Engine
from tracevlm_ros.core.errors import EngineMismatch
from tracevlm_ros.core.slow_path import DescribeRequest, captions_of, describe
from tracevlm_ros.core.types import Caption, Description

DIALOGUES_KEPT = 4


class _Begun(NamedTuple):
    """A dialogue, and the request with which it began."""

    dialogue: Dialogue
    request: DescribeRequest


class Dialogues:
    """One dialogue a trace, of the ``limit`` traces that were asked about last.

    A dialogue stays with the frame on which it began: that is the picture that the model has read.
    """

    def __init__(self, engine: Engine, limit: int = DIALOGUES_KEPT) -> None:
        self._engine = engine
        self._limit = limit
        self._begun: OrderedDict[int, _Begun] = OrderedDict()

    def __len__(self) -> int:
        return len(self._begun)

    def clear(self) -> None:
        """Forget all that was said, and free the frames."""
        self._begun.clear()

    def ask(
        self, request: DescribeRequest, cancelled: Callable[[], bool] = lambda: False
    ) -> Iterator[tuple[Caption, Description]]:
        """Stream the answer to ``request``; captions carry the stamp of the dialogue's frame.

        A dialogue that has no room for the question begins anew on the frame of ``request``. A
        model that has not learned to converse answers each question by itself.
        """
        engine = self._engine
        if not (isinstance(engine, Converser) and engine.info.converses):
            yield from describe(engine, request, cancelled)
            return
        begun = self._begun.pop(request.trace_id, None)
        parts = None if begun is None else self._continued(begun, request, cancelled)
        if begun is None or parts is None:
            begun = _Begun(engine.converse(request.grounded, request.place), request)
            parts = begun.dialogue.ask(request.question, cancelled)
        self._begun[request.trace_id] = begun
        while len(self._begun) > self._limit:
            self._begun.popitem(last=False)
        asked = begun.request._replace(question=request.question)
        yield from captions_of(engine.info.model_id, asked, parts)

    @staticmethod
    def _continued(
        begun: _Begun, request: DescribeRequest, cancelled: Callable[[], bool]
    ) -> Iterator[Description] | None:
        """None where the model reads no more."""
        try:
            return begun.dialogue.ask(request.question, cancelled)
        except EngineMismatch:
            return None
