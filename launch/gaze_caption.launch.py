"""The live graph: gaze_caption, with a source, a bag player, a gaze driver, or your own drivers.

    ros2 launch tracevlm_ros gaze_caption.launch.py source:=/path/to/bag model:=/path/to/model
    ros2 launch tracevlm_ros gaze_caption.launch.py source:=/dev/video0 device:=pupil_core

Each node is a process of its own, or all are one with composition:=true: then respawn and the
lifecycle events of launch do not apply, the node starts itself, and all ends when one fails.
``--show-args`` lists the arguments. Only launch and launch_ros calls that Jazzy, Kilted and Lyrical
share are used.
"""

import tempfile
from pathlib import Path
from typing import Any, NamedTuple

import yaml
from ament_index_python.packages import get_package_share_directory
from launch.actions import (
    DeclareLaunchArgument,
    EmitEvent,
    OpaqueFunction,
    RegisterEventHandler,
    SetEnvironmentVariable,
)
from launch.conditions import IfCondition
from launch.event_handlers import OnProcessStart, OnShutdown
from launch.events import Shutdown, matches_action
from launch.substitutions import EnvironmentVariable, LaunchConfiguration
from launch_ros.actions import LifecycleNode, Node
from launch_ros.event_handlers import OnStateTransition
from launch_ros.events.lifecycle import ChangeState
from launch_ros.parameter_descriptions import Parameter
from lifecycle_msgs.msg import Transition

from launch import LaunchContext, LaunchDescription, LaunchDescriptionEntity
from tracevlm_ros.cli.dds import MALLOC
from tracevlm_ros.cli.launch_plan import Program, is_true, plan_programs

PACKAGE = "tracevlm_ros"

ARGUMENTS = {
    "source": (
        "",
        "What plays: a rosbag2 bag, or a video file, V4L2 device or RTSP address (with gaze:=); "
        "empty: your own drivers publish image and gaze in the namespace.",
    ),
    "gaze": ("", "Gaze table (.tsv, .csv) that belongs to a video source."),
    "device": (
        "",
        "Gaze driver to start: pupil_core, neon, tobii_glasses2 or tobii_glasses3; empty: none.",
    ),
    "address": ("", "Where that device is, host or host:port; empty: its default."),
    "words": ("false", "Start the words node, to which a speech recogniser sends (TCP 7010)."),
    "model": ("nano", "nano (in the package), fake, or a model directory."),
    "namespace": ("tracevlm", "Namespace of all nodes and relative topics."),
    "params_file": (
        str(Path(get_package_share_directory(PACKAGE)) / "config" / "gaze_caption.yaml"),
        "Parameters of gaze_caption.",
    ),
    "use_sim_time": ("false", "Follow /clock; set it to true for a bag."),
    "rate": ("1.0", "Speed of a bag or video file."),
    "start": ("0.0", "Seconds of a bag that are left out at its beginning."),
    "loop": ("false", "Begin a bag or video file again at its end."),
    "record": ("", "New bag for captions, masks, traces and attention; empty records nothing."),
    "keep_all": ("false", "Drop no frame, even when the engine falls behind: for recordings."),
    "composition": ("false", "All nodes in one process, which spares copies of images."),
    "autostart": ("true", "Configure and activate gaze_caption at start."),
    "respawn": (
        "false",
        "Start a node that ended again: gaze_caption, a camera, the gaze driver, words.",
    ),
    "respawn_delay": ("1.0", "Seconds until it is started again."),
}


def generate_launch_description() -> LaunchDescription:
    """Entry point of ``ros2 launch``."""
    return LaunchDescription([*_arguments(), *_transport(), OpaqueFunction(function=_nodes)])


def _arguments() -> list[LaunchDescriptionEntity]:
    return [
        DeclareLaunchArgument(name, default_value=default, description=description)
        for name, (default, description) in ARGUMENTS.items()
    ]


def _transport() -> list[LaunchDescriptionEntity]:
    """Shared memory large enough for images, unless the user has a profile of his own."""
    profile = Path(get_package_share_directory(PACKAGE)) / "config" / "fastdds_shm.xml"
    defaults = {"FASTDDS_DEFAULT_PROFILES_FILE": str(profile), **MALLOC}
    return [
        SetEnvironmentVariable(name, EnvironmentVariable(name, default_value=default))
        for name, default in defaults.items()
    ]


