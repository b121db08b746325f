"""Every launch file loads and starts the right nodes, where ROS's launch is installed."""

import importlib.util
import itertools
import os
import shutil
import tempfile
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any, NamedTuple

import pytest
import yaml

pytest.importorskip("launch", reason="ROS's launch is not installed; it is not on PyPI")
pytest.importorskip("launch_ros", reason="ROS's launch_ros is not installed; it is not on PyPI")

from launch.actions import (
    DeclareLaunchArgument,
    IncludeLaunchDescription,
    OpaqueFunction,
    Shutdown,
)
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch.utilities.type_utils import perform_typed_substitution
from launch_ros.actions import LifecycleNode, Node

from launch import LaunchContext, LaunchService
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
    names = {argument.name for argument in arguments}
    assert {"model", "namespace", "params_file", "use_sim_time", "autostart"} <= names
    assert names & {"source", "bag"}
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
    kept = nodes_of(installed, source="clip.mp4", gaze="gaze.tsv", record=str(tmp_path / "new"))
    assert [node.node_executable for node in kept] == ["gaze_caption", "sources", "recorder"]


def test_a_gaze_driver_and_words_start_beside_a_camera(installed: Path) -> None:
    nodes = nodes_of(
        installed, source="/dev/video0", device="pupil_core", address="192.168.1.5", words="true"
    )
    assert [node.node_executable for node in nodes] == [
        "gaze_caption",
        "sources",
        "gaze_driver",
        "words",
    ]


def test_what_has_no_end_of_its_own_is_started_again_after_the_delay(
    installed: Path, tmp_path: Path
) -> None:
    def again(**arguments: str) -> dict[str, tuple[bool, float]]:
        nodes = nodes_of(installed, respawn_delay="2.5", **arguments)
        return {
            node.node_executable: (
                perform_typed_substitution(LaunchContext(), node._ExecuteLocal__respawn, bool),
                node._ExecuteLocal__respawn_delay,
            )
            for node in nodes
        }

    live = {"source": "/dev/video0", "device": "neon", "words": "true", "respawn": "true"}
    assert again(**live) == dict.fromkeys(
        ["gaze_caption", "sources", "gaze_driver", "words"], (True, 2.5)
    )
    bag = str(write_tiny_bag(tmp_path / "bag", frames=2).path)
    kept = again(source=bag, record=str(tmp_path / "new"), respawn="true")
    assert {name: flag for name, (flag, _) in kept.items()} == {
        "gaze_caption": True,
        "player": False,
        "recorder": False,
    }
    assert not again(source="clip.mp4", gaze="gaze.tsv", respawn="true")["sources"][0]
    assert not any(flag for flag, _ in again(source="/dev/video0", device="neon").values())


def words_of(node: Any, context: LaunchContext) -> list[str]:
    """The command line after the executable."""
    return ["".join(part.perform(context) for part in word) for word in node.cmd[1:]]


