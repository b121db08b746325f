"""Quantised directories: explicit Q/DQ, the same contract, refused where they should be."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("onnx", reason="graphs are quantised with the package `onnx`")

import onnx

from calibration.quantisation_set import QuantisationSet
from engine.contract import GRAPHS
from engine.export.calibration_runs import record_runs, spread
from engine.export.precisions import RECIPES
from engine.export.quantised_directory import quantise_directory
from engine.runtime import load_engine
from engine.runtime.building import NO_GPU, PlanBuilder
from engine.runtime.manifest import read_manifest
from engine.runtime.plan_cache import PlanCache
from engine.runtime.tensorrt_library import TensorRt
from tests.engine.quantisation_samples import samples, written_set
from tests.engine.test_tensorrt_real_library import real_library
from tests.engine.tiny_model import SCRIPT, seal, write_tiny_model
from tracevlm_ros.cli.main import main
from tracevlm_ros.core.errors import BackendError, EngineError, EngineMismatch, InputError


@pytest.fixture(scope="module")
def calibration(tmp_path_factory: pytest.TempPathFactory) -> QuantisationSet:
    return written_set(tmp_path_factory.mktemp("sets") / "set")


@pytest.fixture
def drafted_in(tiny_directory: Path, calibration: QuantisationSet, tmp_path: Path):  # type: ignore[no-untyped-def]
    def make(precision: str, keep: tuple[str, ...] = ("mask",)) -> Path:
        draft = tmp_path / precision
        draft.mkdir()
        quantise_directory(read_manifest(tiny_directory), calibration, precision, draft, keep)
        return draft

    return make


def constants(path: Path) -> dict[str, Any]:
    return {tensor.name: tensor for tensor in onnx.load(path).graph.initializer}


def nodes(path: Path, kind: str) -> list[Any]:
    return [node for node in onnx.load(path).graph.node if node.op_type == kind]


@pytest.mark.parametrize("precision", RECIPES)
def test_a_quantised_model_answers_as_before_and_tells_its_precision(
    drafted_in, tiny_directory: Path, precision: str
) -> None:
    draft = drafted_in(precision)
    manifest = read_manifest(draft)
    assert manifest.precision == precision
    engine = load_engine(draft, backend="onnxruntime-cpu")
    exact = load_engine(tiny_directory, backend="onnxruntime-cpu")
    sample = samples()[0]
    found = []
    for each in (engine, exact):
        grounded = each.ground(each.encode(sample.image_rgb), [sample.prompt])
        *_, last = each.describe(grounded, 0)
        (mask,) = each.segment(grounded, [last.seg_embeddings])
        found.append((last.text, mask))
        each.close()
    assert found[0][0] == found[1][0] == "a red ball"
    np.testing.assert_allclose(found[0][1], found[1][1], atol=0.1)


def test_graphs_that_are_not_quantised_are_the_same_files(drafted_in, tiny_directory: Path) -> None:
    draft = drafted_in("int8")
    for name in ("tvp", "mask"):
        assert (draft / f"{name}.onnx").read_bytes() == (
            tiny_directory / f"{name}.onnx"
        ).read_bytes()
    assert nodes(draft / "vision.onnx", "QuantizeLinear")
    assert json.loads((draft / "manifest.json").read_text())["quantisation"]["kept_fp32"] == [
        "tvp",
        "mask",
    ]


def test_graphs_use_standard_operators_only(drafted_in) -> None:
    for precision in RECIPES:
        for path in drafted_in(precision).glob("*.onnx"):
            model = onnx.load(path)
            assert {node.domain for node in model.graph.node} == {""}
            assert [item.domain for item in model.opset_import] == [""]


def test_symmetric_int8_has_its_zero_at_zero(drafted_in) -> None:
    graph = constants(drafted_in("int8-symmetric") / "decode.onnx")
    points = [item for name, item in graph.items() if name.endswith("zero_point")]
    assert points
    for item in points:
        assert item.data_type == onnx.TensorProto.INT8
        assert not onnx.numpy_helper.to_array(item).any()


def test_fp8_and_int4_weights_are_stored_as_such(drafted_in) -> None:
    fp8 = constants(drafted_in("fp8") / "decode.onnx").values()
    assert onnx.TensorProto.FLOAT8E4M3FN in {item.data_type for item in fp8}
    int4 = drafted_in("int4") / "decode.onnx"
    assert onnx.TensorProto.INT4 in {item.data_type for item in constants(int4).values()}
    (dequantise,) = nodes(int4, "DequantizeLinear")
    assert {a.name: a.i for a in dequantise.attribute}["block_size"] == 32


def test_quantising_twice_is_refused(drafted_in, calibration: QuantisationSet, tmp_path) -> None:
    draft = drafted_in("int8")
    (tmp_path / "again").mkdir()
    with pytest.raises(EngineMismatch, match="is int8; quantise the fp32 directory"):
        quantise_directory(read_manifest(draft), calibration, "int8", tmp_path / "again")


def test_a_set_of_another_size_is_refused(tiny_directory: Path, tmp_path: Path) -> None:
    given = written_set(tmp_path / "set", (24, 24))
    with pytest.raises(InputError, match=r"\(24, 24\).*takes \(16, 16\)"):
        quantise_directory(read_manifest(tiny_directory), given, "int8", tmp_path / "out")


def test_a_graph_that_the_set_never_reached_is_named(
    calibration: QuantisationSet, tmp_path: Path
) -> None:
    script = {word: following for word, following in SCRIPT.items() if following != "[SEG]"}
    mute = write_tiny_model(tmp_path / "mute", script)
    runs = record_runs(read_manifest(mute), calibration.frames, calibration.prompts)
    assert runs.unmasked == len(calibration.prompts)
    assert runs.inputs["mask"] == []
    (tmp_path / "out").mkdir()
    with pytest.raises(EngineError, match="mask"):
        quantise_directory(read_manifest(mute), calibration, "fp8", tmp_path / "out")


def test_steps_are_spread_over_the_answer_with_its_last_pass() -> None:
    assert spread(9, 4) == [2, 4, 6, 8]
    assert spread(3, 4) == [0, 1, 2]
    assert spread(0, 4) == []


def test_the_command_writes_the_accuracy_beside_the_model(
    tiny_directory: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    written_set(tmp_path / "set")
    out = tmp_path / "int8"
    words = ["quantize", str(tiny_directory), "--set", str(tmp_path / "set"), "--out", str(out)]
    assert main([*words, "--scenes", "1", "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed["accuracy"]["captions_equal"] == 1.0
    assert "mask IoU against truth" in (out / "ACCURACY.md").read_text()
    stored = json.loads((out / "manifest.json").read_text())["quantisation"]["accuracy"]
    assert stored == printed["accuracy"]


def test_masks_that_fall_too_far_are_refused_unless_accepted(
    tiny_directory: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("tracevlm_ros.cli.quantize.MOST_LOSS", -1.0)
    written_set(tmp_path / "set")
    out = tmp_path / "models" / "int8"
    words = ["quantize", str(tiny_directory), "--set", str(tmp_path / "set"), "--out", str(out)]
    assert main([*words, "--scenes", "1"]) == 1
    assert "--accept-loss" in capsys.readouterr().err
    assert list(out.parent.iterdir()) == []
    assert main([*words, "--scenes", "1", "--accept-loss"]) == 0
    assert "Accepted by --accept-loss" in (out / "ACCURACY.md").read_text()


def dulled(tiny_directory: Path, directory: Path) -> Path:
    """The tiny model, said to be fp16, whose masks are turned inside out."""
    shutil.copytree(tiny_directory, directory)
    graph = onnx.load(directory / "mask.onnx")
    (last,) = [node for node in graph.graph.node if node.output[0] == "mask_logits"]
    last.output[0] = "as_before"
    graph.graph.node.append(onnx.helper.make_node("Neg", ["as_before"], ["mask_logits"]))
    onnx.save(graph, directory / "mask.onnx")
    document = json.loads((directory / "manifest.json").read_text()) | {"precision": "fp16"}
    seal(directory, document)
    return directory


def test_another_back_end_is_measured_and_nothing_written(
    tiny_directory: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = sorted(path.name for path in tiny_directory.iterdir())
    words = ["quantize", str(tiny_directory), "--measure-only", "--scenes", "1"]
    assert main([*words, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["tried"] == "fp32 on onnxruntime-cpu"
    assert found["accuracy"]["mask_iou_against_exact"] == 1.0
    assert "set" not in found["accuracy"]
    pytest.importorskip("openvino")
    written_set(tmp_path / "set")
    assert main([*words, "--backend", "openvino-cpu", "--set", str(tmp_path / "set")]) == 0
    page = capsys.readouterr().out
    assert page.startswith("# Accuracy in fp32 on openvino-cpu")
    assert "set: captions equal to fp32's" in page
    assert sorted(path.name for path in tiny_directory.iterdir()) == before


def test_fp16_whose_masks_fall_by_more_than_a_point_is_refused_after_its_table(
    tiny_directory: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    worse = dulled(tiny_directory, tmp_path / "fp16")
    words = ["quantize", str(worse), "--measure-only", "--exact", str(tiny_directory)]
    assert main([*words, "--scenes", "1"]) == 1
    said = capsys.readouterr()
    assert "| | fp32 | fp16 on onnxruntime-cpu |" in said.out
    assert "fp16 on onnxruntime-cpu lowers the mean mask IoU" in said.err
    assert main([*words, "--scenes", "1", "--accept-loss"]) == 0


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--out", "x"], "--set and --out are needed"),
        (["--set", "x", "--out", "y", "--backend", "auto"], "only go with --measure-only"),
        (["--measure-only", "--out", "x"], "--measure-only writes nothing"),
    ],
)
def test_words_that_do_not_go_together_are_refused(
    tiny_directory: Path, capsys: pytest.CaptureFixture[str], words: list[str], message: str
) -> None:
    assert main(["quantize", str(tiny_directory), *words]) == 1
    assert message in capsys.readouterr().err


@pytest.mark.parametrize("precision", ["int8-symmetric", "fp8", "int4"])
def test_the_real_library_compiles_what_is_quantised_for_it(
    drafted_in, tmp_path: Path, precision: str
) -> None:
    plans = PlanBuilder(
        read_manifest(drafted_in(precision)), real_library(), NO_GPU, PlanCache(tmp_path / "plans")
    ).plans()
    assert [plan.graph for plan in plans] == list(GRAPHS)


def test_int8_of_cpus_is_refused_for_tensorrt(drafted_in, tmp_path: Path) -> None:
    manifest = read_manifest(drafted_in("int8"))
    library = TensorRt(None, "tensorrt", "10.3", None)
    with pytest.raises(BackendError, match="--precision int8-symmetric"):
        PlanBuilder(manifest, library, NO_GPU, PlanCache(tmp_path / "plans"))
