"""Run one node as a process: executor in its own thread, clean end on SIGINT and SIGTERM."""

import contextlib
import signal
import sys
import threading
from collections.abc import Callable, Sequence
from typing import Protocol, cast

import rclpy
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.signals import SignalHandlerOptions

from tracevlm_ros.core.errors import TraceVLMError


class Closable(Protocol):
    """A node that has work to finish before it is destroyed."""

    def close(self) -> None: ...


class StopRequest(threading.Event):
    """Set by a signal, or by a node that has finished; ``status`` becomes the exit status."""

    status: int = 0

    def fail(self, status: int = 1) -> None:
        """Ask to stop with a status that tells of failure."""
        self.status = status
        self.set()


def run_node(make: Callable[[StopRequest], Node], argv: Sequence[str] | None = None) -> int:
    """Build a node with ``make`` and serve it until it asks to stop, or a signal does.

    ``close`` of the node, where it has one, runs while ROS still works: workers end, files close.
    A second signal kills. A TraceVLMError while building becomes one line and exit status 1.
    """
    stop = StopRequest()
    _stop_on_signals(stop)
    rclpy.init(
        args=list(sys.argv if argv is None else argv),
        signal_handler_options=SignalHandlerOptions.NO,
    )
    try:
        return _serve(make, stop)
    except TraceVLMError as error:
        rclpy.logging.get_logger("tracevlm").error(str(error))
        return 1
    finally:
        rclpy.try_shutdown()


def _stop_on_signals(stop: StopRequest) -> None:
    def handle(number: int, _frame: object) -> None:
        signal.signal(number, signal.SIG_DFL)
        stop.set()

    signal.signal(signal.SIGINT, handle)
    signal.signal(signal.SIGTERM, handle)


def _serve(make: Callable[[StopRequest], Node], stop: StopRequest) -> int:
    node = make(stop)
    executor = SingleThreadedExecutor()
    executor.add_node(node)
    spinner = threading.Thread(target=_spin, args=(executor, node, stop), name="executor")
    spinner.start()
    try:
        stop.wait()
        if hasattr(node, "close"):
            cast(Closable, node).close()
    finally:
        executor.shutdown()
        spinner.join()
        node.destroy_node()
    return stop.status


def _spin(executor: SingleThreadedExecutor, node: Node, stop: StopRequest) -> None:
    """A callback that raises is a bug of ours: say where, and end the process with status 1."""
    with contextlib.suppress(rclpy.executors.ExternalShutdownException):
        try:
            executor.spin()
        except Exception as error:
            import traceback

            node.get_logger().fatal(f"{error!r}\n{traceback.format_exc()}")
            stop.fail()
