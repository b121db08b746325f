"""A model directory -> the same model in another precision, as a directory of its own."""

import hashlib
import json
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import onnxruntime

from calibration.quantisation_set import QuantisationSet
from engine.contract import MANIFEST_NAME, PRIMITIVE
from engine.export.calibration_runs import record_runs
from engine.export.precisions import RECIPES, graphs_of
from engine.export.quantised_graph import quantise_graph
from engine.runtime.manifest import Manifest, read_manifest
from tracevlm_ros.core.errors import EngineError, EngineMismatch, InputError

ACCURACY_NAME = "ACCURACY.md"
_CARD_NAME = "MODEL_CARD.md"


class Quantised(NamedTuple):
    """``products``: graph -> quantised matrix products. ``unmasked``: samples without a mask."""

    products: dict[str, int]
    unmasked: int


def quantise_directory(
    manifest: Manifest,
    calibration: QuantisationSet,
    precision: str,
    draft: Path,
    keep: tuple[str, ...] = (),
    say: Callable[[str], None] = lambda _: None,
) -> Quantised:
    """Fill ``draft`` (an empty directory) with the model of ``manifest`` in ``precision``.

    Raises EngineMismatch for a model that is no fp32 export, InputError for a set of another size.
    """
    _require_fit(manifest, calibration)
    recipe, graphs = RECIPES[precision], graphs_of(precision, keep)
    if not graphs:
        raise EngineError(f"every graph that {precision} quantises is kept; keep fewer")
    say(f"running the model on {len(calibration.prompts)} samples")
    runs = record_runs(manifest, calibration.frames, calibration.prompts)
    _copy(manifest, draft)
    products: dict[str, int] = {}
    for name in graphs:
        say(f"quantising {name}")
        path = manifest.graph_paths[name]
        products[name] = quantise_graph(path, draft / path.name, recipe, runs.inputs[name])
    amend_manifest(
        draft,
        precision=precision,
        quantisation={
            "for": recipe.for_whom,
            "products": products,
            "kept_fp32": [name for name in manifest.graphs if name not in graphs],
            "set": {
                "samples": len(calibration.prompts),
                "sha256": calibration.manifest["sha256"],
                "selection": calibration.manifest.get("selection", {}),
            },
            "samples_without_mask": runs.unmasked,
            "by": f"onnxruntime {onnxruntime.__version__}",
        },
    )
    return Quantised(products, runs.unmasked)


def _require_fit(manifest: Manifest, calibration: QuantisationSet) -> None:
    if manifest.precision != "fp32":
        raise EngineMismatch(
            f"{manifest.directory} is {manifest.precision}; quantise the fp32 directory that "
            "`tracevlm export` wrote"
        )
    if manifest.flavour != PRIMITIVE:
        raise EngineMismatch(
            f"{manifest.directory} is of flavour {manifest.flavour}; quantise the {PRIMITIVE} one"
        )
    outside = sorted(path.name for path in manifest.directory.glob("*.weights"))
    if outside:
        raise EngineMismatch(
            f"{manifest.directory} keeps weights outside its graphs ({', '.join(outside)}), which "
            "are measured as one file of at most 2 GB; export fp8 with random weights for speed, "
            "or int4 and int8 from a smaller model"
        )
    wanted = (manifest.sizes["H"], manifest.sizes["W"])
    given = tuple(calibration.frames.shape[1:3])
    longest = max(len(prompt.points) for prompt in calibration.prompts)
    if given != wanted or longest > manifest.sizes["K"]:
        raise InputError(
            f"the set has frames of {given} and traces of up to {longest} keypoints, the model "
            f"takes {wanted} and {manifest.sizes['K']}; make one with: tracevlm calibrate "
            f"quantize --model {manifest.directory}"
        )


def _copy(manifest: Manifest, draft: Path) -> None:
    """Everything that the manifest lists, and the model card."""
    document = json.loads((manifest.directory / MANIFEST_NAME).read_text(encoding="utf-8"))
    for name in (MANIFEST_NAME, *document["files"], _CARD_NAME):
        if (manifest.directory / name).exists():
            shutil.copy2(manifest.directory / name, draft / name)


def amend_manifest(directory: Path, **sections: Any) -> None:
    """Set top-level ``sections`` of the manifest, and the true sizes and hashes of its files."""
    path = directory / MANIFEST_NAME
    document = json.loads(path.read_text(encoding="utf-8")) | sections
    for name in document["files"]:
        content = (directory / name).read_bytes()
        digest = hashlib.sha256(content).hexdigest()
        document["files"][name] = {"bytes": len(content), "sha256": digest}
    path.write_text(json.dumps(document, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def record_accuracy(directory: Path, table: Mapping[str, Any], text: str) -> None:
    """Put the accuracy table into the manifest, and ``text`` beside the graphs."""
    document = json.loads((directory / MANIFEST_NAME).read_text(encoding="utf-8"))
    amend_manifest(directory, quantisation={**document["quantisation"], "accuracy": dict(table)})
    (directory / ACCURACY_NAME).write_text(text, encoding="utf-8")


@contextmanager
def drafted(target: Path) -> Iterator[Path]:
    """A scratch directory beside ``target`` that takes its place when the block ends well.

    Raises EngineError when ``target`` exists and is no model directory.
    """
    if target.exists() and not (target / MANIFEST_NAME).is_file() and any(target.iterdir()):
        raise EngineError(
            f"{target} exists and holds no {MANIFEST_NAME}; give a new or a model directory"
        )
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent) as scratch:
        draft = Path(scratch) / "model"
        draft.mkdir()
        yield draft
        read_manifest(draft)
        if target.exists():
            shutil.rmtree(target)
        shutil.move(str(draft), str(target))
