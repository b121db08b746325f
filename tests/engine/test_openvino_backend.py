"""OpenVINO answers as ONNX Runtime does, keeps the contract, and says when it is not there."""

import dataclasses
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("openvino", reason="the extra [openvino] is not installed")
pytest.importorskip("onnx", reason="the tiny model is built with the package `onnx`")

import onnx

from engine.runtime import load_engine, loading
from engine.runtime.loading import load_backend
from engine.runtime.manifest import read_manifest
from engine.runtime.openvino_backend import HostResident, OpenVinoBackend
from tests.engine.test_model_engine import embeddings, last_of, masks, picture, trace
from tests.engine.tiny_model import WIDTH
from tracevlm_ros.core.engine import TracePrompt
from tracevlm_ros.core.errors import BackendError, EngineMismatch


def test_it_says_and_draws_what_onnx_runtime_does(tiny_directory: Path) -> None:
    """To the precision of bf16, which has eight bits: logits here are of the order of 1."""
    found = {}
    for backend in ("openvino-cpu", "onnxruntime-cpu"):
        engine = load_engine(tiny_directory, backend=backend)
        assert engine.info.backend == backend
        prompts = [trace(1), trace(2, keypoints=2)]
        grounded = engine.ground(engine.encode(picture()), prompts)
        answers = [last_of(engine, grounded, index, "what is it ?") for index in (0, 1)]
        found[backend] = (answers, masks(engine, picture(), prompts))
        engine.close()
    (answers, drawn), (exact_answers, exact_drawn) = found.values()
    for answer, exact in zip(answers, exact_answers, strict=True):
        assert answer.text == exact.text == "a red ball"
        np.testing.assert_allclose(answer.seg_embeddings, exact.seg_embeddings, atol=0.02)
    for mask, exact_mask in zip(drawn, exact_drawn, strict=True):
        np.testing.assert_allclose(mask, exact_mask, rtol=0.05, atol=0.3)


def test_arrays_that_came_back_are_not_written_to_again(tiny_directory: Path) -> None:
    engine = load_engine(tiny_directory, backend="openvino-cpu")
    (first,) = masks(engine, picture(1), [trace(1)])
    kept = first.copy()
    masks(engine, picture(2), [trace(2)])
    np.testing.assert_array_equal(first, kept)
    engine.close()


_SIGNALLED = """
import faulthandler, signal, sys
from pathlib import Path
from engine.runtime.manifest import read_manifest
from engine.runtime.openvino_backend import OpenVinoBackend
faulthandler.enable()  # gives the main thread a stack for signals, which is to stay
manifest = read_manifest(Path(sys.argv[1]))
first, second = OpenVinoBackend(manifest), OpenVinoBackend(manifest)
first.close()
del first
second.close()
del second
signal.signal(signal.SIGTERM, lambda *_: print("obeyed"))
signal.raise_signal(signal.SIGTERM)
"""


def test_a_signal_is_obeyed_after_models_were_closed_in_the_order_of_loading(
    tiny_directory: Path,
) -> None:
    """Two cores of OpenVINO left the main thread without its stack for signals: rc -11."""
    done = subprocess.run(
        [sys.executable, "-c", _SIGNALLED, str(tiny_directory)],
        check=False,
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stdout) == (0, "obeyed\n"), done.stderr


def test_residents_cannot_be_written_to(tiny_directory: Path) -> None:
    backend = OpenVinoBackend(read_manifest(tiny_directory))
    image = picture()[None]
    out = backend.run("vision", {"image": image}, resident=("tokens",))
    assert isinstance(out["tokens"], HostResident)
    assert out["tokens"].shape() == list(out["tokens"].numpy().shape)
    with pytest.raises(ValueError, match="read-only"):
        out["tokens"].numpy()[:] = 0.0
    backend.close()


def test_a_graph_that_fails_is_named(tiny_directory: Path) -> None:
    backend = OpenVinoBackend(read_manifest(tiny_directory))
    with pytest.raises(BackendError, match="graph 'vision' failed in openvino-cpu"):
        backend.run("vision", {"image": np.zeros((1, 3, 3, 3), np.uint8)})


def test_a_graph_with_other_tensors_is_refused(tiny_directory: Path) -> None:
    manifest = read_manifest(tiny_directory)
    swapped = dict(manifest.graph_paths, vision=manifest.graph_paths["tvp"])
    with pytest.raises(EngineMismatch, match=r"inputs of graph 'vision'.*re-export"):
        OpenVinoBackend(dataclasses.replace(manifest, graph_paths=swapped))


