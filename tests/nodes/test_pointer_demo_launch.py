"""The pointer demo starts the graph, a source and the pointer, where ROS's launch is installed."""

import shutil
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("launch", reason="ROS's launch is not installed; it is not on PyPI")
pytest.importorskip("launch_ros", reason="ROS's launch_ros is not installed; it is not on PyPI")

from launch.actions import IncludeLaunchDescription, OpaqueFunction
from launch_ros.actions import Node

from launch import LaunchContext
from tests.nodes.test_launch_files import ROOT, load


@pytest.fixture
def demo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    share = tmp_path / "share" / "tracevlm_ros"
    for folder in ("launch", "config"):
        shutil.copytree(ROOT / folder, share / folder)
    index = tmp_path / "share" / "ament_index" / "resource_index" / "packages"
    index.mkdir(parents=True)
    (index / "tracevlm_ros").touch()
    monkeypatch.setenv("AMENT_PREFIX_PATH", str(tmp_path))
    return load(share / "launch" / "pointer_demo.launch.py")


def executables(demo: Any, **arguments: str) -> list[str]:
    """Of all nodes, those of the included file too, in the order of their start."""
    context = LaunchContext()
    context.launch_configurations.update(arguments)
    found: list[str] = []

    def visit(entities: Any) -> None:
        for entity in entities or []:
            if isinstance(entity, Node):
                found.append(entity.node_executable)
            elif isinstance(entity, IncludeLaunchDescription | OpaqueFunction):
                visit(entity.execute(context))
            elif hasattr(entity, "entities"):
                visit(entity.entities)
            else:
                entity.visit(context)

    visit(demo.generate_launch_description().entities)
    return found


def test_a_video_is_published_once_and_looped_by_the_demo(demo: Any) -> None:
    assert executables(demo, source="clip.mp4") == ["gaze_caption", "sources", "pointer"]


def test_without_a_source_the_users_camera_is_awaited(demo: Any) -> None:
    assert executables(demo) == ["gaze_caption", "pointer"]
