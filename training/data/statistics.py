"""What a data set holds, counted: records, words, points, regions, samples, what is left out."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tracevlm_ros.core.drops import Drops
from tracevlm_ros.core.errors import InputError
from tracevlm_ros.core.settings import require_range
from training.data.messages import TreeConfig
from training.data.readers.alignment import SimplifyConfig, keypoints_of
from training.data.readers.records import Narrative, Record
from training.data.readers.source import Reader
from training.data.trees import build_tree, spread

_NS_PER_S = 1e9


@dataclass(frozen=True, kw_only=True, slots=True)
class SurveyConfig:
    """At most ``records`` records are read (and held), evenly spread, and the pictures of
    ``decoded`` of them decoded: keypoints, samples by task and damaged pictures are counted on
    those."""

    records: int = 5000
    decoded: int = 50

    def __post_init__(self) -> None:
        require_range("records", self.records, 1, 1e12)
        require_range("decoded", self.decoded, 0, 1e12)


def survey(reader: Reader, config: SurveyConfig) -> dict[str, Any]:
    """Counts and medians of ``reader``, as JSON holds them; sections without content are left out.

    ``drops`` are the reader's and those of the decoded records.
    """
    chosen = spread(len(reader), config.records) if len(reader) else []
    read = [record for index in chosen if (record := reader.read(index)) is not None]
    found: dict[str, Any] = {
        "form": reader.name,
        "split": reader.split,
        "records": len(reader),
        "read": len(chosen),
        "usable": len(read),
        "pictures": sum(len(record.pictures) for record in read),
    }
    drops = Drops(reader.drops)
    sections = {
        "narratives": _narratives([n for record in read for n in record.narratives]),
        "captions": _captions([text for record in read for text in record.captions]),
        "regions": _regions(read),
        "grounded": _grounded(read),
        "dialogues": _dialogues(read),
        "decoded": _decoded(read, config.decoded, drops),
    }
    found.update({name: section for name, section in sections.items() if section})
    found["drops"] = dict(sorted((+drops).items()))
    return found


def median(values: Sequence[float]) -> float | None:
    """Rounded to one digit; None without values."""
    return round(float(np.median(values)), 1) if len(values) else None


def _narratives(narratives: list[Narrative]) -> dict[str, Any]:
    if not narratives:
        return {}
    traces = [narrative.trace for narrative in narratives]
    xy = np.concatenate([trace.xy for trace in traces])
    steps = np.concatenate([np.diff(trace.stamp_ns)[~trace.pen_up[1:]] for trace in traces])
    outside = ((xy < 0) | (xy > 1)).any(axis=1)
    return {
        "count": len(narratives),
        "words_median": median([len(narrative.text.split()) for narrative in narratives]),
        "timed_words": sum(len(narrative.words) for narrative in narratives),
        "points": len(xy),
        "points_median": median([len(trace.xy) for trace in traces]),
        "strokes_median": median([trace.strokes for trace in traces]),
        "seconds_median": median(
            [(trace.stamp_ns[-1] - trace.stamp_ns[0]) / _NS_PER_S for trace in traces]
        ),
        "rate_hz": round(_NS_PER_S / float(np.median(steps)), 1) if (steps > 0).any() else None,
        "outside_share": round(float(outside.mean()), 4),
    }


def _captions(captions: list[str]) -> dict[str, Any]:
    if not captions:
        return {}
    words = [len(text.split()) for text in captions]
    return {"count": len(captions), "words_median": median(words)}


def _regions(records: list[Record]) -> dict[str, Any]:
    regions = [region for record in records for region in record.regions]
    if not regions:
        return {}
    expressions = [text for region in regions for text in region.expressions]
    categories = Counter(region.category for region in regions if region.category)
    return {
        "count": len(regions),
        "outlines": sum(len(region.shapes) for region in regions),
        "categories": len(categories),
        "most": dict(categories.most_common(5)),
        "expressions": len(expressions),
        "expression_words_median": median([len(text.split()) for text in expressions]),
    }


def _grounded(records: list[Record]) -> dict[str, Any]:
    grounded = [item for record in records for item in record.grounded]
    phrases = sum(len(item.phrases) for item in grounded)
    return {"captions": len(grounded), "phrases": phrases} if grounded else {}


def _dialogues(records: list[Record]) -> dict[str, Any]:
    dialogues = [dialogue for record in records for dialogue in record.dialogues]
    if not dialogues:
        return {}
    turns = [len(dialogue.turns) for dialogue in dialogues]
    return {"count": len(dialogues), "turns_median": median(turns)}


def _decoded(records: list[Record], limit: int, drops: Drops) -> dict[str, Any]:
    """What only decoding tells; ``drops`` takes damaged pictures and masks that are empty."""
    if not records or not limit:
        return {}
    tasks: Counter[str] = Counter()
    sizes: Counter[str] = Counter()
    kept: dict[str, list[int]] = {"uniform": [], "words": []}
    chosen = spread(len(records), limit)
    for index in chosen:
        record = records[index]
        config = TreeConfig(image_size=64, max_branches=4096)
        try:
            height, width = record.pictures[0].load().shape[:2]
            tree = build_tree(record, config, np.random.default_rng((0, index)), drops)
        except InputError:
            drops["picture_damaged"] += 1
            continue
        sizes[f"{width}x{height}"] += 1
        tasks.update(branch.task.value for branch in tree.branches)
        for narrative in record.narratives:
            for weights, counts in kept.items():
                simplify = SimplifyConfig(weights=weights)
                counts.append(len(keypoints_of(narrative, (height, width), simplify).xy))
    return {
        "records": len(chosen),
        "sizes": dict(sizes.most_common(3)),
        "samples_by_task": dict(sorted(tasks.items())),
        "samples": sum(tasks.values()),
        **{f"keypoints_median_{name}": median(counts) for name, counts in kept.items() if counts},
    }
