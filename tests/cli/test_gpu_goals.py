"""The harness for big models, at the size of a toy and on the CPU."""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("onnx", reason="the tiny model is built with the package `onnx`")

import onnx

from benchmarks.gpu_goals import GOALS, as_text, first_token, measure, prompt_tokens
from benchmarks.gpu_summary import model_lines, summary
from engine.export.calibration_runs import Recorder
from engine.export.decode_bytes import decode_bytes, weight_bytes
from engine.runtime.loading import LoadedBackend, load_backend
from engine.runtime.manifest import read_manifest
from tests.engine.tiny_model import WIDTH, write_tiny_model
from tests.engine.tiny_static_model import write_tiny_static_model
from tracevlm_ros.cli.bench_engine import subject_of
from tracevlm_ros.cli.device_limit import copy_bandwidth
from tracevlm_ros.cli.run_facts import facts_lines
from tracevlm_ros.core.errors import ConfigError


@pytest.fixture(scope="module")
def static_directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_static_model(tmp_path_factory.mktemp("goals") / "tiny")


def asked(directory: Path, rounds: int = 5) -> argparse.Namespace:
    return argparse.Namespace(
        model=str(directory), backend="onnxruntime-cpu", rounds=rounds, tokens=3
    )


def test_every_goal_is_measured_and_judged(static_directory: Path) -> None:
    results = json.loads(json.dumps(measure(asked(static_directory))))
    assert set(results["goals"]) == set(GOALS)
    assert results["flavour"] == "static-cache"
    assert results["caption"]["tokens"] == 3
    share = results["decode_share"]
    wanted = sum(results["decode_bytes"].values()) / (results["decode"]["median_ms"] * 1e-3)
    assert share == pytest.approx(wanted / (results["copy"]["gb_per_s"] * 1e9), rel=0.05, abs=1e-3)
    assert all(isinstance(row["met"], bool) for row in results["goals"].values())
    assert "decode_share" in as_text(results)
    assert any("fast_path_loss" in line for line in model_lines(results))


def test_the_prompt_has_the_length_that_the_model_reads_to_its_first_token(
    static_directory: Path,
) -> None:
    manifest = read_manifest(static_directory)
    recorder = Recorder(load_backend(manifest, "onnxruntime-cpu").backend)
    subject = subject_of(manifest, LoadedBackend(recorder, ()), traces=1, tokens=3)
    describe = first_token(subject)
    recorder.given.clear()
    describe()
    read = sum(given["embeddings"].shape[1] for given in recorder.given["decode"])
    subject.engine.close()
    assert prompt_tokens(manifest, subject) == read


def test_figures_come_with_command_machine_and_versions(static_directory: Path) -> None:
    facts = measure(asked(static_directory))["run"]
    assert sys.argv[-1] in facts["command"]
    assert facts["machine"]["cores"] >= 1
    assert facts["versions"]["onnx"] == onnx.__version__
    command, machine, versions = facts_lines(facts)
    assert facts["command"] in command
    assert facts["machine"]["processor"] in machine
    assert f"onnx {onnx.__version__}" in versions


def written(folder: Path, name: str, results: dict[str, Any], **changed: Any) -> None:
    (folder / name).write_text(json.dumps(results | changed))


@pytest.mark.parametrize(("fp8_ms", "verdict"), [(90.0, "met"), (100.0, "NOT met")])
def test_a_caption_in_fp8_is_held_against_that_in_bf16(
    static_directory: Path, tmp_path: Path, fp8_ms: float, verdict: str
) -> None:
    results = measure(asked(static_directory))
    for precision, ms in (("bf16", 100.0), ("fp8", fp8_ms)):
        changed = {"precision": precision, "caption": {"median_ms": ms}}
        written(tmp_path, f"big-{precision}-goals.json", results, **changed)
    (row,) = [line for line in summary(tmp_path) if "fp8_over_bf16" in line]
    assert row.split()[:2] == ["fp8_over_bf16", f"{fp8_ms / 100:.1f}".rstrip("0").rstrip(".")]
    assert row.endswith(f"below 1        {verdict}")


