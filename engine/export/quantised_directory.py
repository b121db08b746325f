"""A model directory -> the same model in another precision, as a directory of its own."""

import json
import shutil
import tempfile
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import onnxruntime

from calibration.quantisation_set import QuantisationSet
from engine.contract import MANIFEST_NAME, PRIMITIVE
from engine.export.borrowed_ranges import borrowed, require_same_model
from engine.export.calibration_runs import record_runs
from engine.export.measured_ranges import measure_ranges
from engine.export.outside_graph import Sink, move_graph, quantise_outside
from engine.export.outside_tensors import weights_files
from engine.export.precisions import RECIPES, Recipe, graphs_of
from engine.export.quantised_graph import quantise_graph, unreached
from engine.runtime.manifest import Manifest, read_manifest, sha256_of
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
    exact: Manifest | None = None,
) -> Quantised:
    """Fill ``draft`` (an empty directory) with the model of ``manifest`` in ``precision``.

    ``exact``: the fp32 export of the same weights, which tells the ranges of a bf16 one. Raises
    EngineMismatch for a model that is no fp32 export, or a bf16 one without its ``exact``,
    InputError for a set of another size.
    """
    recipe = RECIPES[precision]
    _require_fit(manifest, calibration, recipe, exact)
    graphs = tuple(name for name in graphs_of(precision, keep) if name in manifest.graphs)
    if not graphs:
        raise EngineError(f"every graph that {precision} quantises is kept; keep fewer")
    say(f"running the model on {len(calibration.prompts)} samples")
    quantise = _quantise_outside if has_outside_weights(manifest) else _quantise_inside
    done = quantise(Task(manifest, calibration, recipe, graphs, draft, say, exact))
    amend_manifest(
        draft,
        precision=precision,
        quantisation={
            "for": recipe.for_whom,
            "products": done.products,
            f"kept_{manifest.precision}": [name for name in manifest.graphs if name not in graphs],
            "set": {
                "samples": len(calibration.prompts),
                "sha256": calibration.manifest["sha256"],
                "selection": calibration.manifest.get("selection", {}),
            },
            "samples_without_mask": done.unmasked,
            "by": f"onnxruntime {onnxruntime.__version__}",
        },
    )
    return done


class Task(NamedTuple):
    """One directory under way; the other arguments are those of ``quantise_directory``."""

    manifest: Manifest
    calibration: QuantisationSet
    recipe: Recipe
    graphs: tuple[str, ...]
    draft: Path
    say: Callable[[str], None]
    exact: Manifest | None = None


def _quantise_inside(task: Task) -> Quantised:
    manifest = task.manifest
    runs = record_runs(manifest, task.calibration.frames, task.calibration.prompts)
    _copy(manifest, task.draft)
    products: dict[str, int] = {}
    for name in task.graphs:
        task.say(f"quantising {name}")
        path = manifest.graph_paths[name]
        given = runs.inputs[name]
        products[name] = quantise_graph(path, task.draft / path.name, task.recipe, given)
    return Quantised(products, runs.unmasked)


def _quantise_outside(task: Task) -> Quantised:
    """Graphs that share a weights file are all written anew with it."""
    manifest, draft = task.manifest, task.draft
    runs = task.exact or manifest
    measured = measure_ranges(runs, task.calibration.frames, task.calibration.prompts)
    files = {name: weights_files(path) for name, path in manifest.graph_paths.items()}
    written = set().union(*(files[name] for name in task.graphs))
    _copy(manifest, draft, without=written)
    products: dict[str, int] = {}
    sink = Sink(manifest.directory, draft)
    try:
        for name, path in manifest.graph_paths.items():
            if name in task.graphs:
                task.say(f"quantising {name}")
                if task.recipe.activations and name not in measured.ranges:
                    raise unreached(name)
                ranges = measured.ranges.get(name, {})
                if task.exact is not None and task.recipe.activations:
                    ranges = borrowed(path, task.exact.graph_paths[name], ranges)
                products[name] = quantise_outside(
                    path, draft / path.name, task.recipe, ranges, sink
                )
            elif files[name] & written:
                move_graph(path, draft / path.name, sink)
    finally:
        sink.close()
    return Quantised(products, measured.unmasked)


def has_outside_weights(manifest: Manifest) -> bool:
    return any(weights_files(path) for path in manifest.graph_paths.values())


def _require_fit(
    manifest: Manifest, calibration: QuantisationSet, recipe: Recipe, exact: Manifest | None
) -> None:
    if exact is not None:
        require_same_model(manifest, exact)
        if not recipe.is_symmetric:
            raise EngineMismatch(
                f"a {manifest.precision} model is for TensorRT, which takes no zero points; "
                "quantise it as int8-symmetric, fp8 or int4"
            )
    elif manifest.precision != "fp32":
        raise EngineMismatch(
            f"{manifest.directory} is {manifest.precision}; quantise the fp32 directory that "
            "`tracevlm export` wrote, or a bf16 one with --ranges-from its fp32 export"
        )
    if manifest.flavour != PRIMITIVE and not has_outside_weights(manifest):
        raise EngineMismatch(
            f"{manifest.directory} is of flavour {manifest.flavour}; quantise the {PRIMITIVE} one"
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


def _copy(manifest: Manifest, draft: Path, without: Collection[str] = ()) -> None:
    """Everything that the manifest lists, and the model card, but no file of ``without``."""
    document = json.loads((manifest.directory / MANIFEST_NAME).read_text(encoding="utf-8"))
    for name in (MANIFEST_NAME, *document["files"], _CARD_NAME):
        if name not in without and (manifest.directory / name).exists():
            shutil.copy2(manifest.directory / name, draft / name)


def amend_manifest(directory: Path, **sections: Any) -> None:
    """Set top-level ``sections`` of the manifest, and the true sizes and hashes of its files."""
    path = directory / MANIFEST_NAME
    document = json.loads(path.read_text(encoding="utf-8")) | sections
    for name in document["files"]:
        file = directory / name
        document["files"][name] = {"bytes": file.stat().st_size, "sha256": sha256_of(file)}
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
