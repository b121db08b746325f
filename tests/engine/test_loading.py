"""Loading by name, fall-back that is told, and a run time free of torch and ROS."""

import json
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("onnx", reason="the tiny model is built with the package `onnx`")

import onnxruntime

from engine.runtime import load_engine, loading
from engine.runtime.gpu_presence import has_nvidia_gpu
from engine.runtime.manifest import read_manifest
from engine.runtime.ort_backend import OrtBackend
from tests.engine.tiny_model import SIZES, manifest, seal, write_tiny_model
from tracevlm_ros.core.errors import BackendError, ConfigError, EngineError, EngineMismatch

ROOT = Path(__file__).parents[2]
HAS_CUDA = "CUDAExecutionProvider" in onnxruntime.get_available_providers()


def test_fake_needs_no_files_and_says_that_it_is_fake() -> None:
    info = load_engine("fake").info
    assert (info.model_id, info.backend) == ("fake", "fake")
    assert "no model" in info.notes[0]


def test_a_fake_takes_as_long_to_encode_as_it_is_told() -> None:
    engine = load_engine("fake:20")
    assert engine.info.leaves_cores and not load_engine("fake").info.leaves_cores
    begin_s = time.perf_counter()
    engine.encode(np.zeros((4, 4, 3), np.uint8))
    assert time.perf_counter() - begin_s >= 0.02


@pytest.mark.parametrize("model", ["fake:", "fake:soon", "fake:-1", "fake:nan", "fake:1e9"])
def test_a_fake_told_a_time_that_is_none_is_refused_with_the_form(model: str) -> None:
    with pytest.raises(ConfigError, match="write fake:MS"):
        load_engine(model)


@pytest.mark.skipif(HAS_CUDA, reason="this ONNX Runtime has CUDA: nothing to fall back from")
def test_auto_falls_back_to_the_cpu_and_says_why(
    tiny_directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loading, "has_nvidia_gpu", lambda: True)
    monkeypatch.setattr(loading, "openvino_has_bf16", lambda: False)
    info = load_engine(tiny_directory).info
    assert info.backend == "onnxruntime-cpu"
    assert "no CUDA provider; install onnxruntime-gpu" in info.notes[0]


@pytest.mark.parametrize("backend", ["auto", "onnxruntime-cpu"])
def test_a_missing_onnx_runtime_is_one_error_with_its_remedy(
    tiny_directory: Path, monkeypatch: pytest.MonkeyPatch, backend: str
) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    monkeypatch.delitem(sys.modules, "engine.runtime.ort_backend")
    with pytest.raises(BackendError, match=r"onnxruntime is not installed; .*pip install"):
        load_engine(tiny_directory, backend=backend)


def test_without_a_gpu_auto_takes_the_cpu_and_asks_for_nothing_to_be_installed(
    tiny_directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loading, "has_nvidia_gpu", lambda: False)
    monkeypatch.setattr(loading, "openvino_has_bf16", lambda: False)
    info = load_engine(tiny_directory).info
    assert info.backend == "onnxruntime-cpu"
    assert info.notes == ("runs on the CPU: no NVIDIA GPU is here",)


@pytest.mark.parametrize(
    ("name", "found"), [("nvidia0", True), ("nvhost-gpu", True), ("dxg", True), ("tty0", False)]
)
def test_a_gpu_is_told_from_its_device_file(tmp_path: Path, name: str, found: bool) -> None:
    (tmp_path / name).touch()
    assert has_nvidia_gpu(tmp_path) is found


@pytest.mark.skipif(HAS_CUDA, reason="this ONNX Runtime has CUDA")
def test_a_back_end_asked_for_by_name_is_never_replaced(tiny_directory: Path) -> None:
    with pytest.raises(BackendError, match="no CUDA provider; install onnxruntime-gpu"):
        load_engine(tiny_directory, backend="onnxruntime-cuda")


