"""Play a bag through the live graph, record what comes out, and score the recording.

    ros2 launch tracevlm_ros replay.launch.py bag:=/path/to/bag out:=/path/to/new/folder

The graph is that of gaze_caption.launch.py under /clock, and drops no frame. When the bag has ended
and the graph has nothing left to do, the recording (``out``/recording) is closed and, unless
evaluate:=false, scored by `tracevlm evaluate` against the truth that the bag or its sidecar holds
(``out``/report). ``--show-args`` lists the arguments. Only launch and launch_ros calls that Jazzy,
Kilted and Lyrical share are used.
"""

import sys
from pathlib import Path

from ament_index_python.packages import get_package_share_directory
from launch.actions import (
    DeclareLaunchArgument,
    EmitEvent,
    ExecuteProcess,
    IncludeLaunchDescription,
    OpaqueFunction,
    RegisterEventHandler,
    Shutdown,
)
from launch.event_handlers import OnProcessExit
from launch.events.process import ProcessExited, ShutdownProcess
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node

from launch import LaunchContext, LaunchDescription, LaunchDescriptionEntity

PACKAGE = "tracevlm_ros"
SHARE = Path(get_package_share_directory(PACKAGE))

ARGUMENTS = {
    "bag": ("", "The rosbag2 bag to play. It must be given."),
    "out": ("replay_output", "New folder for the recording and the report."),
    "rate": ("1.0", "Speed."),
    "start": (
        "0.0",
        "Seconds of the bag that are left out at its beginning; the report counts their frames as "
        "dropped.",
    ),
    "loop": ("false", "Play the bag again and again until Ctrl-C; nothing is scored."),
    "evaluate": ("true", "Score the recording when it is closed."),
    "model": ("nano", "nano (in the package), fake, or a model directory."),
    "namespace": ("tracevlm", "Namespace of all nodes and relative topics."),
    "params_file": (str(SHARE / "config" / "gaze_caption.yaml"), "Parameters of gaze_caption."),
    "use_sim_time": ("true", "Follow /clock. A recording has its own time: leave it."),
    "autostart": ("true", "Configure and activate gaze_caption at start."),
}


def generate_launch_description() -> LaunchDescription:
    """Entry point of ``ros2 launch``."""
    arguments = [
        DeclareLaunchArgument(name, default_value=default, description=description)
        for name, (default, description) in ARGUMENTS.items()
    ]
    return LaunchDescription([*arguments, OpaqueFunction(function=_replay)])


def _replay(context: LaunchContext) -> list[LaunchDescriptionEntity]:
    values = {name: LaunchConfiguration(name).perform(context) for name in ARGUMENTS}
    if not values["bag"]:
        raise RuntimeError("the argument bag is empty; give bag:=/path/to/bag")
    out = Path(values["out"]).expanduser()
    out.mkdir(parents=True, exist_ok=True)
    included = PythonLaunchDescriptionSource(str(SHARE / "launch" / "gaze_caption.launch.py"))
    passed = {
        "source": values["bag"],
        "record": str(out / "recording"),
        "keep_all": "true",
        **{name: value for name, value in values.items() if name not in ("bag", "out", "evaluate")},
    }
    return [
        RegisterEventHandler(OnProcessExit(on_exit=Steps(values, out).follow)),
        IncludeLaunchDescription(included, launch_arguments=list(passed.items())),
    ]


class Steps:
    """What follows on what: the bag's end, an idle graph, the closed recording, the report."""

    def __init__(self, values: dict[str, str], out: Path) -> None:
        self._values = values
        self._out = out

    def follow(self, event: ProcessExited, context: LaunchContext) -> list[LaunchDescriptionEntity]:
        """The next step after a process has ended; the end of all when it failed."""
        if context.is_shutdown:
            return []
        name = getattr(event.action, "node_executable", "evaluate")
        if event.returncode:
            return [Shutdown(reason=f"{name} ended with status {event.returncode}")]
        if name == "player":
            return [self._waiting()]
        if name == "await_idle":
            return [EmitEvent(event=ShutdownProcess(process_matcher=_is_recorder))]
        if name == "recorder" and self._values["evaluate"] == "true":
            return [self._evaluating()]
        return [Shutdown(reason="the bag was replayed")] if name in ("recorder", "evaluate") else []

    def _waiting(self) -> Node:
        return Node(
            package=PACKAGE,
            executable="await_idle",
            namespace=LaunchConfiguration("namespace"),
            output="screen",
        )

    def _evaluating(self) -> ExecuteProcess:
        recorded = ["--recorded", str(self._out / "recording")]
        report = ["--report", str(self._out / "report"), "--no-java"]
        command = [sys.executable, "-m", "tracevlm_ros.cli.main", "evaluate", self._values["bag"]]
        return ExecuteProcess(cmd=[*command, *recorded, *report], output="screen")


def _is_recorder(action: LaunchDescriptionEntity) -> bool:
    return getattr(action, "node_executable", "") == "recorder"
