"""Data sets by the name that ``tracevlm evaluate --dataset`` takes."""

from collections.abc import Callable, Iterator
from pathlib import Path

from tracevlm_ros.core.errors import InputError
from tracevlm_ros.core.settings import require_choice
from tracevlm_ros.evaluation.adapters.case import Case
from tracevlm_ros.evaluation.adapters.coco_instances import instance_cases
from tracevlm_ros.evaluation.adapters.davis import davis_cases
from tracevlm_ros.evaluation.adapters.narratives import narrative_cases
from tracevlm_ros.evaluation.adapters.regions import (
    hc_stvg_regions,
    refcoco_cases,
    video_cases,
    videorefer_regions,
)

_PICTURES = ("frames", "images")


def _narratives(folder: Path) -> Iterator[Case]:
    images = next((folder / name for name in _PICTURES if (folder / name).is_dir()), folder)
    files = sorted(folder.glob("*.jsonl"))
    if not files:
        raise InputError(f"{folder} holds no .jsonl file of narratives")
    for path in files:
        yield from narrative_cases(path, images)


def _video_narratives(folder: Path) -> Iterator[Case]:
    files = sorted((folder / "vidlns").glob("*.jsonl"))
    if not files:
        raise InputError(f"{folder / 'vidlns'} holds no .jsonl file of video narratives")
    for path in files:
        yield from narrative_cases(path, folder / "frames")


DATASETS: dict[str, Callable[[Path], Iterator[Case]]] = {
    "davis": davis_cases,
    "coco-instances": instance_cases,
    "localized-narratives": _narratives,
    "video-localized-narratives": _video_narratives,
    "refcoco": refcoco_cases,
    "hc-stvg": lambda folder: video_cases(hc_stvg_regions(folder)),
    "videorefer": lambda folder: video_cases(videorefer_regions(folder)),
}


def dataset_cases(name: str, folder: Path) -> Iterator[Case]:
    """The recordings of data set ``name`` in ``folder``; ConfigError for an unknown name,
    InputError for a folder that is not what its adapter's module says."""
    require_choice("dataset", name, tuple(DATASETS))
    return DATASETS[name](folder)