def test_a_composed_graph_is_one_process_with_every_node_and_its_own_parameters(
    installed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    bag = write_tiny_bag(tmp_path / "bag", frames=2)
    (container,) = nodes_of(
        installed,
        source=str(bag.path),
        record=str(tmp_path / "new"),
        composition="true",
        keep_all="true",
        rate="2.0",
    )
    assert container.node_executable == "container"
    words = words_of(container, LaunchContext())
    assert words[:3] == ["gaze_caption", "player", "recorder"]
    (own,) = tmp_path.glob("*.yaml")
    values = yaml.safe_load(own.read_text())
    assert values["/**/player"]["ros__parameters"]["bag"] == str(bag.path)
    assert values["/**/player"]["ros__parameters"]["rate"] == 2.0
    assert values["/**/recorder"]["ros__parameters"]["bag"] == str(tmp_path / "new")
    assert values["/**/gaze_caption"]["ros__parameters"]["autostart"] is True
    assert values["/**/gaze_caption"]["ros__parameters"]["image_depth"] == 1000


def run_of(
    installed: Path, file: str = "gaze_caption", **arguments: str
) -> dict[str, dict[str, Any]]:
    """Launch the file for real, with programs that but tell their command line and end; of each
    the parameters, by its name."""
    programs = installed.parents[1] / "lib" / "tracevlm_ros"
    programs.mkdir(parents=True)
    told = installed.parents[1] / "told"
    told.mkdir()
    for name in ("gaze_caption", "player", "sources", "pointer", "container"):
        script = programs / name
        script.write_text(f"#!/bin/sh\nprintf '%s\\0' \"$@\" > {told}/{name}\n")
        script.chmod(0o755)
    source = PythonLaunchDescriptionSource(str(installed / "launch" / f"{file}.launch.py"))
    service = LaunchService()
    service.include_launch_description(
        IncludeLaunchDescription(
            source, launch_arguments=[("autostart", "false"), *arguments.items()]
        )
    )
    assert service.run() == 0
    return {path.name: _parameters_in(path.read_text()) for path in told.iterdir()}


def _parameters_in(command: str) -> dict[str, Any]:
    words = command.split("\0")
    rules = [after for word, after in itertools.pairwise(words) if word == "-p"]
    return {name: yaml.safe_load(text) for name, _, text in (r.partition(":=") for r in rules)}


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "tmp"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


@pytest.mark.parametrize("composition", ["false", "true"])
def test_a_launch_leaves_no_temporary_file(
    installed: Path, tmp_path: Path, temporary: Path, composition: str
) -> None:
    bag = write_tiny_bag(tmp_path / "bag", frames=2)
    ran = run_of(installed, source=str(bag.path), keep_all="true", composition=composition)
    assert set(ran) == ({"container"} if composition == "true" else {"gaze_caption", "player"})
    assert list(temporary.iterdir()) == []


def test_a_pointer_demo_leaves_no_temporary_file(installed: Path, temporary: Path) -> None:
    ran = run_of(installed, "pointer_demo", source="clip.mp4", port="7012")
    assert ran["pointer"]["port"] == 7012
    assert list(temporary.iterdir()) == []


def test_parameters_reach_the_nodes_with_their_types(
    installed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_tiny_bag(tmp_path / "2024", frames=2)
    monkeypatch.chdir(tmp_path)
    ran = run_of(installed, source="2024", keep_all="true", rate="2", use_sim_time="true")
    assert ran["player"]["bag"] == "2024"
    assert repr(ran["player"]["rate"]) == "2.0"
    assert ran["player"]["loop"] is False
    assert ran["gaze_caption"]["model"] == "nano"
    assert ran["gaze_caption"]["use_sim_time"] is True
    assert ran["gaze_caption"]["image_depth"] == 1000
    override = "qos_overrides./tracevlm/image.subscription.reliability"
    assert ran["gaze_caption"][override] == "reliable"


class Ended(NamedTuple):
    """A process that has ended, as launch tells of it."""

    action: Any
    returncode: int = 0


def test_a_replay_plays_records_waits_closes_and_scores(installed: Path, tmp_path: Path) -> None:
    replay = load(installed / "launch" / "replay.launch.py")
    context = LaunchContext()
    values = {name: default for name, (default, _) in replay.ARGUMENTS.items()}
    values["bag"] = str(write_tiny_bag(tmp_path / "bag", frames=2).path)
    steps = replay.Steps(values, tmp_path / "out")

    def after(executable: str, returncode: int = 0) -> list[Any]:
        action = SimpleNamespace(node_executable=executable)
        return list(steps.follow(Ended(action, returncode), context))

    (waiting,) = after("player")
    assert waiting.node_executable == "await_idle"
    (closing,) = after("await_idle")
    assert closing.event.process_matcher(SimpleNamespace(node_executable="recorder"))
    assert not closing.event.process_matcher(waiting)
    (scoring,) = after("recorder")
    command = words_of(scoring, context)
    assert command[2:4] == ["evaluate", values["bag"]]
    assert str(tmp_path / "out" / "recording") in command
    (over,) = steps.follow(Ended(scoring), context)
    assert isinstance(over, Shutdown)
    (failed,) = after("player", 1)
    assert isinstance(failed, Shutdown)


def test_a_replay_without_a_bag_is_refused(installed: Path) -> None:
    description = load(installed / "launch" / "replay.launch.py").generate_launch_description()
    context = LaunchContext()
    *arguments, replay = description.entities
    for argument in arguments:
        argument.visit(context)
    with pytest.raises(RuntimeError, match="bag:="):
        replay.execute(context)


def test_a_replay_passes_start_and_loop_to_the_graph(installed: Path, tmp_path: Path) -> None:
    replay = load(installed / "launch" / "replay.launch.py")
    context = LaunchContext()
    bag = str(write_tiny_bag(tmp_path / "bag", frames=2).path)
    *arguments, function = replay.generate_launch_description().entities
    given = {"bag": bag, "out": str(tmp_path / "out"), "start": "0.05", "loop": "true"}
    context.launch_configurations.update(given)
    for argument in arguments:
        argument.visit(context)
    _, included = function.execute(context)
    passed = dict(included.launch_arguments)
    assert (passed["source"], passed["start"], passed["loop"]) == (bag, "0.05", "true")