def test_an_output_that_openvino_merges_with_an_inner_tensor_keeps_its_name(
    tiny_directory: Path, tmp_path: Path
) -> None:
    """A last step that changes nothing is left out, and its result then has two names."""
    manifest = read_manifest(tiny_directory)
    model = onnx.load(manifest.graph_paths["tvp"])
    for node in model.graph.node:
        node.output[:] = ["an_inner_name" if name == "enhanced" else name for name in node.output]
    one = onnx.numpy_helper.from_array(np.ones(WIDTH, np.float32), "one")
    model.graph.initializer.append(one)
    model.graph.node.append(onnx.helper.make_node("Mul", ["an_inner_name", "one"], ["enhanced"]))
    onnx.save(model, str(tmp_path / "tvp.onnx"))
    paths = dict(manifest.graph_paths, tvp=tmp_path / "tvp.onnx")
    backend = OpenVinoBackend(dataclasses.replace(manifest, graph_paths=paths))
    sizes = manifest.sizes
    inputs = {
        "tokens": np.ones((1, sizes["N"], WIDTH), np.float32),
        "points": np.zeros((1, sizes["K"], 2), np.float32),
        **{name: np.zeros((1, sizes["K"]), np.float32) for name in ("dt_s", "pen_up", "valid")},
    }
    out = backend.run("tvp", inputs)
    np.testing.assert_allclose(out["enhanced"], 1.0)


def test_without_the_package_the_remedy_is_told(
    tiny_directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "openvino", None)
    monkeypatch.delitem(sys.modules, "engine.runtime.openvino_backend")
    with pytest.raises(BackendError, match=r"install tracevlm_ros\[openvino\]"):
        load_engine(tiny_directory, backend="openvino-cpu")


@pytest.fixture
def no_gpu_but_bf16(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loading, "has_nvidia_gpu", lambda: False)
    monkeypatch.setattr(loading, "openvino_has_bf16", lambda: True)


@pytest.mark.usefixtures("no_gpu_but_bf16")
def test_auto_takes_it_for_masks_on_a_cpu_that_multiplies_bf16(tiny_directory: Path) -> None:
    info = load_engine(tiny_directory).info
    assert info.backend == "mixed-cpu"
    assert info.notes[1] == (
        "prefill, decode run on onnxruntime-cpu, vision, tvp, mask on openvino-cpu"
    )


@pytest.mark.usefixtures("no_gpu_but_bf16")
def test_auto_says_why_it_did_not_take_it(
    tiny_directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise BackendError("vision cannot be compiled")

    monkeypatch.setattr(loading, "_open_mixed", refuse)
    info = load_engine(tiny_directory).info
    assert info.backend == "onnxruntime-cpu"
    assert "not on OpenVINO: vision cannot be compiled" in info.notes


@pytest.mark.usefixtures("no_gpu_but_bf16")
@pytest.mark.parametrize(("key", "value"), [("precision", "int8"), ("flavour", "static_cache")])
def test_auto_leaves_quantised_and_static_models_to_onnx_runtime(
    tiny_directory: Path, key: str, value: str
) -> None:
    manifest = dataclasses.replace(read_manifest(tiny_directory), **{key: value})
    assert load_backend(manifest, "auto").backend.name == "onnxruntime-cpu"


def test_a_cpu_without_openvino_has_no_bf16(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "openvino", None)
    monkeypatch.delitem(sys.modules, "engine.runtime.openvino_backend")
    assert not loading.openvino_has_bf16()


def test_masks_of_several_traces_are_those_of_each(tiny_directory: Path) -> None:
    engine = load_engine(tiny_directory, backend="openvino-cpu")
    grounded = engine.ground(engine.encode(picture()), [trace(1), trace(2)])
    both = engine.segment(grounded, [embeddings(1), embeddings(2)])
    alone = engine.segment(grounded, [None, embeddings(2)])
    assert alone[0] is None
    np.testing.assert_allclose(both[1], alone[1], rtol=0.05, atol=0.1)
    engine.close()


def test_traces_come_and_go_in_any_number() -> None:
    """OpenVINO 2026.4 failed for good with the second trace of an earlier mask graph."""
    picture = np.random.default_rng(0).integers(0, 256, (120, 160, 3), np.uint8)
    engines = [load_engine("nano", name) for name in ("openvino-cpu", "onnxruntime-cpu")]
    for count in (1, 3, 2, 1, 4):
        points = np.random.default_rng(count).random((count, 3, 2))
        prompts = [TracePrompt(p, np.full(3, 0.1), np.zeros(3, np.bool_)) for p in points]
        found = []
        for engine in engines:
            grounded = engine.ground(engine.encode(picture), prompts)
            found.append(np.stack(engine.segment(grounded, [engine.unspoken] * count)))
        assert found[0].shape[0] == count
        assert ((found[0] > 0) == (found[1] > 0)).mean() > 0.97
