"""The live graph: gaze_caption, with a source, a bag player or neither (your own drivers).

    ros2 launch tracevlm_ros gaze_caption.launch.py source:=/path/to/bag model:=/path/to/model

``--show-args`` lists the arguments. Only launch and launch_ros calls that Jazzy, Kilted and Lyrical
share are used.
"""

from pathlib import Path
from typing import Any, NamedTuple

from ament_index_python.packages import get_package_share_directory
from launch.actions import (
    DeclareLaunchArgument,
    EmitEvent,
    OpaqueFunction,
    RegisterEventHandler,
    SetEnvironmentVariable,
)
from launch.conditions import IfCondition
from launch.event_handlers import OnProcessStart
from launch.events import matches_action
from launch.substitutions import EnvironmentVariable, LaunchConfiguration
from launch_ros.actions import LifecycleNode, Node
from launch_ros.event_handlers import OnStateTransition
from launch_ros.events.lifecycle import ChangeState
from launch_ros.parameter_descriptions import ParameterValue
from lifecycle_msgs.msg import Transition

from launch import LaunchContext, LaunchDescription, LaunchDescriptionEntity
from tracevlm_ros.cli.bag_plan import plan_bag
from tracevlm_ros.cli.dds import MALLOC

PACKAGE = "tracevlm_ros"
BAG_SUFFIXES = (".mcap", ".db3")

ARGUMENTS = {
    "source": (
        "",
        "What plays: a rosbag2 bag, or a video file, V4L2 device or RTSP address (with gaze:=); "
        "empty: your own drivers publish image and gaze in the namespace.",
    ),
    "gaze": ("", "Gaze table (.tsv, .csv) that belongs to a video source."),
    "model": ("nano", "nano (in the package), fake, or a model directory."),
    "namespace": ("tracevlm", "Namespace of all nodes and relative topics."),
    "params_file": (
        str(Path(get_package_share_directory(PACKAGE)) / "config" / "gaze_caption.yaml"),
        "Parameters of gaze_caption.",
    ),
    "use_sim_time": ("false", "Follow /clock; set it to true for a bag."),
    "autostart": ("true", "Configure and activate gaze_caption at start."),
    "respawn": ("false", "Start gaze_caption again when it dies."),
}


class Source(NamedTuple):
    """What plays: ``executable`` is empty when nothing does. ``graph`` overrides gaze_caption."""

    executable: str
    parameters: dict[str, Any]
    remappings: list[tuple[str, str]]
    graph: dict[str, Any]


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
    source = _choose_source(values)
    nodes = _gaze_caption(source.graph)
    if source.executable:
        nodes.append(
            Node(
                package=PACKAGE,
                executable=source.executable,
                name=source.executable,
                namespace=LaunchConfiguration("namespace"),
                parameters=[source.parameters],
                remappings=source.remappings,
                output="screen",
            )
        )
    return nodes


def _choose_source(values: dict[str, str]) -> Source:
    """A player for a bag, a source node for anything else, nothing for an empty argument."""
    source = values["source"]
    if not source:
        return Source("", {}, [], {})
    path = Path(source).expanduser()
    if path.is_dir() or path.suffix in BAG_SUFFIXES:
        plan = plan_bag(path, values["namespace"])
        parameters = {"bag": str(path), "wait_for": plan.wait_for}
        return Source(
            "player", parameters, list(plan.remappings.items()), {"gaze_type": plan.gaze_type}
        )
    parameters = {"video": source, **({"gaze": values["gaze"]} if values["gaze"] else {})}
    return Source("sources", parameters, [], {})


def _gaze_caption(overrides: dict[str, Any]) -> list[LaunchDescriptionEntity]:
    node = LifecycleNode(
        package=PACKAGE,
        executable="gaze_caption",
        name="gaze_caption",
        namespace=LaunchConfiguration("namespace"),
        parameters=[
            LaunchConfiguration("params_file"),
            {
                "model": ParameterValue(LaunchConfiguration("model"), value_type=str),
                "use_sim_time": ParameterValue(
                    LaunchConfiguration("use_sim_time"), value_type=bool
                ),
                **overrides,
            },
        ],
        respawn=LaunchConfiguration("respawn"),
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
