"""The installed library compiles real graphs, where it can do so without a GPU."""

import json
from pathlib import Path

import pytest

pytest.importorskip("onnx", reason="the tiny model is built with the package `onnx`")

from engine.contract import GRAPHS
from engine.runtime.building import NO_GPU, PlanBuilder
from engine.runtime.loading import model_directory
from engine.runtime.manifest import read_manifest
from engine.runtime.plan_builder import BuildCancelled
from engine.runtime.plan_cache import ENVIRONMENT, PlanCache
from engine.runtime.plan_progress import BuildProgress
from engine.runtime.tensorrt_library import TensorRt, find_tensorrt
from tests.engine.tiny_model import manifest, seal, write_tiny_model
from tests.engine.tiny_static_model import write_tiny_static_model
from tracevlm_ros.cli.main import main
from tracevlm_ros.core.errors import BackendError, EngineError, EngineMismatch


@pytest.fixture
def cache(tmp_path: Path) -> PlanCache:
    return PlanCache(tmp_path / "plans")


def real_library() -> TensorRt:
    """The installed library if it builds without a GPU; skips the test otherwise."""
    try:
        library = find_tensorrt()
    except BackendError as error:
        pytest.skip(str(error))
    if library.name != "tensorrt-rtx":
        pytest.skip(f"{library.name} builds only where its GPU is")
    return library


def test_the_real_library_compiles_every_graph_of_the_tiny_model(
    tiny_directory: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    real_library()
    monkeypatch.setenv(ENVIRONMENT, str(tmp_path / "plans"))
    assert main(["build", str(tiny_directory), "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert [plan["graph"] for plan in document["plans"]] == list(GRAPHS)
    assert {plan["why"] for plan in document["plans"]} == {"not built yet"}
    assert all(plan["bytes"] > 1000 and Path(plan["path"]).exists() for plan in document["plans"])
    assert main(["build", str(tiny_directory)]) == 0
    assert capsys.readouterr().out.count("from the cache") == len(GRAPHS)


def test_the_real_library_compiles_a_cache_that_is_written_in_place(
    tmp_path: Path, cache: PlanCache
) -> None:
    manifest = read_manifest(write_tiny_static_model(tmp_path / "tiny"))
    plans = PlanBuilder(manifest, real_library(), NO_GPU, cache).plans()
    assert [plan.graph for plan in plans] == list(manifest.graphs)
    assert all(plan.path.stat().st_size > 1000 for plan in plans)


@pytest.mark.slow
def test_the_real_library_compiles_every_graph_of_the_packaged_model(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    real_library()
    try:
        graphs = read_manifest(model_directory("nano")).graphs
    except EngineError as error:
        pytest.skip(str(error))
    assert main(["build", "nano", "--cache", str(tmp_path / "plans")]) == 0
    assert capsys.readouterr().out.count("built in") == len(graphs)


def test_the_real_library_tells_progress_and_can_be_cancelled(
    tiny_directory: Path, cache: PlanCache
) -> None:
    builder = PlanBuilder(read_manifest(tiny_directory), real_library(), NO_GPU, cache)
    seen: list[BuildProgress] = []
    next(iter(builder.plans(seen.append)))
    fractions = [item.fraction for item in seen]
    assert fractions == sorted(fractions)
    assert fractions[-1] == 1.0
    assert len({item.phase for item in seen}) > 3
    with pytest.raises(BuildCancelled, match=r"tvp\.onnx was cancelled"):
        list(builder.plans(cancelled=lambda: True))
    assert "tvp" in builder.missing()


def test_the_real_library_names_a_graph_it_cannot_read(tmp_path: Path, cache: PlanCache) -> None:
    library = real_library()
    directory = write_tiny_model(tmp_path / "model")
    (directory / "vision.onnx").write_bytes(b"no graph")
    seal(directory, manifest())
    builder = PlanBuilder(read_manifest(directory), library, NO_GPU, cache)
    with pytest.raises(BackendError, match=r"vision\.onnx cannot be compiled by tensorrt-rtx"):
        list(builder.plans())


def test_the_real_library_refuses_a_graph_that_is_not_what_the_manifest_says(
    tmp_path: Path, cache: PlanCache
) -> None:
    library = real_library()
    directory = write_tiny_model(tmp_path / "model")
    (directory / "vision.onnx").write_bytes((directory / "tvp.onnx").read_bytes())
    seal(directory, manifest())
    builder = PlanBuilder(read_manifest(directory), library, NO_GPU, cache)
    with pytest.raises(EngineMismatch, match=r"inputs of graph 'vision' are .*re-export"):
        list(builder.plans())
