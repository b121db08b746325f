"""Point with the mouse at a video or camera picture and read what it is.

    ros2 launch tracevlm_ros pointer_demo.launch.py source:=/dev/video0

A window shows the overlay of gaze_caption; draw with the left button held. ``--show-args`` lists
the arguments. Only launch and launch_ros calls that Jazzy, Kilted and Lyrical share are used.
"""

from pathlib import Path

from ament_index_python.packages import get_package_share_directory
from launch.actions import (
    DeclareLaunchArgument,
    IncludeLaunchDescription,
    OpaqueFunction,
    RegisterEventHandler,
    SetLaunchConfiguration,
    Shutdown,
)
from launch.event_handlers import OnProcessExit
from launch.events.process import ProcessExited
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node
from launch_ros.parameter_descriptions import Parameter

from launch import LaunchContext, LaunchDescription, LaunchDescriptionEntity

PACKAGE = "tracevlm_ros"
SHARE = Path(get_package_share_directory(PACKAGE))

ARGUMENTS = {
    "source": (
        "",
        "What is shown: a video file (played again and again), V4L2 device or RTSP address; empty: "
        "your own camera node publishes image in the namespace.",
    ),
    "input": ("window", "Of the pointer: window, tcp, stdin or point; see the pointer node."),
    "show": ("overlay", "What the window shows: overlay, image or compressed."),
    "port": ("7011", "Of input tcp, the port to listen on."),
    "model": ("nano", "nano (in the package), fake, or a model directory."),
    "namespace": ("tracevlm", "Namespace of all nodes and relative topics."),
    "params_file": (str(SHARE / "config" / "gaze_caption.yaml"), "Parameters of gaze_caption."),
    "use_sim_time": ("false", "Follow /clock. A pointer is of now: leave it."),
    "autostart": ("true", "Configure and activate gaze_caption at start."),
    "respawn": ("false", "Start gaze_caption or the source again when it ended."),
    "respawn_delay": ("1.0", "Seconds until it is started again."),
}


def generate_launch_description() -> LaunchDescription:
    """Entry point of ``ros2 launch``. The pointer's end, as by closing its window, ends all."""
    return LaunchDescription(
        [*_arguments(), *_graph(), OpaqueFunction(function=_source), *_pointer()]
    )


def _arguments() -> list[LaunchDescriptionEntity]:
    return [
        DeclareLaunchArgument(name, default_value=default, description=description)
        for name, (default, description) in ARGUMENTS.items()
    ]


def _graph() -> list[LaunchDescriptionEntity]:
    """gaze_caption and the transport as in its own launch file, but without a source of its own:
    what is passed to an included file changes the value here, so it is put aside first."""
    included = PythonLaunchDescriptionSource(str(SHARE / "launch" / "gaze_caption.launch.py"))
    return [
        SetLaunchConfiguration("shown_source", LaunchConfiguration("source")),
        IncludeLaunchDescription(included, launch_arguments=[("source", ""), ("gaze", "")]),
    ]


def _source(context: LaunchContext) -> list[LaunchDescriptionEntity]:
    video = LaunchConfiguration("shown_source").perform(context)
    if not video:
        return []
    return [
        Node(
            package=PACKAGE,
            executable="sources",
            name="sources",
            namespace=LaunchConfiguration("namespace"),
            parameters=[
                Parameter("video", video, value_type=str),
                Parameter("loop", value=True, value_type=bool),
            ],
            respawn=LaunchConfiguration("respawn"),
            respawn_delay=float(LaunchConfiguration("respawn_delay").perform(context)),
            output="screen",
        )
    ]


def _pointer() -> list[LaunchDescriptionEntity]:
    node = Node(
        package=PACKAGE,
        executable="pointer",
        name="pointer",
        namespace=LaunchConfiguration("namespace"),
        parameters=[
            Parameter("input", LaunchConfiguration("input"), value_type=str),
            Parameter("show", LaunchConfiguration("show"), value_type=str),
            Parameter("port", LaunchConfiguration("port"), value_type=int),
        ],
        output="screen",
    )
    return [RegisterEventHandler(OnProcessExit(target_action=node, on_exit=_end)), node]


def _end(_event: ProcessExited, context: LaunchContext) -> list[LaunchDescriptionEntity]:
    """End all, unless all is ending: launch fails when told so twice."""
    return [] if context.is_shutdown else [Shutdown(reason="the pointer ended")]
