"""Run one node as a process: executor in its own thread, clean end on SIGINT and SIGTERM."""

import contextlib
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Sequence
from typing import Protocol, cast

import rclpy
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.signals import SignalHandlerOptions
from rclpy.task import Future

from tracevlm_ros.core.errors import TraceVLMError

SAME_REQUEST_S = 1.0


class Closable(Protocol):
    """A node that has work to finish before it is destroyed."""

    def close(self) -> None: ...


class StopRequest(threading.Event):
    """Set by a signal, or by a node that has finished; ``status`` becomes the exit status.

    ``told`` is called whenever it is set, by whoever sets it.
    """

    def __init__(self, told: Callable[[], None] = lambda: None) -> None:
        super().__init__()
        self.status = 0
        self._told = told

    def set(self) -> None:
        super().set()
        self._told()

    def fail(self, status: int = 1) -> None:
        """Ask to stop with a status that tells of failure."""
        self.status = status
        self.set()


Make = Callable[[StopRequest], Node]


class ExecutorThread:
    """Serves ``node`` by an executor in a thread of its own, from construction to ``end``.

    rclpy's ``shutdown`` destroys the guard condition that wakes the executor while its thread may
    still use it: between two waits the thread then waits for ever. A process that is told to end
    just after it said something, as ``monitor`` is, is always there. Here the guard condition
    lives until the thread has ended.
    """

    def __init__(self, node: Node, on_error: Callable[[Exception], None], name: str) -> None:
        self._on_error = on_error
        self._end: Future[None] = Future()
        self._executor = SingleThreadedExecutor(context=node.context)
        self._executor.add_node(node)
        self._thread = threading.Thread(target=self._spin, name=name, daemon=True)
        self._thread.start()

    def end(self) -> None:
        """Let the callback in progress finish and serve no more."""
        self._end.set_result(None)
        self._thread.join()
        self._executor.shutdown()

    def _spin(self) -> None:
        with contextlib.suppress(rclpy.executors.ExternalShutdownException):
            try:
                self._executor.spin_until_future_complete(self._end)
            except Exception as error:
                self._on_error(error)


class ServedNode:
    """A node with an executor and a thread of its own, from construction to ``end``.

    A TraceVLMError while building it passes through. No callback runs any more when the node is
    closed: an executor fails when what it is about to wait for is destroyed by another thread.
    """

    def __init__(self, make: Make, stop: StopRequest) -> None:
        self.stop = stop
        self.node = make(stop)
        self._thread = ExecutorThread(self.node, self._fail, "executor")

    def end(self) -> None:
        """``close`` the node, where it has that, while ROS still works; then destroy it."""
        self._thread.end()
        try:
            if hasattr(self.node, "close"):
                cast(Closable, self.node).close()
        finally:
            self.node.destroy_node()

    def _fail(self, error: Exception) -> None:
        """A callback that raises is a bug of ours: say where, and end with status 1."""
        text = "".join(traceback.format_exception(error))
        self.node.get_logger().fatal(f"{error!r}\n{text}")
        self.stop.fail()


def run_node(make: Make, argv: Sequence[str] | None = None) -> int:
    """Build a node with ``make`` and serve it until it asks to stop, or a signal does.

    ``close`` of the node, where it has one, runs while ROS still works: workers end, files close.
    A signal that comes again (``StopSignals``) kills. A TraceVLMError while building becomes one
    line and exit status 1.
    """
    stop = StopRequest()

    def serve() -> int:
        served = ServedNode(make, stop)
        stop.wait()
        served.end()
        return stop.status

    return run_with_ros(serve, stop.set, argv)


def run_with_ros(
    serve: Callable[[], int], stop: Callable[[], None], argv: Sequence[str] | None
) -> int:
    """Run ``serve`` between ROS's beginning and end; ``stop`` is called on SIGINT and SIGTERM.

    ROS arguments that cannot be read are one line and exit status 1.
    """
    _stop_on_signals(stop)
    try:
        rclpy.init(
            args=list(sys.argv if argv is None else argv),
            signal_handler_options=SignalHandlerOptions.NO,
        )
    except RuntimeError as error:  # RCLError, which rclpy does not export
        reason = str(error).partition(", at /")[0]  # a place in rcl's sources
        print(f"[ERROR] [tracevlm]: ROS cannot start: {reason}", file=sys.stderr, flush=True)
        return 1
    try:
        return serve()
    except TraceVLMError as error:
        rclpy.logging.get_logger("tracevlm").error(str(error))
        return 1
    finally:
        rclpy.try_shutdown()


class StopSignals:
    """The handler of SIGINT and SIGTERM: the first of each calls ``stop``, a later one kills.

    A terminal and systemd signal all processes at once, and a launcher passes on what it got: what
    comes again within ``SAME_REQUEST_S`` is the same request and kills no node that closes its bag.
    """

    def __init__(
        self,
        stop: Callable[[], None],
        now_s: Callable[[], float] = time.monotonic,
        kill: Callable[[int], None] = signal.raise_signal,
    ) -> None:
        self._stop = stop
        self._now_s = now_s
        self._kill = kill
        self._first_s: dict[int, float] = {}

    def __call__(self, number: int, _frame: object) -> None:
        first_s = self._first_s.setdefault(number, self._now_s())
        if self._now_s() - first_s < SAME_REQUEST_S:
            self._stop()
            return
        signal.signal(number, signal.SIG_DFL)
        self._kill(number)


def _stop_on_signals(stop: Callable[[], None]) -> None:
    handler = StopSignals(stop)
    signal.signal(signal.SIGINT, handler)
    signal.signal(signal.SIGTERM, handler)
