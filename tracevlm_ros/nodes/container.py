"""Several nodes of this package in one process, each with an executor and a thread of its own.

    python -m tracevlm_ros.nodes.container gaze_caption player recorder \\
        --ros-args -r __ns:=/tracevlm --params-file FILE

One DDS participant serves them all, so images pass between them without leaving the process. All
take the same remappings (``-r player:/a:=/b`` is the player's alone); parameters of one node stand
in the file under ``/**/<node>``. ``gaze_caption:left gaze_caption:right`` are two of a kind, in the
namespaces ``/left`` and ``/right``, whatever ``__ns`` says. A node that has finished, as a player
at the end of its bag, is taken away and the others go on; one that fails ends all, and so do SIGINT
and SIGTERM.
"""

import functools
import importlib
import sys
import threading
from collections.abc import Sequence
from typing import cast

import rclpy

from tracevlm_ros.core.errors import ConfigError
from tracevlm_ros.nodes.gaze_caption import set_up_process
from tracevlm_ros.nodes.spin import Make, ServedNode, StopRequest, run_with_ros

MAKERS = {
    "gaze_caption": "gaze_caption.make",
    "gaze_driver": "gaze_driver.GazeDriver",
    "monitor": "monitor.Monitor",
    "player": "player.Player",
    "pointer": "pointer.PointerNode",
    "recorder": "recorder.Recorder",
    "sources": "sources.Sources",
    "words": "words.Words",
}


class Container:
    """Builds the nodes in the order of ``makers`` and ends them in that order."""

    def __init__(self) -> None:
        self._changed = threading.Event()
        self._is_ending = False
        self._served: dict[str, ServedNode] = {}

    def end(self) -> None:
        """Ask all to stop; any thread and a signal's handler may call it."""
        self._is_ending = True
        self._changed.set()

    def serve(self, makers: dict[str, Make]) -> int:
        """Until every node has finished, one has failed, or ``end``; the first status not 0."""
        try:
            for name, make in makers.items():
                self._served[name] = ServedNode(make, StopRequest(self._changed.set))
            return self._wait()
        finally:
            for served in self._served.values():
                served.stop.set()
            for served in self._served.values():
                served.end()

    def _wait(self) -> int:
        while self._served and not self._is_ending:
            self._changed.wait()
            self._changed.clear()
            for name in [n for n, each in self._served.items() if each.stop.is_set()]:
                status = self._served[name].stop.status
                if status:
                    return status
                self._served.pop(name).end()
                rclpy.logging.get_logger("container").info(f"{name} has finished")
        return 0


def makers_of(names: Sequence[str]) -> dict[str, Make]:
    """Import the nodes ``names``, each ``node`` or ``node:namespace``. Raises ConfigError for none,
    unknown and repeated ones."""
    kinds = {name.partition(":")[0] for name in names}
    if not names or len(set(names)) != len(names) or not kinds <= MAKERS.keys():
        raise ConfigError(
            f"the container was given the nodes {', '.join(names) or '(none)'}; name one or more, "
            f"each once, of {', '.join(MAKERS)}, or several of a kind as node:namespace"
        )
    return {name: _maker(name) for name in names}


def _maker(name: str) -> Make:
    kind, _, namespace = name.partition(":")
    module, _, attribute = MAKERS[kind].partition(".")
    make = getattr(importlib.import_module(f"tracevlm_ros.nodes.{module}"), attribute)
    if not namespace:
        return cast(Make, make)
    rule = f"__ns:=/{namespace.strip('/')}"
    return functools.partial(make, cli_args=["--ros-args", "-r", rule])


def main(argv: Sequence[str] | None = None) -> int:
    words = list(sys.argv if argv is None else argv)
    first_ros = words.index("--ros-args") if "--ros-args" in words else len(words)
    container = Container()
    set_up_process()
    return run_with_ros(
        lambda: container.serve(makers_of(words[1:first_ros])), container.end, words
    )


if __name__ == "__main__":
    sys.exit(main())
