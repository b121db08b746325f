"""Masks are OpenVINO's, words ONNX Runtime's, to the last digit; which is which is told."""

import sys
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("openvino", reason="the extra [openvino] is not installed")
pytest.importorskip("onnx", reason="the tiny model is built with the package `onnx`")

from engine.runtime import load_engine
from engine.runtime.backend import host
from engine.runtime.manifest import read_manifest
from engine.runtime.mixed_backend import LANGUAGE, MixedBackend
from engine.runtime.openvino_backend import OpenVinoBackend
from engine.runtime.ort_backend import OrtBackend, OrtResident
from tests.engine.test_model_engine import last_of, masks, picture, trace
from tracevlm_ros.core.errors import BackendError, EngineMismatch


def test_masks_are_openvinos_to_the_last_digit(tiny_directory: Path) -> None:
    drawn = []
    for name in ("mixed-cpu", "openvino-cpu"):
        engine = load_engine(tiny_directory, name)
        drawn.append(masks(engine, picture(), [trace(1), trace(2)]))
        engine.close()
    np.testing.assert_array_equal(drawn[0], drawn[1])


def test_words_are_onnx_runtimes_to_the_last_digit(tiny_directory: Path) -> None:
    manifest = read_manifest(tiny_directory)
    width = manifest.sizes["D"]
    prompt = np.random.default_rng(0).normal(size=(1, 9, width)).astype(np.float32)
    places = np.broadcast_to(np.arange(9), (3, 1, 9)).astype(np.int64)
    found = []
    for backend in (MixedBackend(manifest), OrtBackend(manifest)):
        inputs = {"embeddings": prompt, "position_ids": places}
        found.append(backend.run("prefill", inputs, resident=("keys", "values")))
        backend.close()
    for name in ("logits", "hidden", "keys", "values"):
        np.testing.assert_array_equal(host(found[0][name]), host(found[1][name]))
    assert isinstance(found[0]["keys"], OrtResident), "the cache is not copied between two tokens"


def test_every_graph_is_opened_by_one_library_only(tiny_directory: Path) -> None:
    manifest = read_manifest(tiny_directory)
    backend = MixedBackend(manifest)
    pictures, language = backend._pictures, backend._language
    assert isinstance(pictures, OpenVinoBackend)
    assert isinstance(language, OrtBackend)
    assert set(language._sessions) == set(LANGUAGE)
    assert set(pictures._requests) == {"vision", "tvp", "mask"}


def test_which_graph_runs_where_is_told_also_when_asked_by_name(tiny_directory: Path) -> None:
    info = load_engine(tiny_directory, "mixed-cpu").info
    assert (info.backend, info.notes) == (
        "mixed-cpu",
        ("prefill, decode run on onnxruntime-cpu, vision, tvp, mask on openvino-cpu",),
    )


def test_what_one_library_keeps_the_other_reads(tiny_directory: Path) -> None:
    backend = MixedBackend(read_manifest(tiny_directory))
    kept = backend.run("vision", {"image": picture()[None]}, resident=("tokens",))["tokens"]
    count = kept.shape()[1]
    places = np.broadcast_to(np.arange(count), (3, 1, count)).astype(np.int64)
    from_kept = backend.run("prefill", {"embeddings": kept, "position_ids": places})
    copied = backend.run("prefill", {"embeddings": kept.numpy().copy(), "position_ids": places})
    np.testing.assert_array_equal(from_kept["logits"], copied["logits"])
    backend.close()


def test_a_graph_that_fails_is_named_with_its_own_library(tiny_directory: Path) -> None:
    backend = MixedBackend(read_manifest(tiny_directory))
    with pytest.raises(BackendError, match="graph 'vision' failed in openvino-cpu"):
        backend.run("vision", {"image": np.zeros((1, 3, 3, 3), np.uint8)})
    wrong = {
        "embeddings": np.zeros((1, 2, 1), np.float32),
        "position_ids": np.zeros((3, 1, 2), np.int64),
    }
    with pytest.raises(BackendError, match="graph 'prefill' failed in onnxruntime-cpu"):
        backend.run("prefill", wrong)


def test_a_static_cache_is_refused(tiny_directory: Path) -> None:
    backend = MixedBackend(read_manifest(tiny_directory))
    with pytest.raises(EngineMismatch, match="--flavour primitive"):
        backend.zeros({})


def test_without_openvino_the_remedy_is_told(
    tiny_directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "openvino", None)
    for name in ("mixed_backend", "openvino_backend"):
        monkeypatch.delitem(sys.modules, f"engine.runtime.{name}", raising=False)
    with pytest.raises(BackendError, match=r"install tracevlm_ros\[openvino\]"):
        load_engine(tiny_directory, "mixed-cpu")


def test_it_says_what_onnx_runtime_says(tiny_directory: Path) -> None:
    said = []
    for name in ("mixed-cpu", "onnxruntime-cpu"):
        engine = load_engine(tiny_directory, name)
        grounded = engine.ground(engine.encode(picture()), [trace(1)])
        said.append(last_of(engine, grounded, 0, "what is it ?").text)
        engine.close()
    assert said[0] == said[1] == "a red ball"
