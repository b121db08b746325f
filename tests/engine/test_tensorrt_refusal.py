"""A library that does not run on the GPU that is there: told at once, everywhere, with the remedy.

Recorded: the message is that of TensorRT-RTX 1.7.1.116 on an H100.
"""

from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("onnx", reason="the tiny model is built with the package `onnx`")

from engine.contract import GRAPHS
from engine.runtime import building, loading, plan_opening
from engine.runtime.building import NO_GPU, Plan, PlanBuilder, Target, find_kept
from engine.runtime.cuda_driver import Cuda
from engine.runtime.loading import load_engine
from engine.runtime.manifest import read_manifest
from engine.runtime.plan_cache import ENVIRONMENT, PlanCache
from engine.runtime.plan_opening import open_plan, require_taken
from engine.runtime.tensorrt_backend import open_tensorrt
from engine.runtime.tensorrt_library import TensorRt
from tests.engine.noting_builder import NotingBuilder
from tests.engine.recorded_gpu import NOT_THIS_GPU, RecordedDriver, recorded_tensorrt
from tracevlm_ros.cli import build, doctor_checks
from tracevlm_ros.cli.main import main
from tracevlm_ros.core.errors import BackendError

REMEDY = (
    r"tensorrt-rtx 1\.0 does not run plans on this GPU, .*compute capability 9\.0\. .*"
    r"install the full TensorRT .*backend='onnxruntime-cuda' or 'onnxruntime-cpu'"
)
PLAN = Plan("vision", b"plan", Path("vision.plan"), 0.0, "")