def test_the_cpu_asked_for_by_name_is_no_fall_back(tiny_directory: Path) -> None:
    info = load_engine(tiny_directory, backend="onnxruntime-cpu").info
    assert info.notes == ()
    assert info.image_size_hw == (SIZES["H"], SIZES["W"])
    assert info.max_keypoints == SIZES["K"]


def test_an_unknown_back_end_lists_the_known_ones(tiny_directory: Path) -> None:
    with pytest.raises(
        ConfigError, match="'cpu'; it must be one of auto, tensorrt, onnxruntime-cpu"
    ):
        load_engine(tiny_directory, backend="cpu")


def test_a_name_that_is_no_model_says_what_to_give(tmp_path: Path) -> None:
    with pytest.raises(EngineError, match=r"holds no manifest\.json; give 'nano', 'fake' or"):
        load_engine(tmp_path)


def test_a_graph_that_is_not_what_the_manifest_says_is_refused(tmp_path: Path) -> None:
    model = write_tiny_model(tmp_path / "model")
    document = manifest()
    (model / "prefill.onnx").write_bytes((model / "decode.onnx").read_bytes())
    seal(model, document)
    with pytest.raises(EngineMismatch, match=r"inputs of graph 'prefill' are .*past_keys"):
        load_engine(model, backend="onnxruntime-cpu")


def test_a_graph_that_onnxruntime_cannot_read_is_named(tmp_path: Path) -> None:
    model = write_tiny_model(tmp_path / "model")
    (model / "tvp.onnx").write_bytes(b"no graph")
    seal(model, manifest())
    with pytest.raises(BackendError, match=r"tvp\.onnx cannot be loaded"):
        load_engine(model, backend="onnxruntime-cpu")


def test_a_tokenizer_larger_than_the_vocabulary_is_refused(tmp_path: Path) -> None:
    model = write_tiny_model(tmp_path / "model")
    content = json.loads((model / "tokenizer.json").read_text())
    content["model"]["vocab"]["surplus"] = SIZES["vocab"]
    (model / "tokenizer.json").write_text(json.dumps(content))
    seal(model, manifest())
    with pytest.raises(EngineMismatch, match="the model's vocabulary has"):
        load_engine(model, backend="onnxruntime-cpu")


def test_an_embedding_table_of_another_shape_is_refused(tmp_path: Path) -> None:
    model = write_tiny_model(tmp_path / "model")
    np.save(model / "embeddings.npy", np.zeros((3, 3), np.float32))
    seal(model, manifest())
    with pytest.raises(EngineMismatch, match=r"float32 \(3, 3\), the manifest asks"):
        load_engine(model, backend="onnxruntime-cpu")


def test_a_failing_graph_is_named_with_the_back_end(tiny_directory: Path) -> None:
    backend = OrtBackend(read_manifest(tiny_directory), "cpu")
    with pytest.raises(BackendError, match="graph 'vision' failed in onnxruntime-cpu"):
        backend.run("vision", {"image": np.zeros((1, 8, 8, 3), np.uint8)})


def test_the_run_time_needs_neither_torch_nor_ros(tiny_directory: Path) -> None:
    script = """
import sys
for name in ("torch", "transformers", "rclpy", "onnx"):
    sys.modules[name] = None
import numpy as np
from engine.runtime import load_engine
from tracevlm_ros.core.engine import TracePrompt
engine = load_engine(sys.argv[1], backend="onnxruntime-cpu")
one = TracePrompt(np.full((1, 2), 0.5), np.zeros(1), np.zeros(1, dtype=bool))
grounded = engine.ground(engine.encode(np.zeros((16, 16, 3), np.uint8)), [one])
*_, last = engine.describe(grounded, 0)
print(last.text)
"""
    done = subprocess.run(
        [sys.executable, "-c", script, str(tiny_directory)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.stdout.strip() == "a red ball", done.stderr


def test_the_fake_engine_does_not_load_an_inference_library() -> None:
    script = (
        "import sys; sys.modules['onnxruntime'] = None\n"
        "from engine.runtime import load_engine; print(load_engine('fake').info.model_id)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.stdout.strip() == "fake", done.stderr
