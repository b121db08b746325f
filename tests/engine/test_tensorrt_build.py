"""From ONNX files to plans: profiles, progress, what is rebuilt and why, and the command.

With a builder that only notes what it is asked, and with the real library where one is installed
that builds without a GPU.
"""

import importlib
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

pytest.importorskip("onnx", reason="the tiny model is built with the package `onnx`")

from engine.contract import GRAPHS
from engine.runtime import building, tensorrt_library
from engine.runtime.building import NO_GPU, WAITING, PlanBuilder, Target, graph_hashes
from engine.runtime.cuda_driver import Cuda, DeviceInfo
from engine.runtime.manifest import Manifest, read_manifest
from engine.runtime.plan_builder import BuildCancelled, BuildSettings
from engine.runtime.plan_cache import PlanCache
from engine.runtime.plan_profiles import admits, cache_limit, graph_profiles, shape_range
from engine.runtime.plan_progress import BuildProgress, PhaseTree, make_monitor
from engine.runtime.tensorrt_library import TensorRt, find_tensorrt
from tests.engine.noting_builder import NotingBuilder
from tests.engine.recorded_gpu import RecordedDriver, recorded_tensorrt
from tests.engine.tiny_model import LIMITS, manifest, seal, write_tiny_model
from tracevlm_ros.cli.main import main
from tracevlm_ros.core.errors import BackendError, ConfigError

GPU = DeviceInfo("Some GPU", "8.7", "540.3 cuda 12060")


@pytest.fixture
def model(tiny_directory: Path) -> Manifest:
    return read_manifest(tiny_directory)


@pytest.fixture
def noting() -> NotingBuilder:
    return NotingBuilder()


@pytest.fixture
def library() -> TensorRt:
    return recorded_tensorrt(RecordedDriver())


@pytest.fixture
def cache(tmp_path: Path) -> PlanCache:
    return PlanCache(tmp_path / "plans")


def build_all(builder: PlanBuilder) -> dict[str, str]:
    return {plan.graph: plan.why for plan in builder.plans()}


def test_every_graph_is_built_once_and_then_found(
    model: Manifest, library: TensorRt, cache: PlanCache, noting: NotingBuilder
) -> None:
    first = PlanBuilder(model, library, GPU, cache, build=noting)
    assert set(first.missing()) == set(GRAPHS)
    assert build_all(first) == dict.fromkeys(GRAPHS, "not built yet")
    again = PlanBuilder(model, library, GPU, cache, build=noting)
    assert again.missing() == {}
    plans = list(again.plans())
    assert noting.graphs == list(GRAPHS)
    assert [plan.content for plan in plans] == [
        model.graph_paths[graph].read_bytes() for graph in GRAPHS
    ]
    assert {(plan.why, plan.seconds) for plan in plans} == {("", 0.0)}


@pytest.mark.parametrize(
    ("device", "version"),
    [
        (GPU._replace(name="Another GPU"), "1.0"),
        (GPU._replace(compute_capability="9.0"), "1.0"),
        (GPU._replace(driver="541.0 cuda 12060"), "1.0"),
        (GPU, "1.1"),
    ],
)
def test_another_gpu_driver_or_library_builds_again(
    model: Manifest,
    cache: PlanCache,
    noting: NotingBuilder,
    device: DeviceInfo,
    version: str,
) -> None:
    library = recorded_tensorrt(RecordedDriver())
    build_all(PlanBuilder(model, library, GPU, cache, build=noting))
    other = PlanBuilder(model, library._replace(version=version), device, cache, build=noting)
    assert set(other.missing()) == set(GRAPHS)


def test_another_graph_or_other_limits_build_again(
    library: TensorRt, cache: PlanCache, noting: NotingBuilder, tmp_path: Path
) -> None:
    directory = write_tiny_model(tmp_path / "model")
    build_all(PlanBuilder(read_manifest(directory), library, GPU, cache, build=noting))
    write_tiny_model(directory, {"a": "ball"})
    changed = PlanBuilder(read_manifest(directory), library, GPU, cache, build=noting)
    assert set(changed.missing()) == {"prefill", "decode"}
    build_all(changed)
    document = {**manifest(), "limits": {**LIMITS, "max_traces": 7}}
    seal(directory, document)
    wider = PlanBuilder(read_manifest(directory), library, GPU, cache, build=noting)
    assert set(wider.missing()) == {"tvp", "mask"}


