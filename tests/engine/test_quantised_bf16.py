"""A Qwen directory in bf16 is quantised with ranges of its fp32 export, and stays in bf16."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("onnx", reason="graphs are quantised with the package `onnx`")

import onnx
import onnxruntime
import torch

from calibration.quantisation_set import QuantisationSet
from engine.export.borrowed_ranges import borrowed
from engine.export.calibration_runs import record_runs
from engine.export.measured_ranges import Range
from engine.export.outside_products import find_products
from engine.export.precisions import RECIPES
from engine.export.quantised_directory import quantise_directory
from engine.runtime.manifest import Manifest, read_manifest
from engine.runtime.ort_backend import OrtBackend
from tests.engine.quantisation_samples import written_set
from tests.engine.real_plans import UP_TO_DECODE, compiled_up_to_decode
from tests.engine.tiny_qwen_folder import speaking, write_tiny_folder
from tracevlm_ros.cli.main import main
from tracevlm_ros.core.errors import EngineMismatch

pytestmark = pytest.mark.slow
SIZE = (84, 140)
BF16, FP32 = onnx.TensorProto.BFLOAT16, onnx.TensorProto.FLOAT
TOLERANCE = {"int8-symmetric": 0.15, "fp8": 0.2, "int4": 0.4}
"""As for fp32 directories (``test_quantised_outside``): the same codes, scales rounded to bf16."""


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny Qwen of bf16 weights that says [SEG] at times, as `fp32` and `bf16`, and a set."""
    root = tmp_path_factory.mktemp("bf16")
    folder = speaking(write_tiny_folder(root / "Tiny-Qwen", torch.bfloat16))
    for precision in ("fp32", "bf16"):
        words = ["export", str(folder), "--out", str(root / precision), "--precision", precision]
        assert main([*words, "--size", "{}x{}".format(*SIZE)]) == 0
    return root


@pytest.fixture(scope="module")
def exact(root: Path) -> Manifest:
    return read_manifest(root / "fp32")


@pytest.fixture(scope="module")
def calibration(root: Path) -> QuantisationSet:
    return written_set(root / "set", SIZE)


@pytest.fixture(scope="module")
def quantised(root: Path, exact: Manifest, calibration: QuantisationSet) -> Callable[[str], Path]:
    def make(precision: str) -> Path:
        out = root / precision
        if not out.exists():
            out.mkdir()
            given = read_manifest(root / "bf16")
            quantise_directory(given, calibration, precision, out, exact=exact)
        return out

    return make


def widened(path: Path) -> onnx.ModelProto:
    """The graph with fp32 in place of bf16 everywhere: what a CPU can run of it. Codes stay."""
    model = onnx.load(path)
    graph = model.graph
    for tensor in graph.initializer:
        if tensor.data_type == BF16:
            values = onnx.numpy_helper.to_array(tensor).astype(np.float32)
            tensor.CopyFrom(onnx.numpy_helper.from_array(values, tensor.name))
    for node in graph.node:
        for item in node.attribute:
            if node.op_type == "Cast" and item.name == "to" and item.i == BF16:
                item.i = FP32
            if item.type == onnx.AttributeProto.TENSOR and item.t.data_type == BF16:
                values = onnx.numpy_helper.to_array(item.t).astype(np.float32)
                item.t.CopyFrom(onnx.numpy_helper.from_array(values, item.t.name))
    del graph.value_info[:]
    for value in (*graph.input, *graph.output):
        if value.type.tensor_type.elem_type == BF16:
            value.type.tensor_type.elem_type = FP32
    return model


def outputs(model: onnx.ModelProto, given: dict[str, Any]) -> dict[str, Any]:
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    names = [item.name for item in session.get_outputs()]
    return dict(zip(names, session.run(names, given), strict=True))


@pytest.mark.parametrize("precision", TOLERANCE)
def test_what_it_computes_agrees_with_fp32_but_for_the_rounding_of_bf16(
    quantised: Callable[[str], Path],
    exact: Manifest,
    calibration: QuantisationSet,
    precision: str,
) -> None:
    runs = record_runs(exact, calibration.frames[:3], calibration.prompts[:3])
    one, tried = OrtBackend(exact), read_manifest(quantised(precision))
    for graph in RECIPES[precision].graphs:
        model = widened(tried.graph_paths[graph])
        for given in runs.inputs[graph]:
            wanted, found = one.run(graph, given), outputs(model, given)
            for name, values in wanted.items():
                off = np.linalg.norm(found[name] - values) / np.linalg.norm(values)
                assert off <= TOLERANCE[precision], f"{graph}.{name}"


