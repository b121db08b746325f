"""Who writes: one teacher asks, another reasons and answers (METHOD, RILN construction)."""

from typing import NamedTuple, Protocol

import numpy as np

from tracevlm_ros.core.types import Image
from training.riln.facts import Facts


class Reasoned(NamedTuple):
    """The steps of the reasoning, then the answer."""

    steps: tuple[str, ...]
    answer: str


class Asker(Protocol):
    """``name`` goes into the provenance."""

    name: str

    def ask(
        self,
        facts: Facts,
        image: Image,
        kind: str,
        level: str,
        asked: tuple[str, ...],
        rng: np.random.Generator,
        /,
    ) -> str | None:
        """A question of ``kind`` and ``level`` about the trace, other than those ``asked``; None
        where the facts allow none."""  # fmt: skip


class Answerer(Protocol):
    """``name`` goes into the provenance."""

    name: str

    def answer(
        self,
        facts: Facts,
        image: Image,
        kind: str,
        level: str,
        question: str,
        before: tuple[tuple[str, str], ...],
        /,
    ) -> Reasoned | None:
        """The answer, knowing the turns ``before``; None where it fails."""  # fmt: skip
