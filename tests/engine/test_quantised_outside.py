"""Quantised Qwen directories: weights beside the graphs, each once, never all in memory."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("onnx", reason="graphs are quantised with the package `onnx`")

import onnx

from calibration.quantisation_set import QuantisationSet
from engine.contract import STATIC_CACHE
from engine.export.calibration_runs import record_runs
from engine.export.decode_bytes import decode_bytes
from engine.export.measured_ranges import measure_ranges
from engine.export.outside_products import find_products
from engine.export.outside_tensors import is_outside, place_of
from engine.export.precisions import RECIPES
from engine.export.quantised_directory import quantise_directory
from engine.runtime import load_engine
from engine.runtime.manifest import read_manifest
from engine.runtime.ort_backend import OrtBackend
from tests.engine.quantisation_samples import samples, written_set
from tests.engine.real_plans import UP_TO_DECODE, compiled_up_to_decode
from tests.engine.tiny_qwen_folder import speaking, write_tiny_folder
from tracevlm_ros.cli.main import main
from tracevlm_ros.core.errors import EngineError, EngineMismatch

pytestmark = pytest.mark.slow
SIZE = (84, 140)
TOLERANCE = {"int8": 0.1, "int8-symmetric": 0.15, "fp8": 0.2, "int4": 0.4}
"""Of every output that fp32 gives for the same inputs: norm of the difference over its norm. The
weights are random, so that nothing averages out; found were at most .05, .07, .14 and .27."""


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """A tiny Qwen that says [SEG] at times, exported in fp32 with the options asked for."""
    root = tmp_path_factory.mktemp("outside")
    folder = speaking(write_tiny_folder(root / "Tiny-Qwen"))
    done: dict[tuple[str, ...], Path] = {}

    def export(*more: str) -> Path:
        if more not in done:
            done[more] = root / f"fp32-{len(done)}"
            words = ["export", str(folder), "--out", str(done[more]), "--precision", "fp32"]
            assert main([*words, "--size", "{}x{}".format(*SIZE), *more]) == 0
        return done[more]

    return export


@pytest.fixture(scope="module")
def directory(exported: Callable[..., Path]) -> Path:
    return exported()


@pytest.fixture(scope="module")
def calibration(tmp_path_factory: pytest.TempPathFactory) -> QuantisationSet:
    return written_set(tmp_path_factory.mktemp("sets") / "set", SIZE)


@pytest.fixture(scope="module")
def quantised(
    directory: Path, calibration: QuantisationSet, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str], Path]:
    done: dict[str, Path] = {}

    def make(precision: str) -> Path:
        if precision not in done:
            done[precision] = tmp_path_factory.mktemp(precision)
            manifest = read_manifest(directory)
            quantise_directory(manifest, calibration, precision, done[precision])
        return done[precision]

    return make


def document(directory: Path, graph: str) -> onnx.ModelProto:
    return onnx.load(directory / f"{graph}.onnx", load_external_data=False)


@pytest.mark.parametrize("precision", RECIPES)
def test_every_graph_agrees_with_fp32_for_the_same_inputs(
    quantised: Callable[[str], Path],
    directory: Path,
    calibration: QuantisationSet,
    precision: str,
) -> None:
    exact = read_manifest(directory)
    runs = record_runs(exact, calibration.frames[:3], calibration.prompts[:3])
    one, other = OrtBackend(exact), OrtBackend(read_manifest(quantised(precision)))
    changed = set(json.loads((quantised(precision) / "manifest.json").read_text())["quantisation"][
        "products"])  # fmt: skip
    assert changed == set(RECIPES[precision].graphs)
    for graph, calls in runs.inputs.items():
        for given in calls:
            wanted, found = one.run(graph, given), other.run(graph, given)
            for name, values in wanted.items():
                off = np.linalg.norm(found[name] - values) / np.linalg.norm(values)
                assert off <= TOLERANCE[precision], f"{graph}.{name}"
                assert graph in changed or off == 0


@pytest.mark.parametrize("precision", RECIPES)
def test_prefill_and_decode_still_share_codes_and_scales(
    quantised: Callable[[str], Path], directory: Path, precision: str
) -> None:
    out = quantised(precision)
    places = [
        {tensor.name: place_of_any(tensor) for tensor in document(out, graph).graph.initializer
         if is_outside(tensor)}
        for graph in ("prefill", "decode")
    ]  # fmt: skip
    shared = [name for name in places[0] if name.endswith(("_codes", "_scales"))]
    assert len(shared) == 2 * len(find_products(document(directory, "decode")))
    assert all(places[0][name] == places[1][name] for name in shared)
    before = (directory / "language.weights").stat().st_size
    weights = {"int4": 0.25}.get(precision, 0.35) * before
    padding = 4096 * (len(places[1]) + 1)
    assert (out / "language.weights").stat().st_size <= weights + padding


def place_of_any(tensor: onnx.TensorProto) -> dict[str, str]:
    return {entry.key: entry.value for entry in tensor.external_data}


def test_a_graph_that_is_kept_goes_on_reading_the_shared_file(
    directory: Path, calibration: QuantisationSet, tmp_path: Path
) -> None:
    done = quantise_directory(
        read_manifest(directory), calibration, "int4", tmp_path, keep=("prefill",)
    )
    assert set(done.products) == {"decode"}
    one, other = OrtBackend(read_manifest(directory)), OrtBackend(read_manifest(tmp_path))
    runs = record_runs(read_manifest(directory), calibration.frames[:1], calibration.prompts[:1])
    (given,) = runs.inputs["prefill"]
    wanted, found = one.run("prefill", given), other.run("prefill", given)
    assert all(np.array_equal(wanted[name], found[name]) for name in wanted)


def test_bytes_of_a_token_leave_out_what_only_other_graphs_read(
    directory: Path,
    quantised: Callable[[str], Path],
    calibration: QuantisationSet,
    tmp_path: Path,
) -> None:
    """A `prefill` that is kept goes on reading fp32 weights of the same file."""
    quantise_directory(read_manifest(directory), calibration, "int4", tmp_path, keep=("prefill",))
    exact, all_int4, kept = (
        decode_bytes(read_manifest(path), 10) for path in (directory, quantised("int4"), tmp_path)
    )
    assert kept == all_int4
    assert all_int4.weights < 0.25 * exact.weights < (tmp_path / "language.weights").stat().st_size


def test_measured_ranges_hold_what_the_products_are_given(
    directory: Path, calibration: QuantisationSet
) -> None:
    """The last product of `prefill` reads what the graph gives as ``hidden``, computed here anew
    by an optimised session."""
    manifest = read_manifest(directory)
    measured = measure_ranges(manifest, calibration.frames, calibration.prompts)
    runs = record_runs(manifest, calibration.frames, calibration.prompts)
    assert measured.unmasked == runs.unmasked < len(calibration.prompts)
    assert set(measured.ranges) == {name for name, calls in runs.inputs.items() if calls}
    product = find_products(document(directory, "prefill"))[-1]
    low, high = measured.ranges["prefill"][product.left]
    hidden = OrtBackend(manifest)
    seen = [hidden.run("prefill", given)["hidden"] for given in runs.inputs["prefill"]]
    assert low == pytest.approx(min(float(values.min()) for values in seen), rel=1e-4)
    assert high == pytest.approx(max(float(values.max()) for values in seen), rel=1e-4)


def test_a_static_cache_is_quantised_as_well(
    exported: Callable[..., Path], calibration: QuantisationSet, tmp_path: Path
) -> None:
    static = exported("--flavour", STATIC_CACHE)
    done = quantise_directory(read_manifest(static), calibration, "int8", tmp_path)
    assert set(done.products) == {"vision", "decode"}
    engine = load_engine(tmp_path, backend="onnxruntime-cpu")
    sample = samples(SIZE)[0]
    grounded = engine.ground(engine.encode(sample.image_rgb), [sample.prompt])
    *_, last = engine.describe(grounded, 0)
    assert last.is_final
    engine.close()


def test_bf16_weights_are_widened_before_they_are_rounded(
    calibration: QuantisationSet, tmp_path: Path
) -> None:
    import torch

    folder = speaking(write_tiny_folder(tmp_path / "Tiny-Qwen", torch.bfloat16))
    out = tmp_path / "fp32"
    words = ["export", str(folder), "--out", str(out), "--precision", "fp32"]
    assert main([*words, "--size", "{}x{}".format(*SIZE)]) == 0
    (tmp_path / "int8").mkdir()
    quantise_directory(read_manifest(out), calibration, "int8", tmp_path / "int8")
    given = record_runs(read_manifest(out), calibration.frames[:1], calibration.prompts[:1])
    one, other = OrtBackend(read_manifest(out)), OrtBackend(read_manifest(tmp_path / "int8"))
    (inputs,) = given.inputs["prefill"]
    wanted, found = one.run("prefill", inputs)["logits"], other.run("prefill", inputs)["logits"]
    assert np.linalg.norm(found - wanted) <= TOLERANCE["int8"] * np.linalg.norm(wanted)
    kinds = {tensor.data_type for tensor in document(tmp_path / "int8", "decode").graph.initializer
             if np.prod(tensor.dims) >= 4096}  # fmt: skip
    assert kinds == {onnx.TensorProto.INT8}


def test_damaged_weights_are_refused_before_and_after(
    quantised: Callable[[str], Path], directory: Path, tmp_path: Path
) -> None:
    for source in (directory, quantised("int4")):
        copy = tmp_path / source.name
        shutil.copytree(source, copy)
        content = bytearray((copy / "language.weights").read_bytes())
        content[len(content) // 2] ^= 1
        (copy / "language.weights").write_bytes(content)
        with pytest.raises(EngineMismatch, match=r"language\.weights has SHA-256"):
            read_manifest(copy)
        (copy / "language.weights").write_bytes(content[:-8])
        with pytest.raises(EngineMismatch, match=r"language\.weights has \d+ bytes.*truncated"):
            read_manifest(copy)


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("location", "../language.weights", "must be a plain name"),
        ("offset", "999999999", "gives .* at 999999999"),
        ("length", "12", "gives 12 at"),
        ("location", "gone.weights", "of its 0; copy"),
    ],
)
def test_a_constant_that_is_not_where_the_graph_says_is_refused(
    directory: Path, key: str, value: str, message: str
) -> None:
    tensor = next(t for t in document(directory, "decode").graph.initializer if is_outside(t))
    entries = {entry.key: entry.value for entry in tensor.external_data} | {key: value}
    del tensor.external_data[:]
    for name, said in entries.items():
        tensor.external_data.add(key=name, value=said)
    with pytest.raises(EngineMismatch, match=message):
        place_of(tensor, directory)


def test_quantising_twice_and_unreached_masks_are_refused(
    quantised: Callable[[str], Path],
    directory: Path,
    calibration: QuantisationSet,
    tmp_path: Path,
) -> None:
    copy = tmp_path / "again"
    shutil.copytree(quantised("int8"), copy)
    said = json.loads((copy / "manifest.json").read_text()) | {"precision": "fp32"}
    (copy / "manifest.json").write_text(json.dumps(said))
    (tmp_path / "out").mkdir()
    with pytest.raises(EngineError, match="is quantised already"):
        quantise_directory(read_manifest(copy), calibration, "int8", tmp_path / "out")
    mute = calibration._replace(frames=calibration.frames[:1], prompts=calibration.prompts[:1])
    (tmp_path / "mute").mkdir()
    with pytest.raises(EngineError, match="never reached graph 'mask'"):
        quantise_directory(read_manifest(directory), mute, "fp8", tmp_path / "mute")


def test_the_command_writes_or_refuses_and_measures(
    directory: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    written_set(tmp_path / "set", SIZE)
    out = tmp_path / "int8"
    words = ["quantize", str(directory), "--set", str(tmp_path / "set"), "--out", str(out)]
    assert main([*words, "--scenes", "1", "--accept-loss", "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    stored = json.loads((out / "manifest.json").read_text())["quantisation"]
    assert stored["accuracy"] == printed["accuracy"]
    assert stored["kept_fp32"] == ["tvp", "mask"]
    assert "mask IoU against truth" in (out / "ACCURACY.md").read_text()
    words = ["quantize", str(out), "--measure-only", "--exact", str(directory), "--scenes", "1"]
    main([*words, "--accept-loss"])
    assert "| | fp32 | int8 on onnxruntime-cpu |" in capsys.readouterr().out


@pytest.mark.parametrize("precision", ["int8-symmetric", "fp8", "int4"])
def test_the_real_library_compiles_what_is_quantised_for_it(
    quantised: Callable[[str], Path], tmp_path: Path, precision: str
) -> None:
    assert compiled_up_to_decode(quantised(precision), tmp_path / "plans") == UP_TO_DECODE
