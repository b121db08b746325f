"""Reading a model directory: nothing is run that is not what its manifest says.

Everything that can be checked without an inference back end is checked here: version, sizes,
limits, every tensor against ``engine.contract``, presence, length and SHA-256 of every file.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from engine.contract import (
    EMBEDDINGS_NAME,
    FLAVOURS,
    ITEM_BYTES,
    MANIFEST_NAME,
    MANIFEST_VERSION,
    PRIMITIVE,
    TOKENIZER_NAME,
    TRACK,
    GraphSpec,
    TensorSpec,
    describe_tensors,
    graph_specs,
    resolve,
    size_symbols,
)
from tracevlm_ros.core.errors import EngineMismatch

_REEXPORT = "re-export with `tracevlm export`"
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
        _fail(
            f"{directory / MANIFEST_NAME} is version {version!r}, this program reads version "
            f"{MANIFEST_VERSION}",
            f"{_REEXPORT} of the same release",
        )
    flavour = _flavour(document)
    graph_section = _section(document, "graphs")
    specs = _specs(document, flavour, graph_section)
    symbols = tuple(sorted({*size_symbols(specs), "layers"}))
    sizes = _integers(document, "sizes", symbols)
    limits = _integers(document, "limits", ("max_traces", "max_prompt_tokens", "max_new_tokens"))
    limits["max_answers"] = _max_answers(document)
    paths = {name: _graph_path(directory, graph_section, name) for name in specs}
    for name, spec in specs.items():
        _check_tensors(name, spec, sizes, graph_section[name])
    _check_files(directory, _section(document, "files"), [path.name for path in paths.values()])
    return Manifest(
        directory=directory,
        model_id=str(_value(document, "model_id")),
        flavour=flavour,
        precision=str(_value(document, "precision")),
        embeddings_dtype=_dtype(document, "embeddings_dtype", ("float32", "float16", "bfloat16")),
        sizes=sizes,
        **limits,
        graphs={name: resolve_graph(spec, sizes) for name, spec in specs.items()},
        graph_paths=paths,
        grid_hw=_grid(document, sizes["N"]),
        sections={
            key: document[key]
            for key in ("preprocessing", "tokenizer", "prompt", "provenance")
            if key in document
        },
    )


def resolve_graph(spec: GraphSpec, sizes: Mapping[str, int]) -> GraphSpec:
    """``spec`` with all fixed sizes filled in."""
    return GraphSpec(
        *({name: resolve(tensor, sizes) for name, tensor in side.items()} for side in spec)
    )


def as_text(spec: TensorSpec) -> str:
    """``float32 (1, 49, 256)``: the form of shapes in messages."""
    return f"{spec.dtype} ({', '.join(str(size) for size in spec.shape)})"


def _fail(problem: str, remedy: str) -> NoReturn:
    raise EngineMismatch(f"{problem}; {remedy}")


def _load(directory: Path) -> dict[str, Any]:
    path = directory / MANIFEST_NAME
    if not directory.is_dir():
        _fail(f"model directory {directory} does not exist", "give a directory that was exported")
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        _fail(f"{path} does not exist", f"{directory} is no model directory or is incomplete")
    except (OSError, ValueError) as error:
        _fail(f"{path} cannot be read as JSON ({error})", _COPY)
    if not isinstance(document, dict):
        _fail(f"{path} holds a {type(document).__name__}, not an object", _REEXPORT)
    return document


def _value(section: Mapping[str, Any], key: str) -> Any:
    if key not in section:
        _fail(f"{MANIFEST_NAME} lacks '{key}'", _REEXPORT)
    return section[key]


def _section(document: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    section = _value(document, key)
    if not isinstance(section, Mapping):
        _fail(f"'{key}' of {MANIFEST_NAME} is {section!r}, not an object", _REEXPORT)
    return section


def _flavour(document: Mapping[str, Any]) -> str:
    flavour = document.get("flavour", PRIMITIVE)
    if flavour not in FLAVOURS:
        _fail(
            f"'flavour' of {MANIFEST_NAME} is {flavour!r}, this program knows "
            f"{', '.join(FLAVOURS)}",
            f"update tracevlm_ros, or {_REEXPORT}",
        )
    return str(flavour)


def _dtype(document: Mapping[str, Any], key: str, known: tuple[str, ...]) -> str:
    dtype = document.get(key, "float32")
    if dtype not in known:
        _fail(
            f"'{key}' of {MANIFEST_NAME} is {dtype!r}, this program knows {', '.join(known)}",
            _REEXPORT,
        )
    return str(dtype)


def _specs(
    document: Mapping[str, Any], flavour: str, graphs: Mapping[str, Any]
) -> dict[str, GraphSpec]:
    layers = 1 if flavour == PRIMITIVE else _integers(document, "sizes", ("layers",))["layers"]
    cache_dtype = _dtype(document, "cache_dtype", tuple(ITEM_BYTES))
    joint = _max_answers(document) > 1
    return graph_specs(flavour, layers, cache_dtype, track=TRACK in graphs, joint=joint)


def _max_answers(document: Mapping[str, Any]) -> int:
    given = "max_answers" in _section(document, "limits")
    return _integers(document, "limits", ("max_answers",))["max_answers"] if given else 1


def _integers(document: Mapping[str, Any], key: str, names: tuple[str, ...]) -> dict[str, int]:
    section = _section(document, key)
    found: dict[str, int] = {}
    for name in names:
        value = section.get(name)
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            _fail(
                f"'{name}' in '{key}' of {MANIFEST_NAME} is {value!r}, it must be an integer >= 1",
                _REEXPORT,
            )
        found[name] = value
    return found


def _grid(document: Mapping[str, Any], tokens: int) -> tuple[int, int]:
    grid = _value(_section(document, "prompt"), "grid_hw")
    try:
        rows, columns = (int(side) for side in grid)
    except (TypeError, ValueError):
        rows = columns = 0
    if rows < 1 or rows * columns != tokens:
        _fail(
            f"'grid_hw' in 'prompt' of {MANIFEST_NAME} is {grid!r}, its product must be N = "
            f"{tokens}",
            _REEXPORT,
        )
    return rows, columns


def _graph_path(directory: Path, graphs: Mapping[str, Any], name: str) -> Path:
    file = _value(_section(graphs, name), "file")
    if not isinstance(file, str) or Path(file).name != file:
        _fail(
            f"file of graph '{name}' is {file!r}, it must be a plain name inside the directory",
            _REEXPORT,
        )
    return directory / file


def _check_tensors(
    graph: str, spec: GraphSpec, sizes: Mapping[str, int], declared: Mapping[str, Any]
) -> None:
    for side, tensors in (("inputs", spec.inputs), ("outputs", spec.outputs)):
        expected = describe_tensors(tensors, sizes)
        given = _section(declared, side)
        if set(given) != set(expected):
            _fail(
                f"{side} of graph '{graph}' are {sorted(given)}, the contract asks "
                f"{sorted(expected)}",
                _REEXPORT,
            )
        for name, description in expected.items():
            if given[name] != description:
                _fail(
                    f"{side[:-1]} '{name}' of graph '{graph}' is {given[name]!r}, the contract "
                    f"asks {description!r}",
                    _REEXPORT,
                )


def _check_files(directory: Path, files: Mapping[str, Any], graph_files: list[str]) -> None:
    for name in (*graph_files, EMBEDDINGS_NAME, TOKENIZER_NAME):
        if name not in files:
            _fail(f"'files' of {MANIFEST_NAME} does not list {name}", _REEXPORT)
    for name in files:
        if Path(name).name != name:
            _fail(f"'files' of {MANIFEST_NAME} lists {name!r}, not a plain name", _REEXPORT)
        _check_file(directory / name, _section(files, name))


def _check_file(path: Path, entry: Mapping[str, Any]) -> None:
    try:
        size = path.stat().st_size
    except OSError:
        _fail(f"{path} is missing, {MANIFEST_NAME} lists it", _COPY)
    expected = _value(entry, "bytes")
    if size != expected:
        _fail(f"{path} has {size} bytes, {MANIFEST_NAME} says {expected}: truncated?", _COPY)
    found, asked = sha256_of(path), _value(entry, "sha256")
    if found != asked:
        _fail(
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
