"""Questions about one trace of one frame, each read after all that was asked and said before."""

from collections.abc import Callable, Iterator

from engine.runtime.language import FollowUp, Language, Turn, begin_turn
from engine.runtime.memory_pressure import MemoryPressure
from engine.runtime.passes import Cache
from engine.runtime.prompting import Question
from tracevlm_ros.core.types import Description


class Dialogue:
    """Continues its own cache: only the new question is read, nothing is prefilled again.

    ``begin`` lays out a first question, ``prefix`` gives what every first question shares. A
    dialogue whose answer failed, was left half-heard or was given up for want of memory begins
    anew with the next question. One question at a time.
    """

    def __init__(
        self,
        language: Language,
        memory: MemoryPressure,
        begin: Callable[[str | None], Question],
        prefix: Callable[[Question], Cache],
    ) -> None:
        self._language = language
        self._memory = memory
        self._begin = begin
        self._prefix = prefix
        self._turn: Turn | None = None

    def ask(
        self, question: str | None, cancelled: Callable[[], bool] = lambda: False
    ) -> Iterator[Description]:
        """Stream the answer; None asks for a description. After a cancelled answer the dialogue
        goes on from the words that were said.

        Raises EngineMismatch, here and not while iterating, for more than the model reads.
        """
        turn = self._turn
        asked: Question | FollowUp = (
            self._begin(question) if turn is None else self._language.follow_up(turn, question)
        )
        return self._answer(asked, cancelled)

    def _answer(
        self, asked: Question | FollowUp, cancelled: Callable[[], bool]
    ) -> Iterator[Description]:
        if cancelled():
            return
        with self._memory.describing() as look:
            turn, self._turn = self._turn, None
            if isinstance(asked, Question):
                turn = begin_turn(asked, self._prefix(asked))
            if turn is None or cancelled():
                return
            for part in self._language.answer(turn, asked, cancelled):
                look()
                yield part
            self._turn = turn
