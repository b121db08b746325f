"""What is made, as plain values: turns with kind, level and reasoning; one line a record."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from training.data.readers.records import RawTrace
from training.riln.facts import Facts

KINDS = ("interpretation", "grounding", "reasoning")
LEVELS = ("global", "object", "paragraph", "local")
SYNTHESIS = "synthesis"
TURNS = (4, 8)
DIALOGUES = (3, 5)
VERSION = 1


class Turn(NamedTuple):
    """``reasoning`` is the way to the answer, step by step, from what is seen to what follows."""

    kind: str
    level: str
    question: str
    reasoning: tuple[str, ...]
    answer: str


class Provenance(NamedTuple):
    """Who made it of what: the record's data set and number there (``record``), teachers, seed."""

    data: str
    record: int
    questions_by: str
    answers_by: str
    seed: int
    version: int = VERSION


class RilnSample(NamedTuple):
    """One dialogue about the trace of one narrative."""

    key: str
    narrative: str
    trace: RawTrace
    turns: tuple[Turn, ...]
    provenance: Provenance
    facts: Facts

    def as_mapping(self) -> dict[str, Any]:
        """As JSON holds it; a reading is x, y, milliseconds, picture, pen lifted before."""
        trace = self.trace
        return {
            "key": self.key,
            "narrative": self.narrative,
            "trace": [
                [round(x, 5), round(y, 5), round(t / 1e6, 1), picture, int(up)]
                for (x, y), t, picture, up in zip(
                    trace.xy.tolist(), trace.stamp_ns.tolist(), trace.picture.tolist(),
                    trace.pen_up.tolist(), strict=True,
                )
            ],
            "turns": [turn._asdict() for turn in self.turns],
            "provenance": self.provenance._asdict(),
        }  # fmt: skip


def trace_of(rows: list[list[float]]) -> RawTrace:
    """What ``RilnSample.as_mapping`` wrote."""
    table = np.array(rows, np.float64).reshape(-1, 5)
    return RawTrace(
        table[:, :2],
        np.round(table[:, 2] * 1e6).astype(np.int64),
        table[:, 3].astype(np.int64),
        table[:, 4] > 0,
    )


def turn_of(values: Mapping[str, Any]) -> Turn:
    return Turn(**{**values, "reasoning": tuple(values["reasoning"])})
