"""Several answers said in lockstep: each pass of ``decode`` reads one token of every one.

Weights are read once for all. Each answer is what it would be alone; one that ends, or is no longer
wanted, leaves the rest as they are.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple

from engine.runtime.joint_cache import join, part
from engine.runtime.language import Choice, Language, Spoken, Turn, begin_turn
from engine.runtime.memory_pressure import MemoryPressure
from engine.runtime.passes import Cache, GrownCache
from engine.runtime.prompting import Question
from tracevlm_ros.core.engine import AnswerPart


class Prompted(NamedTuple):
    """A question, and what gives the cache of all that it shares with others about its trace."""

    question: Question
    read_prefix: Callable[[], Cache]


class _Answer:
    """One that is being said; ``choice`` is its next token."""

    def __init__(self, place: int, turn: Turn, choice: Choice) -> None:
        self.place, self.turn, self.choice = place, turn, choice
        self.spoken = Spoken()


class _Lockstep:
    """Keeps the caches of the answers joined for as long as they stay the same ones."""

    def __init__(self, language: Language) -> None:
        self._language = language
        self._joined: list[_Answer] = []
        self._cache: GrownCache | None = None

    def step(self, answers: list[_Answer]) -> None:
        """Read the next token of each."""
        if answers != self._joined or self._cache is None:
            for answer in answers:
                self.part(answer)
            self._joined = answers
            self._cache = join([answer.turn.cache for answer in answers])
        turns = [answer.turn for answer in answers]
        tokens = [answer.choice.token for answer in answers]
        self._cache, choices = self._language.read_on(self._cache, turns, tokens)
        for answer, choice in zip(answers, choices, strict=True):
            answer.choice = choice

    def part(self, answer: _Answer) -> None:
        """Give the answer a cache of its own again."""
        if self._cache is not None:
            answer.turn.cache = part(self._cache, self._joined.index(answer))


def answer_in_groups(
    language: Language,
    memory: MemoryPressure,
    asked: Sequence[Prompted],
    cancelled: Callable[[int], bool],
) -> Iterator[AnswerPart]:
    """The parts of every answer; ``cancelled(place)`` as for one answer.

    As many in lockstep as ``language`` takes, then the next ones. All under way are given up, with
    an error, when the fast path needs the memory.
    """
    size = language.max_answers
    for start in range(0, len(asked), size):
        with memory.describing() as look:
            group = {
                place: prompted
                for place, prompted in enumerate(asked[start : start + size], start)
                if not cancelled(place)
            }
            for said in answer_together(language, group, cancelled):
                look()
                yield said


def answer_together(
    language: Language, asked: Mapping[int, Prompted], cancelled: Callable[[int], bool]
) -> Iterator[AnswerPart]:
    """One token of each answer in turn; ``asked`` by place, at most ``language.max_answers``."""
    lockstep = _Lockstep(language)
    answers = [
        _begin(language, place, prompted)
        for place, prompted in asked.items()
        if not cancelled(place)
    ]
    while answers:
        going: list[_Answer] = []
        for answer in answers:
            if cancelled(answer.place):
                continue
            if language.ends(answer.choice.token):
                lockstep.part(answer)
            said = language.say(answer.turn, answer.spoken, answer.choice)
            yield AnswerPart(answer.place, said)
            if not said.is_final and not cancelled(answer.place):
                going.append(answer)
        answers = going
        if answers:
            lockstep.step(answers)


def _begin(language: Language, place: int, prompted: Prompted) -> _Answer:
    turn = begin_turn(prompted.question, prompted.read_prefix())
    return _Answer(place, turn, language.begin(turn, prompted.question))