def _nodes(context: LaunchContext) -> list[LaunchDescriptionEntity]:
    values = {name: LaunchConfiguration(name).perform(context) for name in ARGUMENTS}
    graph, *others = plan_programs(values)
    if is_true(values["composition"]):
        return _container([graph, *others], values)
    again = _Again(is_true(values["respawn"]), float(values["respawn_delay"]))
    return [
        *_gaze_caption(graph.parameters, again),
        *(_process(other, again) for other in others),
    ]


class _Again(NamedTuple):
    """Whether a node that ended is started again, and after how many seconds."""

    respawn: bool
    delay_s: float


def _process(program: Program, again: _Again) -> Node:
    return Node(
        package=PACKAGE,
        executable=program.executable,
        name=program.executable,
        namespace=LaunchConfiguration("namespace"),
        parameters=_given(program.parameters),
        remappings=program.remappings,
        respawn=again.respawn and program.lasts,
        respawn_delay=again.delay_s,
        output="screen",
    )


def _given(parameters: dict[str, Any]) -> list[Parameter]:
    """On the command line, each of its own type. Of a dictionary launch_ros makes a file in /tmp
    that stays there, and a bag called 2024 is a number to it."""
    return [Parameter(name, value, value_type=type(value)) for name, value in parameters.items()]


def _container(programs: list[Program], values: dict[str, str]) -> list[LaunchDescriptionEntity]:
    """All nodes in one process; each one's parameters stand under its name in a file, which goes
    when launch ends."""
    shared = {
        "model": values["model"],
        "use_sim_time": is_true(values["use_sim_time"]),
        "autostart": is_true(values["autostart"]),
    }
    sections = {program.executable: program.parameters for program in programs}
    sections["gaze_caption"] = {**shared, **sections["gaze_caption"]}
    with tempfile.NamedTemporaryFile("w", suffix=".yaml", delete=False) as file:
        named = {f"/**/{name}": {"ros__parameters": each} for name, each in sections.items()}
        yaml.safe_dump(named, file)
    made = Path(file.name)
    node = Node(
        package=PACKAGE,
        executable="container",
        arguments=list(sections),
        namespace=LaunchConfiguration("namespace"),
        parameters=[LaunchConfiguration("params_file"), str(made)],
        remappings=[
            (f"{program.executable}:{source}", target)
            for program in programs
            for source, target in program.remappings
        ],
        output="screen",
    )

    def forget(_event: Shutdown, _context: LaunchContext) -> None:
        made.unlink(missing_ok=True)

    return [RegisterEventHandler(OnShutdown(on_shutdown=forget)), node]


def _gaze_caption(overrides: dict[str, Any], again: _Again) -> list[LaunchDescriptionEntity]:
    node = LifecycleNode(
        package=PACKAGE,
        executable="gaze_caption",
        name="gaze_caption",
        namespace=LaunchConfiguration("namespace"),
        parameters=[
            LaunchConfiguration("params_file"),
            Parameter("model", LaunchConfiguration("model"), value_type=str),
            Parameter("use_sim_time", LaunchConfiguration("use_sim_time"), value_type=bool),
            *_given(overrides),
        ],
        respawn=again.respawn,
        respawn_delay=again.delay_s,
        output="screen",
    )
    autostart = IfCondition(LaunchConfiguration("autostart"))
    configure = RegisterEventHandler(
        OnProcessStart(
            target_action=node,
            on_start=[_change(node, Transition.TRANSITION_CONFIGURE)],
        ),
        condition=autostart,
    )
    activate = RegisterEventHandler(
        OnStateTransition(
            target_lifecycle_node=node,
            start_state="configuring",
            goal_state="inactive",
            entities=[_change(node, Transition.TRANSITION_ACTIVATE)],
        ),
        condition=autostart,
    )
    return [configure, activate, node]


def _change(node: LifecycleNode, transition_id: int) -> EmitEvent:
    return EmitEvent(
        event=ChangeState(lifecycle_node_matcher=matches_action(node), transition_id=transition_id)
    )