def test_external_weights_belong_to_every_graph(tmp_path: Path) -> None:
    directory = write_tiny_model(tmp_path / "model")
    before = graph_hashes(read_manifest(directory))
    (directory / "weights.bin").write_bytes(b"weights")
    (directory / "MODEL_CARD.md").write_text("card")
    seal(directory, manifest())
    after = graph_hashes(read_manifest(directory))
    assert all(after[graph].startswith(f"{before[graph]}+") for graph in GRAPHS)
    (directory / "MODEL_CARD.md").write_text("another card")
    seal(directory, manifest())
    assert graph_hashes(read_manifest(directory)) == after


def test_a_damaged_plan_is_built_again_and_never_loaded(
    model: Manifest, library: TensorRt, cache: PlanCache, noting: NotingBuilder
) -> None:
    builder = PlanBuilder(model, library, GPU, cache, build=noting)
    build_all(builder)
    path = cache.path(builder.identity("mask"))
    path.write_bytes(path.read_bytes()[:-1] + b"?")
    found = build_all(builder)
    assert "damaged" in found.pop("mask")
    assert set(found.values()) == {""}
    assert noting.graphs[len(GRAPHS) :] == ["mask"]
    assert builder.missing() == {}


def test_plans_built_with_more_effort_are_found_without_asking_for_it(
    model: Manifest, library: TensorRt, cache: PlanCache, noting: NotingBuilder
) -> None:
    effort = BuildSettings(optimization_level=5, workspace_mib=64)
    build_all(PlanBuilder(model, library, GPU, cache, effort, build=noting))
    assert {request.settings for request in noting.requests} == {effort}
    assert PlanBuilder(model, library, GPU, cache, build=noting).missing() == {}


def test_asked_to_rebuild_everything_is_built(
    model: Manifest, library: TensorRt, cache: PlanCache, noting: NotingBuilder
) -> None:
    builder = PlanBuilder(model, library, GPU, cache, build=noting)
    build_all(builder)
    assert {plan.why for plan in builder.plans(rebuild=True)} == {"asked for"}
    assert len(noting.requests) == 2 * len(GRAPHS)


def test_timings_are_handed_on_from_build_to_build(
    model: Manifest, library: TensorRt, cache: PlanCache, noting: NotingBuilder
) -> None:
    build_all(PlanBuilder(model, library, GPU, cache, build=noting))
    assert [request.timing for request in noting.requests] == [b"t" * i for i in range(len(GRAPHS))]
    build_all(PlanBuilder(model, library, NO_GPU, cache, build=noting))
    assert noting.requests[len(GRAPHS)].timing == b""


def test_a_cancelled_build_keeps_what_was_done_and_nothing_half(
    model: Manifest, library: TensorRt, cache: PlanCache, noting: NotingBuilder
) -> None:
    builder = PlanBuilder(model, library, GPU, cache, build=noting)
    with pytest.raises(BuildCancelled):
        list(builder.plans(cancelled=lambda: len(noting.requests) == 3))
    assert list(builder.missing()) == list(GRAPHS)[2:]
    assert not list(cache.folder.glob("*.part"))
    build_all(builder)
    assert noting.graphs[3:] == list(GRAPHS)[2:]


def test_a_plan_that_another_builder_made_meanwhile_is_taken(
    model: Manifest, library: TensorRt, cache: PlanCache, noting: NotingBuilder
) -> None:
    """The other one finishes between this one's first look and its turn."""
    builder = PlanBuilder(model, library, GPU, cache, build=noting)
    identity = builder.identity("vision")
    taken = cache.lock(identity)
    taken.__enter__()
    seen: list[BuildProgress] = []

    def watch(progress: BuildProgress) -> None:
        seen.append(progress)
        if progress.phase == WAITING:
            cache.write(identity, b"the other's plan")
            taken.__exit__(None, None, None)

    first = next(iter(builder.plans(watch)))
    assert first.content == b"the other's plan"
    assert noting.requests == []
    assert seen == [BuildProgress("vision", 1, len(GRAPHS), WAITING, 0.0)]


def test_progress_names_graph_phase_and_number(
    model: Manifest, library: TensorRt, cache: PlanCache, noting: NotingBuilder
) -> None:
    seen: list[BuildProgress] = []
    list(PlanBuilder(model, library, GPU, cache, build=noting).plans(seen.append))
    assert seen[1] == BuildProgress("vision", 1, 5, "halfway", 0.5)
    assert [item.graph for item in seen if item.phase == "done"] == list(GRAPHS)


