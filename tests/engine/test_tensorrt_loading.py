"""Choosing TensorRT by name or by ``auto`` on a recorded machine: no fall-back is silent."""

from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("onnx", reason="the tiny model is built with the package `onnx`")

from engine.contract import GRAPHS
from engine.runtime import loading
from engine.runtime.building import PlanBuilder
from engine.runtime.cuda_driver import Cuda
from engine.runtime.loading import load_engine
from engine.runtime.manifest import read_manifest
from engine.runtime.plan_cache import ENVIRONMENT
from engine.runtime.plan_progress import BuildProgress
from engine.runtime.tensorrt_backend import open_tensorrt
from engine.runtime.tensorrt_library import TensorRt
from tests.engine.noting_builder import NotingBuilder
from tests.engine.recorded_gpu import RecordedDriver, recorded_tensorrt
from tracevlm_ros.core.errors import BackendError


@pytest.fixture
def noting() -> NotingBuilder:
    return NotingBuilder()


@pytest.fixture
def driver() -> RecordedDriver:
    return RecordedDriver()


@pytest.fixture
def recorded_machine(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, noting: NotingBuilder, driver: RecordedDriver
) -> TensorRt:
    """A machine with a GPU and a TensorRT, both recorded; the builder gives ONNX files."""
    library = recorded_tensorrt(driver)
    monkeypatch.setenv(ENVIRONMENT, str(tmp_path / "plans"))

    def opened(*arguments: Any, **named: Any) -> Any:
        return open_tensorrt(
            *arguments,
            **named,
            find_library=lambda: library,
            find_device=lambda: Cuda(driver),
        )

    monkeypatch.setattr(loading, "open_tensorrt", opened)
    monkeypatch.setattr(loading, "has_nvidia_gpu", lambda: True)
    defaults = PlanBuilder.__init__.__defaults__
    monkeypatch.setattr(PlanBuilder.__init__, "__defaults__", (*(defaults or ())[:-1], noting))
    return library


def test_asked_for_by_name_it_builds_what_is_missing_and_tells(
    recorded_machine: TensorRt, tiny_directory: Path, noting: NotingBuilder
) -> None:
    seen: list[BuildProgress] = []
    engine = load_engine(tiny_directory, "tensorrt", on_progress=seen.append)
    assert engine.info.backend == "recorded"
    assert engine.info.notes == ()
    assert {item.graph for item in seen} == set(GRAPHS)
    engine.close()
    load_engine(tiny_directory, "tensorrt").close()
    assert noting.graphs == list(GRAPHS)


def test_auto_builds_nothing_and_says_what_to_run(
    recorded_machine: TensorRt, tiny_directory: Path, noting: NotingBuilder
) -> None:
    engine = load_engine(tiny_directory)
    assert engine.info.backend != "recorded"
    assert any("has no plan for vision" in note for note in engine.info.notes)
    assert any(f"run `tracevlm build {tiny_directory}`" in note for note in engine.info.notes)
    assert noting.requests == []
    engine.close()


def test_auto_takes_plans_that_are_there(recorded_machine: TensorRt, tiny_directory: Path) -> None:
    load_engine(tiny_directory, "tensorrt").close()
    engine = load_engine(tiny_directory)
    assert (engine.info.backend, engine.info.notes) == ("recorded", ())
    engine.close()


def test_a_gpu_that_cannot_capture_is_told_when_loading(
    recorded_machine: TensorRt, driver: RecordedDriver, tiny_directory: Path
) -> None:
    driver.capture_fails = True
    engine = load_engine(tiny_directory, "tensorrt")
    assert "'vision' runs without CUDA graphs" in engine.info.notes[0]
    engine.close()


def test_a_machine_without_a_gpu_does_not_even_import_the_library(
    tiny_directory: Path,
) -> None:
    def no_import() -> TensorRt:
        raise AssertionError("imported")

    manifest_read = read_manifest(tiny_directory)
    with pytest.raises(BackendError, match="the CUDA driver lists 0"):
        open_tensorrt(
            manifest_read,
            may_build=True,
            find_library=no_import,
            find_device=lambda: Cuda(RecordedDriver(device_count=0)),
        )


def test_tensorrt_asked_for_by_name_is_never_replaced(
    tiny_directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def opened(*arguments: Any, **named: Any) -> Any:
        return open_tensorrt(*arguments, **named, find_device=lambda: Cuda(RecordedDriver(0)))

    monkeypatch.setattr(loading, "open_tensorrt", opened)
    monkeypatch.setattr(loading, "has_nvidia_gpu", lambda: True)
    with pytest.raises(BackendError, match="the CUDA driver lists 0"):
        load_engine(tiny_directory, backend="tensorrt")
