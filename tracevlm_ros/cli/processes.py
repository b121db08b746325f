"""Start, watch and end the nodes of a graph as processes of their own, without ROS's launch."""

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, TextIO

import yaml

from tracevlm_ros.cli.dds import environment, remove_unused_segments, segments_of
from tracevlm_ros.core.errors import InputError, TraceVLMError

_INTERRUPT_S = 15.0
_TERMINATE_S = 5.0
_LINES_KEPT = 200


class NodeError(TraceVLMError):
    """A node ended when it should run, or ended with a status that is not 0."""


def ros_arguments(
    parameters: Mapping[str, Any] | None = None,
    remappings: Mapping[str, str] | None = None,
    params_file: Path | None = None,
    namespace: str = "",
    name: str = "",
) -> list[str]:
    """Command-line arguments for a node: ``--ros-args -r __ns:=... -p name:=value ...``."""
    if params_file is not None and not params_file.is_file():
        raise InputError(f"no parameter file {params_file}")
    rules = dict(remappings or {})
    if namespace:
        rules["__ns"] = "/" + namespace.strip("/")
    if name:
        rules["__node"] = name
    words = ["--ros-args"]
    for source, target in rules.items():
        words += ["-r", f"{source}:={target}"]
    if params_file is not None:
        words += ["--params-file", str(params_file)]
    for key, value in (parameters or {}).items():
        words += ["-p", f"{key}:={_yaml_of(value)}"]
    return words


def _yaml_of(value: Any) -> str:
    """One line of YAML that keeps the type: strings quoted, floats with a point."""
    if isinstance(value, Path):
        value = str(value)
    if isinstance(value, str):
        return "'" + value.replace("'", "''") + "'"
    return str(yaml.safe_dump(value, default_flow_style=True)).removesuffix("...\n").strip()


class NodeProcess:
    """One node in a process group of its own; its output is read line by line in a thread."""

    def __init__(
        self,
        module: str,
        arguments: Sequence[str],
        variables: Mapping[str, str],
        on_line: Callable[[str, str], None],
        stdin: int | TextIO = subprocess.DEVNULL,
    ) -> None:
        self.name = module.rsplit(".", maxsplit=1)[-1]
        self.last_lines: deque[str] = deque(maxlen=_LINES_KEPT)
        self._on_line = on_line
        self._is_interrupted = False
        self._process = subprocess.Popen(
            [sys.executable, "-m", module, *arguments],
            env=dict(variables),
            stdin=stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        self._reader = threading.Thread(target=self._read, name=f"{self.name} output", daemon=True)
        self._reader.start()

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def status(self) -> int | None:
        """Exit status; None while it runs."""
        return self._process.poll()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for raw in self._process.stdout:
            line = raw.decode("utf-8", errors="replace").rstrip()
            self.last_lines.append(line)
            self._on_line(self.name, line)

    def wait(self, timeout_s: float) -> int | None:
        """Exit status, or None when it still runs after ``timeout_s``."""
        try:
            status = self._process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            return None
        self._reader.join(_TERMINATE_S)
        return status

    def interrupt(self) -> None:
        """Ask it to end as Ctrl-C does."""
        if self.status is None and not self._is_interrupted:
            self._is_interrupted = True
            self._process.send_signal(signal.SIGINT)

    def end(self) -> int:
        """End it, gently first; what a killed process leaves in shared memory is removed."""
        self.interrupt()
        status = self.wait(_INTERRUPT_S)
        if status is None:
            self._process.send_signal(signal.SIGTERM)
            status = self.wait(_TERMINATE_S)
        if status is not None:
            return status
        segments = segments_of(self.pid)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        status = self._process.wait()
        remove_unused_segments(segments)
        return status


class NodeGraph:
    """The nodes that one command or test started. Leaving the ``with`` block ends them all.

    ``on_line(node name, line)`` gets every line of output, in reader threads.
    """

    def __init__(
        self,
        *,
        domain_id: int | None = None,
        on_line: Callable[[str, str], None] = lambda _name, _line: None,
    ) -> None:
        self.variables = environment(domain_id)
        self.nodes: list[NodeProcess] = []
        self._on_line = on_line

    def __enter__(self) -> "NodeGraph":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.end()

    def start(
        self,
        node: str,
        parameters: Mapping[str, Any] | None = None,
        words: Sequence[str] = (),
        stdin: int | TextIO = subprocess.DEVNULL,
        **options: Any,
    ) -> NodeProcess:
        """Start ``tracevlm_ros.nodes.<node>`` with ``words`` in front of ROS's arguments;
        ``options`` are those of ``ros_arguments``."""
        arguments = [*words, *ros_arguments(parameters, **options)]
        process = NodeProcess(
            f"tracevlm_ros.nodes.{node}", arguments, self.variables, self._on_line, stdin
        )
        self.nodes.append(process)
        return process

    def require_running(self) -> None:
        """Raise NodeError naming a node that has ended with another status than 0."""
        for node in self.nodes:
            if node.status:
                raise NodeError(_failure(node))

    def wait_for(self, node: NodeProcess, timeout_s: float) -> None:
        """Wait until ``node`` ends well; NodeError when it, or another, fails or time is up."""
        limit_s = time.monotonic() + timeout_s
        while node.wait(0.1) is None:
            self.require_running()
            if time.monotonic() > limit_s:
                raise NodeError(f"{node.name} still runs after {timeout_s:.0f} s")
        self.require_running()

    def end(self) -> list[int]:
        """Interrupt all nodes, wait for them in the order of their start; their statuses."""
        for node in self.nodes:
            node.interrupt()
        return [node.end() for node in self.nodes]


def _failure(node: NodeProcess) -> str:
    tail = "\n".join(list(node.last_lines)[-20:])
    return f"{node.name} ended with status {node.status}; its last lines:\n{tail}"
