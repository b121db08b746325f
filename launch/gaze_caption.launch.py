"""The live graph: gaze_caption, with a source, a bag player or neither (your own drivers).

    ros2 launch tracevlm_ros gaze_caption.launch.py source:=/path/to/bag model:=/path/to/model

``--show-args`` lists the arguments. Only launch and launch_ros calls that Jazzy, Kilted and Lyrical
share are used.
"""

from pathlib import Path

from ament_index_python.packages import get_package_share_directory
from launch import LaunchContext, LaunchDescription, LaunchDescriptionEntity
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


def generate_launch_description() -> LaunchDescription:
    """Entry point of ``ros2 launch``."""
    return LaunchDescription([*_arguments(), *_transport(), *_gaze_caption(), *_source()])


def _arguments() -> list[LaunchDescriptionEntity]:
    return [
        DeclareLaunchArgument(name, default_value=default, description=description)
        for name, (default, description) in ARGUMENTS.items()
    ]


def _transport() -> list[LaunchDescriptionEntity]:
    """Shared memory large enough for images, unless the user has a profile of his own."""
    profile = Path(get_package_share_directory(PACKAGE)) / "config" / "fastdds_shm.xml"
    defaults = {"FASTDDS_DEFAULT_PROFILES_FILE": str(profile), "MALLOC_ARENA_MAX": "1"}
    return [
        SetEnvironmentVariable(name, EnvironmentVariable(name, default_value=default))
        for name, default in defaults.items()
    ]


def _gaze_caption() -> list[LaunchDescriptionEntity]:
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


def _source() -> list[LaunchDescriptionEntity]:
    return [OpaqueFunction(function=_start_source)]


def _start_source(context: LaunchContext) -> list[LaunchDescriptionEntity]:
    """A player for a bag, a source node for anything else, nothing for an empty argument."""
    source = LaunchConfiguration("source").perform(context)
    if not source:
        return []
    path = Path(source).expanduser()
    is_bag = path.is_dir() or path.suffix in BAG_SUFFIXES
    executable = "player" if is_bag else "sources"
    parameters = {"bag": str(path)} if is_bag else {"video": source}
    gaze = LaunchConfiguration("gaze").perform(context)
    if gaze and not is_bag:
        parameters["gaze"] = gaze
    return [
        Node(
            package=PACKAGE,
            executable=executable,
            name=executable,
            namespace=LaunchConfiguration("namespace"),
            parameters=[parameters],
            output="screen",
        )
    ]
