"""Statistics of training data: records, words, points, regions, samples by task, what is left out.

Each PATH is an annotation file or folder of a known form (docs/data.md), or ``synthetic[:SEED]``.
``--export-test-images`` writes the COCO image ids of the test splits of the RefCOCO files named.
"""

import argparse
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tracevlm_ros.core.errors import InputError
from training.data.opening import add_source_arguments, open_named
from training.data.readers import refcoco
from training.data.readers.catalogue import form_of
from training.data.readers.splits import write_excluded
from training.data.statistics import SurveyConfig, survey


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("paths", nargs="+", metavar="PATH")
    add_source_arguments(parser)
    parser.add_argument("--records", type=int, default=5000, help="read so many, evenly spread")
    parser.add_argument("--decoded", type=int, default=50, help="decode pictures of so many")
    parser.add_argument("--export-test-images", type=Path, metavar="LIST", help="write the list")
    parser.add_argument("--json", action="store_true", help="print machine-readable results")


def run(arguments: argparse.Namespace) -> int:
    """Print one table for each path; or write the list of excluded images."""
    if arguments.export_test_images is not None:
        return _export(arguments.paths, arguments.export_test_images)
    config = SurveyConfig(records=arguments.records, decoded=arguments.decoded)
    found = [
        {"path": path, **survey(open_named(path, arguments), config)} for path in arguments.paths
    ]
    if arguments.json:
        print(json.dumps(found, indent=2))
    else:
        print("\n\n".join("\n".join(_lines(row)) for row in found))
    return 0


def _export(paths: list[str], target: Path) -> int:
    files = [Path(path) for path in paths if form_of(Path(path)) == refcoco.FORM]
    if len(files) < len(paths):
        raise InputError("--export-test-images takes RefCOCO files only; leave the others out")
    ids = refcoco.ids_of_test_images(files)
    write_excluded(target, ids, ", ".join(file.name for file in files))
    print(f"{target}: {len(ids)} image ids")
    return 0


def _lines(row: dict[str, Any]) -> Iterator[str]:
    """Aligned ``name value`` lines, sections indented."""
    for name, value in row.items():
        if not isinstance(value, dict):
            yield f"{name:<26}{_shown(value)}"
            continue
        yield name if value else f"{name:<26}none"
        for key, inner in value.items():
            yield f"  {key:<24}{_shown(inner)}"


def _shown(value: object) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key} {count}" for key, count in value.items()) or "none"
    return "-" if value is None else str(value)
