"""Every launch file loads and starts the right nodes, where ROS's launch is installed."""

import importlib.util
import os
import shutil
from pathlib import Path
from types import ModuleType

import pytest

pytest.importorskip("launch", reason="ROS's launch is not installed; it is not on PyPI")
pytest.importorskip("launch_ros", reason="ROS's launch_ros is not installed; it is not on PyPI")

from launch.actions import DeclareLaunchArgument, OpaqueFunction
from launch_ros.actions import LifecycleNode, Node

from launch import LaunchContext
from tests.graph.tiny_bag import write_tiny_bag

ROOT = Path(__file__).parents[2]
FILES = sorted((ROOT / "launch").glob("*.launch.py"))


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An ament prefix that holds this package's share folder as an installation would."""
    share = tmp_path / "share" / "tracevlm_ros"
    for folder in ("launch", "config"):
        shutil.copytree(ROOT / folder, share / folder)
    index = tmp_path / "share" / "ament_index" / "resource_index" / "packages"
    index.mkdir(parents=True)
    (index / "tracevlm_ros").touch()
    before = os.environ.get("AMENT_PREFIX_PATH", "")
    monkeypatch.setenv("AMENT_PREFIX_PATH", f"{tmp_path}{os.pathsep}{before}".rstrip(os.pathsep))
    return share


def load(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(path.name.replace(".", "_"), path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def nodes_of(installed: Path, **arguments: str) -> list[Node]:
    """The nodes that gaze_caption.launch.py starts for ``arguments``."""
    entities = load(installed / "launch" / "gaze_caption.launch.py").generate_launch_description()
    context = LaunchContext()
    context.launch_configurations.update(arguments)
    nodes = []
    for entity in entities.entities:
        if isinstance(entity, OpaqueFunction):
            nodes += [e for e in entity.execute(context) or [] if isinstance(e, Node)]
        else:
            entity.visit(context)
    return nodes


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_a_launch_file_loads_and_describes_every_argument(installed: Path, path: Path) -> None:
    description = load(installed / "launch" / path.name).generate_launch_description()
    arguments = [e for e in description.entities if isinstance(e, DeclareLaunchArgument)]
    assert {"source", "model", "namespace", "params_file", "use_sim_time", "autostart"} <= {
        argument.name for argument in arguments
    }
    assert all(argument.description and argument.default_value for argument in arguments)


def test_without_a_source_only_the_lifecycle_node_starts(installed: Path) -> None:
    nodes = nodes_of(installed)
    assert [node.node_executable for node in nodes] == ["gaze_caption"]
    assert isinstance(nodes[0], LifecycleNode)


def test_a_bag_is_played_and_a_video_published(installed: Path, tmp_path: Path) -> None:
    bag = write_tiny_bag(tmp_path / "bag", frames=2)
    played = nodes_of(installed, source=str(bag.path))
    assert [node.node_executable for node in played] == ["gaze_caption", "player"]
    shown = nodes_of(installed, source="clip.mp4", gaze="gaze.tsv")
    assert [node.node_executable for node in shown] == ["gaze_caption", "sources"]