def test_profiles_admit_what_the_limits_allow(model: Manifest) -> None:
    limit = cache_limit(model)
    assert limit == LIMITS["max_prompt_tokens"] + LIMITS["max_new_tokens"] + 7
    single, several = graph_profiles("decode", model)
    assert admits(single, {"S": 1, "P": limit - 1})
    assert not admits(single, {"S": 2, "P": 3})
    assert admits(several, {"S": LIMITS["max_prompt_tokens"], "P": 1})
    assert graph_profiles("vision", model) == ({},)
    shapes = shape_range(model.graphs["mask"].inputs["valid"], graph_profiles("mask", model)[0])
    assert shapes == ((1, 5), (1, 5), (LIMITS["max_traces"], 5))
    assert (
        shape_range(model.graphs["mask"].inputs["deep"], graph_profiles("mask", model)[0]) is None
    )


def test_nested_phases_make_one_fraction_that_never_falls() -> None:
    tree = PhaseTree()
    tree.start("build", None, 2)
    assert tree.fraction() == 0.0
    tree.start("inner", "build", 4)
    tree.step("inner", 1)
    assert tree.fraction() == pytest.approx(0.25)
    tree.finish("inner")
    assert tree.fraction() == pytest.approx(0.25)
    tree.step("build", 0)
    assert tree.fraction() == pytest.approx(0.5)
    tree.step("unknown", 3)
    tree.start("loop", "loop", 1)
    tree.finish("build")
    assert tree.fraction() == pytest.approx(0.5)


def test_an_error_while_reporting_ends_the_build_and_is_kept() -> None:
    module = SimpleNamespace(IProgressMonitor=type("Base", (), {"__init__": lambda self: None}))

    def fail(_phase: str, _fraction: float) -> None:
        raise KeyboardInterrupt

    monitor = make_monitor(module, fail, lambda: False)
    monitor.phase_start("build", None, 2)
    assert monitor.step_complete("build", 0) is False
    assert isinstance(monitor.problem, KeyboardInterrupt)
    quiet = make_monitor(module, lambda _phase, _fraction: None, lambda: True)
    assert quiet.step_complete("build", 0) is False


@pytest.mark.parametrize(
    ("settings", "said"),
    [({"optimization_level": 6}, "0 to 5"), ({"workspace_mib": 1}, "from 16 to")],
)
def test_settings_out_of_range_are_refused(settings: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        BuildSettings(**settings)


def test_without_any_tensorrt_one_error_names_the_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tensorrt_library, "MODULES", {"no_such_trt": "no-such-trt"})
    with pytest.raises(BackendError, match=r"no TensorRT.*no-such-trt.*JetPack.*pip install tenso"):
        find_tensorrt()


def test_the_full_library_is_preferred(monkeypatch: pytest.MonkeyPatch) -> None:
    fake = SimpleNamespace(__version__="10.3", ILogger=recorded_logger(), Builder=1, Runtime=1)
    fake.OnnxParser = 1
    asked: list[str] = []

    def import_module(name: str) -> Any:
        asked.append(name)
        return fake

    monkeypatch.setattr(importlib, "import_module", import_module)
    found = find_tensorrt()
    assert (found.name, found.version, asked) == ("tensorrt", "10.3", ["tensorrt"])


def recorded_logger() -> Any:
    return recorded_tensorrt(RecordedDriver()).module.ILogger


def test_the_command_says_when_plans_are_for_no_gpu(
    tiny_directory: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from tracevlm_ros.cli import build

    monkeypatch.setattr(build, "find_tensorrt", lambda: recorded_tensorrt(RecordedDriver()))
    monkeypatch.setattr(build, "find_target", lambda: Target(NO_GPU, "no GPU here"))
    defaults = PlanBuilder.__init__.__defaults__ or ()
    monkeypatch.setattr(PlanBuilder.__init__, "__defaults__", (*defaults[:-1], NotingBuilder()))
    assert main(["build", str(tiny_directory), "--cache", str(tmp_path / "plans")]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert "only to see that the graphs compile: no GPU here" in lines[0]
    assert len(lines) == 1 + len(GRAPHS)
    assert all("not built yet" in line for line in lines[1:])


def test_the_target_is_the_gpu_that_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(building, "find_cuda", lambda: Cuda(RecordedDriver()))
    found = building.find_target()
    assert (found.device.name, found.problem) == ("Recorded GPU", "")
