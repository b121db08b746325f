"""ONNX Runtime on CUDA, with a session that stands in for the GPU: nothing falls back unsaid."""

import ctypes
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest

pytest.importorskip("onnx", reason="the tiny model is built with the package `onnx`")

from engine.contract import TensorSpec
from engine.runtime.loading import load_backend
from engine.runtime.manifest import read_manifest
from engine.runtime.ort_backend import OrtBackend
from tracevlm_ros.core.errors import BackendError

STRICT = "session.disable_cpu_ep_fallback"


class Gpu:
    """Makes ONNX Runtime find a GPU; sessions run on the CPU. ``on_cpu`` names graphs that hold a
    node which the GPU lacks, ``broken`` one that cannot be opened."""

    def __init__(self) -> None:
        self.on_cpu: set[str] = set()
        self.broken = ""
        self.opened: list[tuple[str, bool]] = []

    def session(self, path: str, options: Any, providers: list[str]) -> Any:
        graph, is_strict = Path(path).stem, has_entry(options, STRICT)
        self.opened.append((graph, is_strict))
        if graph == self.broken:
            raise RuntimeError("no such operator")
        if is_strict and graph in self.on_cpu:
            raise RuntimeError(
                "This session contains graph nodes that are assigned to the default CPU EP, but "
                "fallback to CPU EP has been explicitly disabled by the user."
            )
        found = SESSION(path, onnxruntime.SessionOptions(), providers=["CPUExecutionProvider"])
        found.get_providers = lambda: providers
        return found


SESSION = onnxruntime.InferenceSession


def has_entry(options: Any, key: str) -> bool:
    try:
        return bool(options.get_session_config_entry(key) == "1")
    except RuntimeError:
        return False


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> Gpu:
    here = Gpu()
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: ["CUDAExecutionProvider"])
    monkeypatch.setattr(onnxruntime, "InferenceSession", here.session)
    return here


def test_graphs_that_run_whole_on_the_gpu_have_no_note(gpu: Gpu, tiny_directory: Path) -> None:
    loaded = load_backend(read_manifest(tiny_directory), "onnxruntime-cuda")
    assert loaded.notes == ()
    assert gpu.opened
    assert all(is_strict for _, is_strict in gpu.opened)


def test_a_graph_of_which_a_part_runs_on_the_cpu_is_named(gpu: Gpu, tiny_directory: Path) -> None:
    gpu.on_cpu = {"mask"}
    loaded = load_backend(read_manifest(tiny_directory), "onnxruntime-cuda")
    (note,) = loaded.notes
    assert "part of graph 'mask' runs on the CPU" in note
    assert [is_strict for graph, is_strict in gpu.opened if graph == "mask"] == [True, False]


def test_a_graph_that_cannot_be_opened_is_refused_and_not_tried_again(
    gpu: Gpu, tiny_directory: Path
) -> None:
    gpu.broken = "tvp"
    with pytest.raises(BackendError, match="no such operator"):
        OrtBackend(read_manifest(tiny_directory), "cuda")
    assert [graph for graph, _ in gpu.opened].count("tvp") == 1


def test_on_the_cpu_nothing_is_forbidden(tiny_directory: Path, gpu: Gpu) -> None:
    OrtBackend(read_manifest(tiny_directory), "cpu")
    assert not any(is_strict for _, is_strict in gpu.opened)


def test_zeros_in_bf16_are_made_on_the_device(
    gpu: Gpu, tiny_directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    make = onnxruntime.OrtValue.ortvalue_from_shape_and_type

    def on_device(shape: Any, kind: Any, device: str) -> Any:
        asked.append(device)
        return make(shape, kind, "cpu")

    backend = OrtBackend(read_manifest(tiny_directory), "cuda")
    monkeypatch.setattr(onnxruntime.OrtValue, "ortvalue_from_shape_and_type", on_device)
    (found,) = backend.zeros({"keys_0": TensorSpec("bfloat16", (1, 2, 33, 8))}).values()
    value: Any = found.value  # type: ignore[attr-defined]
    assert asked == ["cuda"]
    assert value.data_type() == "tensor(bfloat16)"
    assert found.shape() == [1, 2, 33, 8]
    bits = ctypes.string_at(value.data_ptr(), 2 * 2 * 33 * 8)
    assert not np.frombuffer(bits, np.uint16).any()
