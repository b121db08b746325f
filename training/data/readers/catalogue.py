"""Which reader a path needs, told by what is in it."""

import json
from collections.abc import Callable
from pathlib import Path

from tracevlm_ros.core.errors import InputError
from training.data.readers import (
    coco,
    davis,
    hc_stvg,
    localized_narratives,
    panoptic_grounding,
    refcoco,
    riln,
    video_narratives,
    video_refer,
)
from training.data.readers.source import Reader, Source, read_json
from training.data.readers.splits import TRAIN

READERS: dict[str, Callable[[Source], Reader]] = {
    localized_narratives.FORM: localized_narratives.LocalizedNarratives,
    video_narratives.FORM: video_narratives.VideoNarratives,
    coco.FORM: coco.Coco,
    refcoco.FORM: refcoco.RefCoco,
    panoptic_grounding.FORM: panoptic_grounding.PanopticGrounding,
    davis.FORM: davis.Davis,
    hc_stvg.FORM: hc_stvg.HcStvg,
    video_refer.FORM: video_refer.VideoRefer,
    riln.FORM: riln.Riln,
}


def open_reader(
    path: Path,
    *,
    images: Path | None = None,
    split: str = "",
    training: bool = True,
    excluded: frozenset[int] = frozenset(),
    form: str = "",
) -> Reader:
    """The reader for ``path``, of ``form`` or the form it is found to have.

    InputError when there is nothing that any reader knows, ConfigError for data that training
    must not see (``splits``). RefCOCO marks each expression, so its split is train unless told.
    """
    form = form or form_of(path)
    if form not in READERS:
        raise InputError(f"no reader for '{form}'; there are {', '.join(READERS)}")
    if form == coco.FORM and path.is_dir():
        path = path / "instances.json" if (path / "instances.json").is_file() else (
            path / "captions.json"
        )  # fmt: skip
    if form == refcoco.FORM and not split:
        split = TRAIN
    source = Source(
        annotations=path, images=images, split=split, training=training, excluded=excluded
    )
    return READERS[form](source)


def form_of(path: Path) -> str:
    """The form of the data at ``path``. InputError when nothing there is known."""
    if path.is_dir():
        found = _form_of_folder(path)
    elif not path.is_file():
        raise InputError(f"{path} does not exist; give an annotation file or a folder of data")
    elif path.suffix == ".jsonl":
        found = _form_of_line(path)
    elif path.suffix in (".p", ".pkl"):
        found = refcoco.FORM
    else:
        found = _form_of_document(read_json(path))
    if not found:
        raise InputError(f"{path} is of no known form; there are {', '.join(READERS)}")
    return found


def _form_of_folder(path: Path) -> str:
    if (path / "JPEGImages").is_dir() and (path / "Annotations").is_dir():
        return davis.FORM
    if any(path.glob("refs*.json")) or any(path.glob("refs*.p")):
        return refcoco.FORM
    has_coco = any((path / name).is_file() for name in ("instances.json", "captions.json"))
    return coco.FORM if has_coco else ""


def _form_of_line(path: Path) -> str:
    try:
        with path.open(encoding="utf-8") as file:
            first = json.loads(next((line for line in file if line.strip()), "null"))
    except (OSError, ValueError) as error:
        raise InputError(f"{path} begins with a line that is no JSON ({error})") from error
    if not isinstance(first, dict):
        return ""
    if "actor_narratives" in first:
        return video_narratives.FORM
    if {"index", "samples"} <= first.keys():
        return riln.FORM
    return localized_narratives.FORM if "timed_caption" in first else ""


def _form_of_document(document: object) -> str:
    if isinstance(document, dict):
        if {"images", "annotations"} <= document.keys():
            return coco.FORM
        entry = next(iter(document.values()), None)
        return hc_stvg.FORM if isinstance(entry, dict) and "bbox" in entry else ""
    entry = document[0] if isinstance(document, list) and document else None
    if not isinstance(entry, dict):
        return ""
    if "conversations" in entry:
        return video_refer.FORM
    if "segments" in entry:
        return panoptic_grounding.FORM
    return refcoco.FORM if "ann_id" in entry and "sentences" in entry else ""
