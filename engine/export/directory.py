"""What every model directory has, whatever network it holds: limits, manifest, hashes, one move."""

import json
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from engine.contract import (
    CODEBOOK_TOKENS,
    COLOUR,
    MANIFEST_NAME,
    MANIFEST_VERSION,
    PREPROCESSING,
    PRIMITIVE,
    STATIC_CACHE,
    TOKENIZER_LIBRARY,
    TOKENIZER_NAME,
    GraphSpec,
    describe_tensors,
    graph_specs,
    track_sizes,
)
from engine.runtime.manifest import sha256_of
from tracevlm_ros.core.errors import EngineError
from training.model.vision import IMAGE_MEAN, IMAGE_STD

KEPT = ("MODEL_CARD.md",)
CACHE_TYPES = {"fp32": "float32", "fp16": "float16", "bf16": "bfloat16", "fp8": "bfloat16"}
_CAPACITY_STEP = 64


class Limits(NamedTuple):
    """What one call may ask; the reader of the manifest enforces it."""

    max_traces: int = 8
    max_prompt_tokens: int = 192
    max_new_tokens: int = 48

    def capacity(self) -> int:
        """Places of a static cache: prompt, answer, ``[SEG]``, codebook, rounded up."""
        used = self.max_prompt_tokens + self.max_new_tokens + 1 + CODEBOOK_TOKENS
        return -(-used // _CAPACITY_STEP) * _CAPACITY_STEP


DEFAULT_LIMITS = Limits()


class Form(NamedTuple):
    """How a network is exported. ``track_hw`` is the size of the pictures that the graph ``track``
    takes, None for no such graph; ``max_answers`` is how many answers one call of a primitive
    ``decode`` reads on; ``words``: with the graph that finds what a text describes."""

    flavour: str = PRIMITIVE
    precision: str = "fp32"
    track_hw: tuple[int, int] | None = None
    max_answers: int = 1
    words: bool = False

    @property
    def is_joint(self) -> bool:
        return self.flavour == PRIMITIVE and self.max_answers > 1

    def specs(self, layers: int) -> dict[str, GraphSpec]:
        cache_dtype = CACHE_TYPES[self.precision]
        track = self.track_hw is not None
        return graph_specs(
            self.flavour, layers, cache_dtype, track=track, words=self.words, joint=self.is_joint
        )

    def sizes(self, network: Mapping[str, int], limits: Limits) -> dict[str, int]:
        """Those that the network fixes, and those that follow from the form."""
        cache = {"C": limits.capacity()} if self.flavour == STATIC_CACHE else {}
        return {**network, **cache, **(track_sizes(*self.track_hw) if self.track_hw else {})}


class Exported(NamedTuple):
    directory: Path
    total_bytes: int


@contextmanager
def drafted(directory: Path) -> Iterator[Path]:
    """An empty folder that takes the place of ``directory`` once the block ends without error.

    Raises EngineError when ``directory`` exists and is no model directory. Documents that are
    written by hand are carried over.
    """
    if directory.exists() and not (directory / MANIFEST_NAME).exists() and any(directory.iterdir()):
        raise EngineError(
            f"{directory} exists and holds no {MANIFEST_NAME}; give a new or an exported directory"
        )
    directory.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=directory.parent) as scratch:
        draft = Path(scratch) / "model"
        draft.mkdir()
        yield draft
        for name in KEPT:
            if (directory / name).exists():
                shutil.copy2(directory / name, draft / name)
        if directory.exists():
            shutil.rmtree(directory)
        shutil.move(str(draft), str(directory))


def manifest_document(
    form: Form,
    sizes: Mapping[str, int],
    limits: Limits,
    model_id: str,
    prompt: Mapping[str, Any],
    provenance: Mapping[str, Any],
) -> dict[str, Any]:
    """Everything but ``files``."""
    specs = form.specs(sizes["layers"])
    return {
        "version": MANIFEST_VERSION,
        "model_id": model_id,
        "flavour": form.flavour,
        "precision": form.precision,
        "cache_dtype": CACHE_TYPES[form.precision],
        "sizes": dict(sizes),
        "limits": limits._asdict() | ({"max_answers": form.max_answers} if form.is_joint else {}),
        "graphs": {
            name: {
                "file": f"{name}.onnx",
                "inputs": describe_tensors(spec.inputs, sizes),
                "outputs": describe_tensors(spec.outputs, sizes),
            }
            for name, spec in specs.items()
        },
        "preprocessing": {
            "function": PREPROCESSING,
            "size_hw": [sizes["H"], sizes["W"]],
            "colour": COLOUR,
            "normalised_in_graph": {"mean": list(IMAGE_MEAN), "std": list(IMAGE_STD)},
        },
        "tokenizer": {"library": TOKENIZER_LIBRARY, "file": TOKENIZER_NAME},
        "prompt": dict(prompt),
        "provenance": dict(provenance),
    }


def seal(directory: Path, document: Mapping[str, Any]) -> None:
    """Write ``document`` as the manifest, with sizes and hashes of the files beside it."""
    files = {
        path.name: {"bytes": path.stat().st_size, "sha256": sha256_of(path)}
        for path in sorted(directory.iterdir())
        if path.name != MANIFEST_NAME
    }
    text = json.dumps({**document, "files": files}, indent=1, ensure_ascii=False) + "\n"
    (directory / MANIFEST_NAME).write_text(text, encoding="utf-8")


def finished(directory: Path) -> Exported:
    return Exported(directory, sum(path.stat().st_size for path in directory.iterdir()))
