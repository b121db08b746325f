"""A model directory that is not what its manifest says is refused, and the message says why."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("onnx", reason="the tiny model is built with the package `onnx`")

from engine.contract import GRAPHS, SECTIONS
from engine.runtime.manifest import read_manifest
from tests.engine.tiny_model import LIMITS, SIZES, manifest, seal
from tracevlm_ros.core.errors import EngineMismatch


@pytest.fixture
def model(tiny_directory: Path, tmp_path: Path) -> Path:
    """A copy to damage."""
    return Path(shutil.copytree(tiny_directory, tmp_path / "model"))


def test_a_sound_directory_is_read_with_all_sizes_filled_in(tiny_directory: Path) -> None:
    found = read_manifest(tiny_directory)
    assert found.model_id == "tiny"
    assert found.sizes == SIZES
    assert (found.max_traces, found.max_new_tokens) == (
        LIMITS["max_traces"],
        LIMITS["max_new_tokens"],
    )
    assert found.grid_hw == (2, 2)
    assert set(found.graphs) == set(GRAPHS)
    assert found.graphs["tvp"].inputs["points"].shape == ("T", SIZES["K"], 2)
    assert found.graph_paths["vision"] == tiny_directory / "vision.onnx"


def flip_a_bit(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(bytes(content))


def test_a_missing_file_is_named(model: Path) -> None:
    (model / "mask.onnx").unlink()
    with pytest.raises(EngineMismatch, match=r"mask\.onnx is missing.*copy the model directory"):
        read_manifest(model)


def test_a_truncated_file_is_named_with_both_lengths(model: Path) -> None:
    path = model / "decode.onnx"
    size = path.stat().st_size
    path.write_bytes(path.read_bytes()[:-10])
    message = rf"decode\.onnx has {size - 10} bytes, manifest\.json says {size}: truncated\?"
    with pytest.raises(EngineMismatch, match=message):
        read_manifest(model)


def test_one_flipped_bit_is_found(model: Path) -> None:
    flip_a_bit(model / "embeddings.npy")
    with pytest.raises(EngineMismatch, match=r"embeddings\.npy has SHA-256 .* damaged"):
        read_manifest(model)


def test_a_tokenizer_of_another_model_is_found(model: Path) -> None:
    flip_a_bit(model / "tokenizer.json")
    with pytest.raises(EngineMismatch, match=r"tokenizer\.json has SHA-256 .* another export"):
        read_manifest(model)


def test_two_swapped_files_are_found(model: Path) -> None:
    (model / "prefill.onnx").rename(model / "spare")
    (model / "decode.onnx").rename(model / "prefill.onnx")
    (model / "spare").rename(model / "decode.onnx")
    with pytest.raises(EngineMismatch, match=r"(prefill|decode)\.onnx has"):
        read_manifest(model)


def _set(*keys: str, to: Any) -> Callable[[dict[str, Any]], None]:
    def change(document: dict[str, Any]) -> None:
        section = document
        for key in keys[:-1]:
            section = section[key]
        section[keys[-1]] = to

    return change


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (_set("version", to=3), "is version 3, this program reads version 2; re-export"),
        (_set("version", to=None), "is version None"),
        (_set("sizes", "D", to=7), "of graph 'vision' is .*the contract asks"),
        (_set("sizes", "N", to="4"), "'N' in 'sizes' .* is '4', it must be an integer"),
        (_set("limits", "max_traces", to=0), "'max_traces' in 'limits' .* is 0"),
        (_set("limits", "max_answers", to=0), "'max_answers' in 'limits' .* is 0"),
        (_set("limits", "max_answers", to=2), r"inputs of graph 'decode' .*asks .*'skipped'"),
        (_set("limits", to=[]), r"'limits' of manifest.json is \[\], not an object"),
        (_set("graphs", "tvp", "file", to="../tvp.onnx"), "must be a plain name"),
        (_set("graphs", "tvp", "inputs", to={}), r"inputs of graph 'tvp' are \[\]"),
        (
            _set("graphs", "mask", "outputs", "mask_logits", "dtype", to="float16"),
            "output 'mask_logits' of graph 'mask' is .*float16.* the contract asks .*float32",
        ),
        (
            _set("preprocessing", "size_hw", to=[16, 32]),
            r"'size_hw' in 'preprocessing' .* is \[16, 32\], this program asks \[16, 16\]",
        ),
        (_set("preprocessing", "colour", to="BGR"), "'colour' .* is 'BGR', .* asks 'RGB'"),
        (_set("preprocessing", "function", to="crop"), "'function' .* is 'crop', .*fit_image"),
        (_set("preprocessing", to=None), "'preprocessing' of manifest.json is None, not an object"),
        (_set("tokenizer", "file", to="other.json"), "'file' in 'tokenizer' .* is 'other.json'"),
        (_set("tokenizer", "library", to=None), "'library' in 'tokenizer' .* asks 'tokenizers'"),
        (_set("provenance", to="found"), "'provenance' of manifest.json is 'found', not an object"),
        (_set("prompt", "grid_hw", to=[2, 3]), r"'grid_hw' .* \[2, 3\], its product must be N = 4"),
    ],
)
def test_a_manifest_that_breaks_the_contract_is_refused(
    model: Path, change: Callable[[dict[str, Any]], None], message: str
) -> None:
    document = manifest()
    change(document)
    seal(model, document)
    with pytest.raises(EngineMismatch, match=message):
        read_manifest(model)


REQUIRED = ["model_id", "precision", "sizes", "limits", "graphs", *SECTIONS]


@pytest.mark.parametrize("key", REQUIRED)
def test_a_manifest_without_a_section_names_it(model: Path, key: str) -> None:
    document = manifest()
    del document[key]
    seal(model, document)
    with pytest.raises(EngineMismatch, match=f"lacks '{key}'"):
        read_manifest(model)


def test_a_file_that_the_manifest_does_not_list_is_not_trusted(model: Path) -> None:
    document = json.loads((model / "manifest.json").read_text())
    del document["files"]["tokenizer.json"]
    (model / "manifest.json").write_text(json.dumps(document))
    with pytest.raises(EngineMismatch, match=r"does not list tokenizer\.json"):
        read_manifest(model)


@pytest.mark.parametrize("content", ["", "{", "[]", "\xff"])
def test_a_manifest_that_is_no_json_object_is_refused(model: Path, content: str) -> None:
    (model / "manifest.json").write_bytes(content.encode("latin-1"))
    with pytest.raises(EngineMismatch, match=r"manifest\.json"):
        read_manifest(model)
