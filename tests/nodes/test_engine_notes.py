"""What the engine notes while it runs can be read in /diagnostics."""

from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("rclpy", reason="the ROS 2 wheels are not installed")
pytest.importorskip("tracevlm_msgs", reason="the message package is not installed")
pytest.importorskip("onnx", reason="the tiny model is built with the package `onnx`")

from engine.runtime.loading import load_backend
from engine.runtime.manifest import read_manifest
from engine.runtime.model_engine import ModelEngine
from tests.engine.test_memory_pressure import FullMemory
from tests.engine.tiny_model import write_tiny_model
from tests.nodes.conftest import Ros
from tests.nodes.rig import Rig, make_node


def test_a_fall_back_and_memory_that_ran_out_are_told_while_masks_go_on(
    ros: Ros, rig: Rig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    manifest = read_manifest(write_tiny_model(tmp_path / "tiny", masks_from_stroke=True))
    backend = FullMemory(load_backend(manifest, "onnxruntime-cpu").backend)
    fell_back = "runs on the CPU: the driver is too old"

    def load(*_: Any) -> ModelEngine:
        return ModelEngine(manifest, backend, (fell_back,))

    monkeypatch.setattr("tracevlm_ros.nodes.gaze_caption.load_engine", load)
    make_node(ros)
    rig.activate()
    rig.look(1, 8)
    backend.graph, backend.times = "vision", 1
    rig.look(9, 4)

    def notes() -> list[str]:
        status = rig.statuses.get("engine")
        values = [] if status is None else status.values
        return [pair.value for pair in values if pair.key.startswith("note_")]

    ros.until(lambda: any("out of memory 1 times" in note for note in notes()), "the note")
    assert notes()[0] == fell_back
    assert len(rig.masks) == 12
