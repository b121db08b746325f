"""Narratives of a training set -> ``riln.jsonl``, a manifest and a sheet for review.

The file is a pure function of data, seed and teachers' answers. Records already written are left as
they are, so a build that was interrupted, or whose endpoint failed, goes on where it stopped.
"""

import json
import os
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tracevlm_ros.core.drops import Drops
from tracevlm_ros.core.errors import ConfigError, InputError
from tracevlm_ros.core.settings import require_range
from training.data.readers.records import Record
from training.data.readers.source import Reader
from training.data.readers.splits import require_training
from training.riln.dialogues import DialogueWriter
from training.riln.facts import facts_of
from training.riln.quality import MOST_OVERLAP, Overlap, dialogue_problem, write_review_sheet
from training.riln.samples import DIALOGUES, VERSION, Provenance, RilnSample

DATA_NAME = "riln_train.jsonl"
MANIFEST_NAME = "manifest.json"
REVIEW_NAME = "review.csv"


@dataclass(frozen=True, kw_only=True, slots=True)
class BuildConfig:
    """``data`` is how the records' data set is named to the reader of the result."""

    data: str
    records: int = 1000
    seed: int = 0

    def __post_init__(self) -> None:
        require_range("records", self.records, 1, 1 << 31)
        require_range("seed", self.seed, 0, 2**63)


class Builder:
    """``evaluation`` texts are those that must not be in the result."""

    def __init__(
        self,
        config: BuildConfig,
        reader: Reader,
        writer: DialogueWriter,
        evaluation: list[str],
        drops: Drops,
        say: Callable[[str], None],
    ) -> None:
        require_training(reader.split, Path(config.data))
        self._config, self._reader, self._writer = config, reader, writer
        self._overlap, self._drops, self._say = Overlap(evaluation), drops, say

    def run(self, folder: Path) -> dict[str, Any]:
        """Write into ``folder`` and give the manifest. ConfigError when the result repeats too much
        of the evaluation texts; the file is then kept under another name."""
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / DATA_NAME
        count = min(self._config.records, len(self._reader))
        first = _whole_lines(path)
        with path.open("a", encoding="utf-8") as file:
            for index in range(first, count):
                samples = [sample.as_mapping() for sample in self._of_record(index)]
                file.write(json.dumps({"index": index, "samples": samples}) + "\n")
                file.flush()
                if (index + 1) % 100 == 0 or index + 1 == count:
                    self._say(f"record {index + 1}/{count}, left out {dict(self._drops)}")
            os.fsync(file.fileno())
        written = [sample for line in _lines(path) for sample in line["samples"]]
        reviewed = write_review_sheet(
            folder / REVIEW_NAME, written, np.random.default_rng(self._config.seed)
        )
        asker, answerer = self._writer.names
        manifest = {
            **asdict(self._config), "version": VERSION, "dialogues": len(written),
            "turns": sum(len(sample["turns"]) for sample in written),
            "questions_by": asker, "answers_by": answerer, "left_out": dict(self._drops),
            "five_gram_overlap": self._overlap.share, "to_review": reviewed,
        }  # fmt: skip
        (folder / MANIFEST_NAME).write_text(json.dumps(manifest, indent=2), encoding="utf-8")
        if self._overlap.share >= MOST_OVERLAP:
            path.rename(path.with_suffix(".refused"))
            raise ConfigError(
                f"{self._overlap.share:.1%} of the five-word stretches are in evaluation texts, "
                f"{MOST_OVERLAP:.0%} is the limit; {path} was renamed to .refused"
            )
        return manifest

    def _of_record(self, index: int) -> Iterator[RilnSample]:
        record = self._reader.read(index)
        if record is None:
            self._drops["record_unusable"] += 1
            return
        rng = np.random.default_rng((self._config.seed, index))
        about = [(n, f) for n in record.narratives if (f := facts_of(record, n)) is not None]
        if not about:
            self._drops["record_without_facts"] += 1
            return
        image = record.pictures[0].load()
        wanted = int(rng.integers(DIALOGUES[0], DIALOGUES[1] + 1))
        for number in range(wanted):
            narrative, facts = about[number % len(about)]
            sample = self._writer.write(
                f"riln/{record.key}/{number}", narrative, facts, image,
                self._provenance(index), rng,
            )  # fmt: skip
            if sample is None:
                continue
            problem = dialogue_problem(sample)
            if problem:
                self._drops[problem] += 1
                continue
            self._overlap.add(sample)
            yield sample

    def _provenance(self, index: int) -> Provenance:
        return Provenance(self._config.data, index, *self._writer.names, self._config.seed)


def evaluation_texts(records: Iterator[Record | None]) -> list[str]:
    """Every text of held-out ``records``: what must not leak into the training data."""
    found = []
    for record in records:
        if record is not None:
            found += [*record.captions, *(n.text for n in record.narratives)]
            found += [turn.answer for dialogue in record.dialogues for turn in dialogue.turns]
            found += [text for region in record.regions for text in region.expressions]
    return found


def _whole_lines(path: Path) -> int:
    """How many records are there; a last line that was cut off is removed."""
    if not path.exists():
        return 0
    content = path.read_bytes()
    whole = content[: content.rfind(b"\n") + 1]
    if len(whole) < len(content):
        path.write_bytes(whole)
    return whole.count(b"\n")


def _lines(path: Path) -> Iterator[dict[str, Any]]:
    try:
        with path.open(encoding="utf-8") as file:
            for line in file:
                yield json.loads(line)
    except (OSError, ValueError) as error:
        raise InputError(f"{path} is damaged ({error}); remove it and build again") from error