def test_the_summary_compares_with_peers_and_leaves_out_failed_steps(
    static_directory: Path, tmp_path: Path
) -> None:
    results = measure(asked(static_directory))
    ours = {name: {**results[name], "median_ms": 2.0} for name in ("first_token", "decode")}
    written(tmp_path, "big-bf16-goals.json", results, caption={"median_ms": 5.0}, **ours)
    (tmp_path / "big-fp8-goals.json").write_text("")
    times = {"first_token": {"median_ms": 3.0}, "decode": {"median_ms": 4.0}}
    peer = {**times, "caption": {"median_ms": 20.0}, "compiled_graphs": 0}
    about = {"preset": "big", "dtype": "bf16", "transformers": "5", "device": "g", "compiler": "c"}
    vision = {"vision": {"median_ms": 1.0}, "vision_compiled": {"median_ms": 1.0}}
    found = {**about, **vision, "eager": peer, "static": peer, "run": results["run"]}
    written(tmp_path, "big-transformers.json", found)
    lines = summary(tmp_path)
    ratios = "first token 1.50, decode 2.00, caption 4.00 times faster"
    assert f"  engine in {results['precision']} over static: {ratios}" in lines
    assert "big: a caption in fp8 beside another precision was not measured" in lines


def test_bytes_of_a_token_are_its_weights_its_embedding_and_its_cache(
    static_directory: Path, tmp_path: Path
) -> None:
    static = decode_bytes(read_manifest(static_directory), 10)
    grown = decode_bytes(read_manifest(write_tiny_model(tmp_path / "grown")), 10)
    assert static.cache == grown.cache == 10 * 2 * WIDTH * 4
    assert static.embeddings == WIDTH * 4
    indices, nothing, following = 4 * 8, 4, 4 * WIDTH**2
    assert static.weights == indices + nothing + following
    assert static.total() == static.weights + static.embeddings + static.cache


def beside(name: str, kind: int, dims: list[int], offset: int, length: int) -> onnx.TensorProto:
    """A constant at ``offset`` of the file shared.weights."""
    tensor = onnx.TensorProto(name=name, data_type=kind, dims=dims)
    tensor.data_location = onnx.TensorProto.EXTERNAL
    for key, value in (("location", "shared.weights"), ("offset", offset), ("length", length)):
        tensor.external_data.add(key=key, value=str(value))
    return tensor


def test_only_constants_that_nodes_read_count_and_a_shared_one_counts_once(
    tmp_path: Path,
) -> None:
    kinds = onnx.TensorProto
    constants = [
        beside("codes", kinds.INT4, [5, 3], 0, 8),
        beside("wide", kinds.BFLOAT16, [4, 2], 64, 16),
        beside("same", kinds.BFLOAT16, [2, 4], 64, 16),
        beside("narrow", kinds.FLOAT8E4M3FN, [7], 128, 7),
        beside("of_vision", kinds.FLOAT, [1000], 192, 4000),
    ]
    nodes = [
        onnx.helper.make_node("Identity", [name], [f"{name}_read"])
        for name in ("codes", "wide", "same", "narrow")
    ]
    path = tmp_path / "decode.onnx"
    graph = onnx.helper.make_graph(nodes, "decode", [], [], constants)
    path.write_bytes(onnx.helper.make_model(graph).SerializeToString())
    (tmp_path / "shared.weights").write_bytes(bytes(10_000))
    assert weight_bytes(path) == 8 + 16 + 7


def test_a_copy_has_a_bandwidth() -> None:
    device, bandwidth = copy_bandwidth()
    assert device
    assert bandwidth > 1e6


def test_too_few_rounds_are_refused(static_directory: Path) -> None:
    with pytest.raises(ConfigError, match="--rounds is 2"):
        measure(asked(static_directory, rounds=2))
