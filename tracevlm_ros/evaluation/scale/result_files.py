"""One Parquet file a recording: a row with its facts, its figures and the samples behind them.

Figures of many recordings are computed from the samples of all, exactly as in one run; so the
files can be read again and pooled in any selection. Needs pyarrow (extra ``[ray]``).
"""

import dataclasses
import json
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from tracevlm_ros.core.attention.ledger import Transition
from tracevlm_ros.core.drops import Drops
from tracevlm_ros.core.errors import InputError
from tracevlm_ros.evaluation.attention_times import AttentionTimes, Looked
from tracevlm_ros.evaluation.evaluate import RecordingResult
from tracevlm_ros.evaluation.figures import make_figures
from tracevlm_ros.evaluation.metrics.masks import Overlap
from tracevlm_ros.evaluation.samples import CaptionSample, MaskSample, Samples

_FLOATS = pa.list_(pa.float64())
_MASK = pa.struct(
    {
        "label": pa.int64(),
        "stamp_ns": pa.int64(),
        "trace_ids": pa.list_(pa.int64()),
        "intersection": pa.int64(),
        "union": pa.int64(),
        "boundary_f": pa.float64(),
        "since_s": pa.float64(),
    }
)
_CAPTION = pa.struct(
    {
        "label": pa.int64(),
        "trace_id": pa.int64(),
        "text": pa.string(),
        "references": pa.list_(pa.string()),
        "score": pa.float64(),
    }
)
_ATTENTION = pa.struct(
    {
        "looked": pa.list_(
            pa.struct({"trace_id": pa.int64(), "dwell_s": pa.float64(), "said": pa.string()})
        ),
        "transitions": pa.list_(
            pa.struct(
                {
                    "from_id": pa.int64(),
                    "to_id": pa.int64(),
                    "stamp_ns": pa.int64(),
                    "gap_s": pa.float64(),
                }
            )
        ),
    }
)
_SPECIAL = {"masks": pa.list_(_MASK), "captions": pa.list_(_CAPTION), "drops": pa.string()}
_DEFAULTS = Samples()
SCHEMA = pa.schema(
    [
        ("name", pa.string()),
        ("path", pa.string()),
        ("model_id", pa.string()),
        ("kind", pa.string()),
        ("error", pa.string()),
        ("notes", pa.list_(pa.string())),
        ("missing_truth", pa.list_(pa.string())),
        ("start_ns", pa.int64()),
        ("span_s", pa.float64()),
        ("wall_s", pa.float64()),
        ("attention", _ATTENTION),
        ("figures", pa.map_(pa.string(), pa.float64())),
        *(
            (one.name, _SPECIAL.get(one.name))
            if one.name in _SPECIAL
            else (
                one.name,
                pa.int64() if isinstance(getattr(_DEFAULTS, one.name), int) else _FLOATS,
            )
            for one in dataclasses.fields(Samples)
        ),
    ]
)


def write_result(result: RecordingResult, path: Path) -> None:
    """Write one row; the file appears whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    pq.write_table(pa.Table.from_pylist([_row(result)], SCHEMA), partial, compression="zstd")
    partial.replace(path)


def read_results(paths: Iterable[Path]) -> Iterator[RecordingResult]:
    """Results as they were written, without pictures; counts that an older version did not write
    are 0. Raises InputError naming a bad file."""
    for path in paths:
        try:
            rows = pq.read_table(path, schema=SCHEMA).to_pylist()
        except (OSError, pa.ArrowException) as error:
            raise InputError(f"{path} is no result file: {error}; remove it and resume") from error
        yield from map(_result, rows)


def merge_results(paths: Iterable[Path], out: Path) -> int:
    """All rows in one file, in the order given; returns how many."""
    count = 0
    partial = out.with_name(f".{out.name}.{os.getpid()}")
    with pq.ParquetWriter(partial, SCHEMA, compression="zstd") as writer:
        for path in paths:
            table = pq.read_table(path, schema=SCHEMA)
            writer.write_table(table)
            count += table.num_rows
    partial.replace(out)
    return count


def _row(result: RecordingResult) -> dict[str, Any]:
    samples = result.samples
    row: dict[str, Any] = {
        "name": result.name,
        "path": str(result.path),
        "model_id": result.model_id,
        "kind": result.kind,
        "error": result.error,
        "notes": result.notes,
        "missing_truth": list(result.missing_truth),
        "start_ns": result.start_ns,
        "span_s": result.span_s,
        "wall_s": result.wall_s,
        "attention": _attention_row(result.attention),
        "figures": list(make_figures(samples, with_java=False).values().items()),
    }
    for one in dataclasses.fields(Samples):
        row[one.name] = getattr(samples, one.name)
    row["drops"] = json.dumps(dict(sorted(samples.drops.items())))
    row["captions"] = [caption._asdict() for caption in samples.captions]
    row["masks"] = [{**mask._asdict(), **mask.overlap._asdict()} for mask in samples.masks]
    for mask in row["masks"]:
        del mask["overlap"]
    return row


def _attention_row(times: AttentionTimes | None) -> dict[str, Any] | None:
    if times is None:
        return None
    return {
        "looked": [one._asdict() for one in times.looked],
        "transitions": [one._asdict() for one in times.transitions],
    }


def _attention(row: dict[str, Any] | None) -> AttentionTimes | None:
    if row is None:
        return None
    return AttentionTimes(
        tuple(Looked(**one) for one in row["looked"]),
        tuple(Transition(**one) for one in row["transitions"]),
    )


def _result(row: dict[str, Any]) -> RecordingResult:
    known = {one.name: row[one.name] for one in dataclasses.fields(Samples)}
    samples = Samples(**{name: value for name, value in known.items() if value is not None})
    samples.drops = Drops(json.loads(row["drops"]))
    samples.captions = [
        CaptionSample(**{**caption, "references": tuple(caption["references"])})
        for caption in row["captions"]
    ]
    samples.masks = [
        MaskSample(
            mask["label"],
            mask["stamp_ns"],
            tuple(mask["trace_ids"]),
            Overlap(mask["intersection"], mask["union"]),
            mask["boundary_f"],
            mask["since_s"],
        )
        for mask in row["masks"]
    ]
    return RecordingResult(
        row["name"],
        Path(row["path"]),
        row["model_id"],
        row["kind"],
        samples,
        missing_truth=tuple(row["missing_truth"]),
        notes=row["notes"],
        error=row["error"],
        start_ns=row["start_ns"],
        span_s=row["span_s"],
        wall_s=row["wall_s"],
        attention=_attention(row["attention"]),
    )
