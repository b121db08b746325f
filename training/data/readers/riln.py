"""RILN: dialogues about traces, made by ``tracevlm data riln`` from the records of another set.

One line a record of that set: ``{index, samples[{key, narrative, trace, turns, provenance}]}``.
Pictures are those of the other set, which is opened by the name in the provenance.
"""

from typing import Any

from tracevlm_ros.core.drops import Drops
from training.data.readers.json_lines import JsonLines
from training.data.readers.records import Dialogue, Record, Turn
from training.data.readers.source import MALFORMED, Reader, Source
from training.riln.samples import trace_of

FORM = "riln"
_SIDE = 256


class Riln:
    """One record a line. ``read`` counts as unusable: lines that are none, records without a
    dialogue, and those whose pictures the other set no longer gives."""

    name = FORM

    def __init__(self, source: Source) -> None:
        self.split = source.split
        self.drops = Drops()
        self._source = source
        self._lines = JsonLines(source.annotations)
        self._sets: dict[str, Reader] = {}

    def __len__(self) -> int:
        return len(self._lines)

    def read(self, index: int) -> Record | None:
        line = self._lines[index]
        try:
            return self._record(line or {})
        except MALFORMED:
            self.drops["dialogue_malformed"] += 1
            return None

    def _record(self, line: dict[str, Any]) -> Record | None:
        samples = line["samples"]
        if not samples:
            self.drops["dialogue_empty"] += 1
            return None
        base = self._set(str(samples[0]["provenance"]["data"])).read(int(line["index"]))
        if base is None:
            self.drops["picture_missing"] += 1
            return None
        dialogues = tuple(_dialogue(sample) for sample in samples)
        return base._replace(
            key=f"{FORM}/{base.key}",
            source=FORM,
            captions=(),
            narratives=(),
            grounded=(),
            dialogues=dialogues,
        )

    def _set(self, name: str) -> Reader:
        """The set that the pictures come from. InputError when it is not there."""
        if name not in self._sets:
            from training.data.naming import open_set

            source = self._source
            self._sets[name] = open_set(name, _SIDE, source.excluded, source.training)
        return self._sets[name]


def _dialogue(sample: dict[str, Any]) -> Dialogue:
    """Answers to reasoning questions begin with the reasoning."""
    turns = tuple(
        Turn(
            str(turn["question"]),
            ". ".join([*turn["reasoning"], f"so: {turn['answer']}"])
            if turn["kind"] == "reasoning"
            else str(turn["answer"]),
        )
        for turn in sample["turns"]
    )
    return Dialogue(str(sample["key"]), turns, (), trace_of(sample["trace"]))