@pytest.mark.parametrize("precision", TOLERANCE)
def test_products_and_their_scales_stay_in_bf16(
    quantised: Callable[[str], Path], root: Path, precision: str
) -> None:
    before = onnx.load(root / "bf16" / "decode.onnx", load_external_data=False)
    after = onnx.load(quantised(precision) / "decode.onnx", load_external_data=False)
    kinds = {tensor.name: tensor.data_type for tensor in after.graph.initializer}
    products = find_products(before)
    assert {item.kind for item in products} == {BF16}
    assert {kinds[f"{item.weight}_scales"] for item in products} == {BF16}
    rounded = [node for node in after.graph.node if node.op_type == "QuantizeLinear"]
    assert {kinds[node.input[1]] for node in rounded} <= {BF16}
    assert bool(rounded) == bool(RECIPES[precision].activations)
    document = json.loads((quantised(precision) / "manifest.json").read_text())
    assert "tvp" in document["quantisation"]["kept_bf16"]


def test_ranges_go_from_product_to_product(root: Path, exact: Manifest) -> None:
    path = root / "bf16" / "decode.onnx"
    lent = find_products(onnx.load(exact.graph_paths["decode"], load_external_data=False))
    ranges = {item.left: Range(-float(place), 1.0) for place, item in enumerate(lent)}
    found = borrowed(path, exact.graph_paths["decode"], ranges)
    own = find_products(onnx.load(path, load_external_data=False))
    assert set(found) == {item.left for item in own}
    assert all(found[a.left] == ranges[b.left] for a, b in zip(own, lent, strict=True))
    with pytest.raises(EngineMismatch, match="do not multiply with the same weights"):
        borrowed(path, exact.graph_paths["vision"], {})


def test_what_does_not_belong_together_is_refused(
    root: Path, exact: Manifest, calibration: QuantisationSet, tmp_path: Path
) -> None:
    bf16 = read_manifest(root / "bf16")
    with pytest.raises(EngineMismatch, match="a bf16 one with --ranges-from"):
        quantise_directory(bf16, calibration, "fp8", tmp_path)
    with pytest.raises(EngineMismatch, match="takes no zero points"):
        quantise_directory(bf16, calibration, "int8", tmp_path, exact=exact)
    with pytest.raises(EngineMismatch, match="ranges go from an fp32 directory to a bf16 one"):
        quantise_directory(exact, calibration, "fp8", tmp_path, exact=exact)
    other = tmp_path / "other"
    shutil.copytree(root / "fp32", other)
    document = json.loads((other / "manifest.json").read_text())
    document["provenance"]["weights"] = "of another folder"
    (other / "manifest.json").write_text(json.dumps(document))
    with pytest.raises(EngineMismatch, match=r"provenance of .*export both from the same folder"):
        quantise_directory(bf16, calibration, "fp8", tmp_path, exact=read_manifest(other))


def test_the_command_measures_in_fp32_what_it_writes_in_bf16(root: Path, tmp_path: Path) -> None:
    written_set(tmp_path / "set", SIZE)
    out = tmp_path / "int4"
    words = ["quantize", str(root / "bf16"), "--ranges-from", str(root / "fp32")]
    more = ["--set", str(tmp_path / "set"), "--precision", "int4", "--scenes", "1"]
    assert main([*words, *more, "--accept-loss", "--out", str(out)]) == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["int4", "set"]
    stored = json.loads((out / "manifest.json").read_text())["quantisation"]
    assert stored["accuracy"]["mask_iou_against_truth"]
    assert "Measured on the fp32 export of the same weights" in (out / "ACCURACY.md").read_text()
    read_manifest(out)


@pytest.mark.parametrize("precision", TOLERANCE)
def test_the_real_library_compiles_it(
    quantised: Callable[[str], Path], tmp_path: Path, precision: str
) -> None:
    assert compiled_up_to_decode(quantised(precision), tmp_path / "plans") == UP_TO_DECODE
