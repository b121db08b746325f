"""Stages 2 and 3: reasoning tasks over four levels, woven into dialogues of several turns."""

import numpy as np

from tracevlm_ros.core.drops import Drops
from tracevlm_ros.core.types import Image
from training.data.readers.records import Narrative
from training.riln.facts import Facts
from training.riln.quality import turn_problem
from training.riln.samples import KINDS, LEVELS, SYNTHESIS, TURNS, Provenance, RilnSample, Turn
from training.riln.teachers import Answerer, Asker

_TRIES = 24


class DialogueWriter:
    """``asker`` and ``answerer`` may be two models, so that none answers its own questions."""

    def __init__(self, asker: Asker, answerer: Answerer, drops: Drops) -> None:
        self._asker, self._answerer, self._drops = asker, answerer, drops

    @property
    def names(self) -> tuple[str, str]:
        """Who asks, who answers."""
        return self._asker.name, self._answerer.name

    def write(
        self,
        key: str,
        narrative: Narrative,
        facts: Facts,
        image: Image,
        provenance: Provenance,
        rng: np.random.Generator,
    ) -> RilnSample | None:
        """One dialogue of 4 to 8 turns, from the whole to the part, the last one joining what was
        said with the trace; None, counted, where the teachers give too few good turns."""
        wanted = int(rng.integers(TURNS[0], TURNS[1] + 1)) - 1
        turns: list[Turn] = []
        for _ in range(_TRIES):
            if len(turns) == wanted:
                break
            kind = str(rng.choice(KINDS))
            level = LEVELS[min(len(LEVELS) - 1, len(turns) * len(LEVELS) // max(1, wanted))]
            if rng.random() < 0.4:
                level = str(rng.choice(LEVELS))
            turn = self._turn(facts, image, kind, level, turns, rng)
            if turn is not None:
                turns.append(turn)
        last = self._turn(facts, image, SYNTHESIS, "paragraph", turns, rng) if turns else None
        if last is None or len(turns) + 1 < TURNS[0]:
            self._drops["dialogue_too_short"] += 1
            return None
        sample = (*turns, last)
        return RilnSample(key, narrative.key, narrative.trace, sample, provenance, facts)

    def _turn(
        self,
        facts: Facts,
        image: Image,
        kind: str,
        level: str,
        turns: list[Turn],
        rng: np.random.Generator,
    ) -> Turn | None:
        asked = tuple(turn.question for turn in turns)
        question = self._asker.ask(facts, image, kind, level, asked, rng)
        if question is None:
            self._drops["question_missing"] += 1
            return None
        before = tuple((turn.question, turn.answer) for turn in turns)
        found = self._answerer.answer(facts, image, kind, level, question, before)
        if found is None:
            self._drops["answer_missing"] += 1
            return None
        turn = Turn(kind, level, question, found.steps, found.answer)
        problem = turn_problem(turn, facts, asked)
        if problem:
            self._drops[problem] += 1
            return None
        return turn