class Machine:
    """One GPU and one library, recorded, as every part of the program finds them."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, cache: Path) -> None:
        self.driver = RecordedDriver()
        self.noting = NotingBuilder()
        self.library = recorded_tensorrt(self.driver, name="tensorrt-rtx")
        self._patch = monkeypatch
        monkeypatch.setenv(ENVIRONMENT, str(cache))
        for module in (building, plan_opening):
            monkeypatch.setattr(module, "find_cuda", lambda: Cuda(self.driver))
        for command in (build, doctor_checks):
            monkeypatch.setattr(command, "find_tensorrt", lambda: self.library)
        monkeypatch.setattr(loading, "open_tensorrt", self._open)
        monkeypatch.setattr(loading, "has_nvidia_gpu", lambda: True)
        defaults = PlanBuilder.__init__.__defaults__ or ()
        monkeypatch.setattr(PlanBuilder.__init__, "__defaults__", (*defaults[:-1], self.noting))

    def refuse(self, *said: str) -> None:
        self.library = recorded_tensorrt(self.driver, name="tensorrt-rtx", refusal=said)

    def lose_gpu(self) -> None:
        self._patch.setattr(build, "find_target", lambda: Target(NO_GPU, "no GPU here"))
        self._patch.setattr(plan_opening, "find_cuda", lambda: pytest.fail("no GPU to look for"))

    def _open(self, *arguments: Any, **named: Any) -> Any:
        found = {"find_library": lambda: self.library, "find_device": lambda: Cuda(self.driver)}
        return open_tensorrt(*arguments, **named, **found)


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Machine:
    return Machine(monkeypatch, tmp_path / "plans")


def opened(library: TensorRt, plan: Plan = PLAN) -> Any:
    return open_plan(library, library.module.Runtime(library.logger), plan)


@pytest.mark.parametrize(
    "said",
    [
        (NOT_THIS_GPU,),
        (NOT_THIS_GPU, "IRuntime::deserializeCudaEngine: failed"),
        (f"{'padding ' * 40}{NOT_THIS_GPU}",),
        ("Rebuild the engine for Compute Capability 9.0. or install the full TensorRT",),
    ],
)
def test_a_gpu_that_the_library_does_not_run_on_is_never_answered_by_rebuilding(
    said: tuple[str, ...],
) -> None:
    library = recorded_tensorrt(RecordedDriver(), name="tensorrt-rtx", refusal=said)
    with pytest.raises(BackendError) as caught:
        opened(library)
    assert "install the full TensorRT of NVIDIA's stack in place" in str(caught.value)
    assert "building them again does not change that" in str(caught.value)
    assert "--rebuild" not in str(caught.value)


def test_the_full_library_is_not_told_to_be_put_in_place_of_itself() -> None:
    library = recorded_tensorrt(RecordedDriver(), name="tensorrt", refusal=(NOT_THIS_GPU,))
    with pytest.raises(BackendError, match="install a tensorrt for this GPU, or use backend"):
        opened(library)


def test_another_reason_still_advises_to_build_again() -> None:
    library = recorded_tensorrt(RecordedDriver(), refusal=("out of memory",))
    with pytest.raises(BackendError, match=r"vision\.plan: out of memory; build again .*--rebuild"):
        opened(library)


def test_what_was_said_before_is_not_taken_for_the_reason() -> None:
    library = recorded_tensorrt(RecordedDriver(), name="tensorrt-rtx", refusal=("bad plan",))
    library.logger.log(library.module.ILogger.ERROR, NOT_THIS_GPU)
    with pytest.raises(BackendError, match=r"vision\.plan: bad plan; build again"):
        opened(library)


def test_trying_a_plan_gives_the_gpu_back(machine: Machine) -> None:
    machine.refuse(NOT_THIS_GPU)
    with pytest.raises(BackendError, match=REMEDY):
        require_taken(machine.library, PLAN)
    assert machine.driver.names()[-1] == "cuDevicePrimaryCtxRelease_v2"


def test_the_build_ends_after_the_first_plan_that_is_not_taken(
    machine: Machine, tiny_directory: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    machine.refuse(NOT_THIS_GPU)
    assert main(["build", str(tiny_directory)]) == 1
    said = capsys.readouterr()
    assert "tracevlm build: tensorrt-rtx 1.0 does not run plans on this GPU" in said.err
    assert "built in" not in said.out
    assert machine.noting.graphs == ["vision"]
    assert main(["build", str(tiny_directory), "--json"]) == 1, "the plan is in the cache now"
    assert capsys.readouterr().out == ""
    assert machine.noting.graphs == ["vision"]


def test_the_build_goes_on_when_the_first_plan_is_taken(
    machine: Machine, tiny_directory: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["build", str(tiny_directory)]) == 0
    assert capsys.readouterr().out.count("built in") == len(GRAPHS)
    assert machine.library.module.asked == 1


def test_without_a_gpu_plans_are_built_and_none_is_tried(
    machine: Machine, tiny_directory: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    machine.refuse(NOT_THIS_GPU)
    machine.lose_gpu()
    assert main(["build", str(tiny_directory)]) == 0
    assert capsys.readouterr().out.count("built in") == len(GRAPHS)
    assert machine.library.module.asked == 0


def test_asked_for_by_name_it_fails_at_the_first_plan(
    machine: Machine, tiny_directory: Path
) -> None:
    machine.refuse(NOT_THIS_GPU)
    with pytest.raises(BackendError, match=REMEDY):
        load_engine(tiny_directory, "tensorrt")
    assert machine.noting.graphs == ["vision"]
    assert not machine.driver.priorities, "streams are left open"


@pytest.mark.parametrize("whole", [True, False])
def test_auto_falls_back_and_tells_the_same_whether_some_or_all_plans_are_there(
    machine: Machine, tiny_directory: Path, whole: bool
) -> None:
    if whole:
        assert main(["build", str(tiny_directory)]) == 0
    machine.refuse(NOT_THIS_GPU)
    assert main(["build", str(tiny_directory)]) == 1
    engine = load_engine(tiny_directory)
    engine.close()
    assert engine.info.backend != "tensorrt-rtx"
    notes = "; ".join(engine.info.notes)
    assert "not on TensorRT: tensorrt-rtx 1.0 does not run plans on this GPU" in notes
    assert "tracevlm build" not in notes


def test_the_doctor_tells_that_plans_are_not_taken(machine: Machine, tiny_directory: Path) -> None:
    assert main(["build", str(tiny_directory)]) == 0
    assert doctor_checks.check_tensorrt().status == "ok"
    machine.refuse(NOT_THIS_GPU)
    found = doctor_checks.check_tensorrt()
    assert (found.status, f"{len(GRAPHS)} plans" in found.found) == ("note", True)
    assert "does not run plans on this GPU" in found.remedy
    assert "tracevlm build" not in found.remedy


def test_the_doctor_counts_only_plans_of_this_gpu_that_are_whole(
    machine: Machine, tiny_directory: Path, tmp_path: Path
) -> None:
    cache = PlanCache(tmp_path / "plans")
    model = read_manifest(tiny_directory)
    list(PlanBuilder(model, machine.library, NO_GPU, cache).plans())
    found = doctor_checks.check_tensorrt()
    assert (found.status, ", 0 plans in" in found.found) == ("note", True)
    assert "run `tracevlm build MODEL`" in found.remedy

    device = building.find_target().device
    builder = PlanBuilder(model, machine.library, device, cache)
    list(builder.plans())
    paths = [cache.path(builder.identity(graph)) for graph in GRAPHS]
    smallest = min(paths, key=lambda path: path.stat().st_size)
    kept = find_kept(machine.library, device, cache)
    assert (kept.number, kept.smallest and kept.smallest.path) == (len(GRAPHS), smallest)
    smallest.write_bytes(smallest.read_bytes()[:-1] + b"?")
    second = find_kept(machine.library, device, cache).smallest
    assert second is not None and second.path != smallest
    for path in paths:
        path.write_bytes(path.read_bytes()[:-1] + b"?")
    assert doctor_checks.check_tensorrt().status == "note"
