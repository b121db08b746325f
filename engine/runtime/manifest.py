"""Reading a model directory: nothing is run that is not what its manifest says.

Everything that can be checked without an inference back end is checked here: version, sizes,
limits, every tensor against ``engine.contract``, presence, length and SHA-256 of every file.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engine.contract import (
    COLOUR,
    EMBEDDINGS_NAME,
    FLAVOURS,
    ITEM_BYTES,
    MANIFEST_NAME,
    MANIFEST_VERSION,
    PREPROCESSING,
    PRIMITIVE,
    SECTIONS,
    TOKENIZER_LIBRARY,
    TOKENIZER_NAME,
    TRACK,
    WORDS,
    GraphSpec,
    TensorSpec,
    describe_tensors,
    graph_specs,
    resolve,
    size_symbols,
)
from engine.runtime.manifest_fields import REEXPORT, expect, fail, integers, section, value

_COPY = "copy the model directory again, or re-export it"
_HASH_BLOCK = 1 << 20


@dataclass(frozen=True, kw_only=True, slots=True)
class Manifest:
    """A verified ``manifest.json``; ``graphs`` holds the tensors with all fixed sizes filled in.

    ``grid_hw`` is (rows, columns) of the merged visual tokens, their product is ``sizes["N"]``.
    ``sections`` are the parts that other rooms read: preprocessing, tokenizer, prompt, provenance.
    """

    directory: Path
    model_id: str
    flavour: str
    precision: str
    embeddings_dtype: str
    sizes: Mapping[str, int]
    max_traces: int
    max_prompt_tokens: int
    max_new_tokens: int
    max_answers: int
    graphs: Mapping[str, GraphSpec]
    graph_paths: Mapping[str, Path]
    grid_hw: tuple[int, int]
    sections: Mapping[str, Any]

    @property
    def embeddings_path(self) -> Path:
        return self.directory / EMBEDDINGS_NAME

    @property
    def tokenizer_path(self) -> Path:
        return self.directory / TOKENIZER_NAME


def read_manifest(directory: Path) -> Manifest:
    """Read and verify the model directory.

    Raises EngineMismatch, naming file, value, limit and remedy, for anything that does not match.
    Reads every file once to hash it: about a second per gigabyte.
    """
    document = _load(directory)
    version = document.get("version")
    if version != MANIFEST_VERSION:
        fail(
            f"{directory / MANIFEST_NAME} is version {version!r}, this program reads version "
            f"{MANIFEST_VERSION}",
            f"{REEXPORT} of the same release",
        )
    flavour = _flavour(document)
    graph_section = section(document, "graphs")
    specs = _specs(document, flavour, graph_section)
    symbols = tuple(sorted({*size_symbols(specs), "layers"}))
    sizes = integers(document, "sizes", symbols)
    limits = integers(document, "limits", ("max_traces", "max_prompt_tokens", "max_new_tokens"))
    limits["max_answers"] = _max_answers(document)
    paths = {name: _graph_path(directory, graph_section, name) for name in specs}
    for name, spec in specs.items():
        _check_tensors(name, spec, sizes, graph_section[name])
    _check_files(directory, section(document, "files"), [path.name for path in paths.values()])
    return Manifest(
        directory=directory,
        model_id=str(value(document, "model_id")),
        flavour=flavour,
        precision=str(value(document, "precision")),
        embeddings_dtype=_dtype(document, "embeddings_dtype", ("float32", "float16", "bfloat16")),
        sizes=sizes,
        **limits,
        graphs={name: resolve_graph(spec, sizes) for name, spec in specs.items()},
        graph_paths=paths,
        grid_hw=_grid(document, sizes["N"]),
        sections=_sections(document, sizes),
    )


def resolve_graph(spec: GraphSpec, sizes: Mapping[str, int]) -> GraphSpec:
    """``spec`` with all fixed sizes filled in."""
    return GraphSpec(
        *({name: resolve(tensor, sizes) for name, tensor in side.items()} for side in spec)
    )


def as_text(spec: TensorSpec) -> str:
    """``float32 (1, 49, 256)``: the form of shapes in messages."""
    return f"{spec.dtype} ({', '.join(str(size) for size in spec.shape)})"


def _load(directory: Path) -> dict[str, Any]:
    path = directory / MANIFEST_NAME
    if not directory.is_dir():
        fail(f"model directory {directory} does not exist", "give a directory that was exported")
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        fail(f"{path} does not exist", f"{directory} is no model directory or is incomplete")
    except (OSError, ValueError) as error:
        fail(f"{path} cannot be read as JSON ({error})", _COPY)
    if not isinstance(document, dict):
        fail(f"{path} holds a {type(document).__name__}, not an object", REEXPORT)
    return document


def _flavour(document: Mapping[str, Any]) -> str:
    flavour = document.get("flavour", PRIMITIVE)
    if flavour not in FLAVOURS:
        fail(
            f"'flavour' of {MANIFEST_NAME} is {flavour!r}, this program knows "
            f"{', '.join(FLAVOURS)}",
            f"update tracevlm_ros, or {REEXPORT}",
        )
    return str(flavour)


def _dtype(document: Mapping[str, Any], key: str, known: tuple[str, ...]) -> str:
    dtype = document.get(key, "float32")
    if dtype not in known:
        fail(
            f"'{key}' of {MANIFEST_NAME} is {dtype!r}, this program knows {', '.join(known)}",
            REEXPORT,
        )
    return str(dtype)


def _specs(
    document: Mapping[str, Any], flavour: str, graphs: Mapping[str, Any]
) -> dict[str, GraphSpec]:
    layers = 1 if flavour == PRIMITIVE else integers(document, "sizes", ("layers",))["layers"]
    cache_dtype = _dtype(document, "cache_dtype", tuple(ITEM_BYTES))
    joint = _max_answers(document) > 1
    track, words = TRACK in graphs, WORDS in graphs
    return graph_specs(flavour, layers, cache_dtype, track=track, words=words, joint=joint)


def _max_answers(document: Mapping[str, Any]) -> int:
    given = "max_answers" in section(document, "limits")
    return integers(document, "limits", ("max_answers",))["max_answers"] if given else 1


def _grid(document: Mapping[str, Any], tokens: int) -> tuple[int, int]:
    grid = value(section(document, "prompt"), "grid_hw")
    try:
        rows, columns = (int(side) for side in grid)
    except (TypeError, ValueError):
        rows = columns = 0
    if rows < 1 or rows * columns != tokens:
        fail(
            f"'grid_hw' in 'prompt' of {MANIFEST_NAME} is {grid!r}, its product must be N = "
            f"{tokens}",
            REEXPORT,
        )
    return rows, columns


def _sections(document: Mapping[str, Any], sizes: Mapping[str, int]) -> dict[str, Any]:
    """Those that other rooms read, refused where pictures or texts would be read otherwise here."""
    found = {key: section(document, key) for key in SECTIONS}
    expect(document, "preprocessing", "function", PREPROCESSING)
    expect(document, "preprocessing", "size_hw", [sizes["H"], sizes["W"]])
    expect(document, "preprocessing", "colour", COLOUR)
    expect(document, "tokenizer", "library", TOKENIZER_LIBRARY)
    expect(document, "tokenizer", "file", TOKENIZER_NAME)
    return found


def _graph_path(directory: Path, graphs: Mapping[str, Any], name: str) -> Path:
    file = value(section(graphs, name), "file")
    if not isinstance(file, str) or Path(file).name != file:
        fail(
            f"file of graph '{name}' is {file!r}, it must be a plain name inside the directory",
            REEXPORT,
        )
    return directory / file


def _check_tensors(
    graph: str, spec: GraphSpec, sizes: Mapping[str, int], declared: Mapping[str, Any]
) -> None:
    for side, tensors in (("inputs", spec.inputs), ("outputs", spec.outputs)):
        expected = describe_tensors(tensors, sizes)
        given = section(declared, side)
        if set(given) != set(expected):
            fail(
                f"{side} of graph '{graph}' are {sorted(given)}, the contract asks "
                f"{sorted(expected)}",
                REEXPORT,
            )
        for name, description in expected.items():
            if given[name] != description:
                fail(
                    f"{side[:-1]} '{name}' of graph '{graph}' is {given[name]!r}, the contract "
                    f"asks {description!r}",
                    REEXPORT,
                )


def _check_files(directory: Path, files: Mapping[str, Any], graph_files: list[str]) -> None:
    for name in (*graph_files, EMBEDDINGS_NAME, TOKENIZER_NAME):
        if name not in files:
            fail(f"'files' of {MANIFEST_NAME} does not list {name}", REEXPORT)
    for name in files:
        if Path(name).name != name:
            fail(f"'files' of {MANIFEST_NAME} lists {name!r}, not a plain name", REEXPORT)
        _check_file(directory / name, section(files, name))


def _check_file(path: Path, entry: Mapping[str, Any]) -> None:
    try:
        size = path.stat().st_size
    except OSError:
        fail(f"{path} is missing, {MANIFEST_NAME} lists it", _COPY)
    expected = value(entry, "bytes")
    if size != expected:
        fail(f"{path} has {size} bytes, {MANIFEST_NAME} says {expected}: truncated?", _COPY)
    found, asked = sha256_of(path), value(entry, "sha256")
    if found != asked:
        fail(
            f"{path} has SHA-256 {found[:12]}..., {MANIFEST_NAME} says {str(asked)[:12]}...: "
            "damaged, or of another export",
            _COPY,
        )


def sha256_of(path: Path) -> str:
    """Hexadecimal SHA-256 of a file, read in blocks."""
    digest = hashlib.sha256()
    buffer = bytearray(_HASH_BLOCK)
    view = memoryview(buffer)
    with path.open("rb", buffering=0) as file:
        while count := file.readinto(buffer):
            digest.update(view[:count])
    return digest.hexdigest()
