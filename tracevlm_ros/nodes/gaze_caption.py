"""The lifecycle node: images and gaze in, captions, masks and traces out.

configure loads and warms the engine, activate subscribes and starts, deactivate falls silent,
cleanup frees. The executor's thread only hands work over: the fast path, the slow path and the
overlay have a thread each, with queues that keep the newest and count what they drop.
"""

import functools
import sys
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import cv2
from diagnostic_msgs.msg import DiagnosticArray
from lifecycle_msgs.msg import State
from rclpy.clock import Clock, ClockType
from rclpy.lifecycle import LifecycleNode, LifecycleState, TransitionCallbackReturn

from engine.runtime import load_engine
from engine.runtime.plan_progress import BuildProgress
from tracevlm_ros.core.drops import Drops
from tracevlm_ros.core.engine import Engine
from tracevlm_ros.core.errors import TraceVLMError
from tracevlm_ros.nodes import params, qos
from tracevlm_ros.nodes.diagnostics import NodeState, diagnostics_message
from tracevlm_ros.nodes.gaze_calibration import load_gaze_calibration
from tracevlm_ros.nodes.heartbeat import Heartbeat, Pulse
from tracevlm_ros.nodes.pipeline_parameters import (
    judge_pipeline,
    pipeline_config,
    pipeline_specs,
)
from tracevlm_ros.nodes.presence import Presence
from tracevlm_ros.nodes.problems import Problems
from tracevlm_ros.nodes.session import Session
from tracevlm_ros.nodes.spin import StopRequest, run_node
from tracevlm_ros.nodes.stopwatch import Stopwatch
from tracevlm_ros.nodes.warm_up import Compilation, compile_in_background, warm_up

SCHEMA = Path(__file__).with_name("parameters.yaml")
DIAGNOSTICS_PERIOD_S = 1.0
SWITCH_INTERVAL_S = 0.0005
"""The fast path takes the interpreter's lock again after each call of OpenCV and of the engine;
Python's 5 ms would let the executor's thread keep it that long each time."""

_PRIMARY_STATES = (
    State.PRIMARY_STATE_UNCONFIGURED,
    State.PRIMARY_STATE_INACTIVE,
    State.PRIMARY_STATE_ACTIVE,
    State.PRIMARY_STATE_FINALIZED,
)

Transition = Callable[[Any, LifecycleState], TransitionCallbackReturn]


def reported(transition: Transition) -> Transition:
    """rclpy swallows what a transition raises; say it, and let error processing clean up."""

    @functools.wraps(transition)
    def wrapped(node: Any, state: LifecycleState) -> TransitionCallbackReturn:
        try:
            return transition(node, state)
        except Exception as error:
            node.get_logger().error(f"{transition.__name__}: {error!r}\n{traceback.format_exc()}")
            return TransitionCallbackReturn.ERROR

    return wrapped


class GazeCaption(LifecycleNode):  # type: ignore[misc]
    """One camera, one person. Topics are relative: run several in namespaces of their own."""

    def __init__(self, **node_options: Any) -> None:
        super().__init__("gaze_caption", **node_options)
        specs = params.load_schema(SCHEMA) + pipeline_specs()
        self.parameters = params.NodeParameters(
            self,
            specs,
            judges=(judge_pipeline,),
            configured=lambda: self._engine is not None,
            loaders={"gaze_calibration": load_gaze_calibration},
        )
        for name in self.parameters.unknown_overrides(self):
            self.get_logger().warning(f"parameter '{name}' is not known and has no effect")
        self.stopwatch = Stopwatch()
        self.problems = Problems(self.get_logger().warning)
        self.watch = qos.ConnectionWatch(self)
        self._presence = Presence(("image", "gaze"), self.get_logger().warning)
        self._engine: Engine | None = None
        self._engine_state = "not loaded"
        self._session: Session | None = None
        self._compilation: Compilation | None = None
        self._drops_before = Drops()
        self._diagnostics = self.create_publisher(DiagnosticArray, "/diagnostics", 10)
        self._wall = Clock(clock_type=ClockType.STEADY_TIME)
        self.create_timer(DIAGNOSTICS_PERIOD_S, self._report, clock=self._wall)
        self._heartbeat = Heartbeat(self, self._pulse, self.parameters["heartbeat_s"])
        self._autostart_timer = None
        if self.parameters["autostart"]:
            self._autostart_timer = self.create_timer(0.0, self._autostart, clock=self._wall)

    def _autostart(self) -> None:
        self.destroy_timer(self._autostart_timer)
        if self.trigger_configure() == TransitionCallbackReturn.SUCCESS:
            self.trigger_activate()

    def _pulse(self) -> Pulse:
        state_id, label = self._state_machine.current_state
        is_primary = state_id in _PRIMARY_STATES
        return Pulse(state_id, label, in_transition=not is_primary)

    # --- transitions -------------------------------------------------------------------------

    @reported
    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Load and warm the engine. A model that cannot be used is one line and FAILURE."""
        self._engine_state = "loading"
        self._report()
        try:
            config = pipeline_config(self.parameters.values())
            self._engine = load_engine(
                self.parameters["model"], self.parameters["backend"], self._show_build
            )
            self._engine_state = "warming up"
            self._report()
            warm_up(config, self._engine)
            self._compilation = self._compilation or compile_in_background()
            self._session = Session(self, self._engine, config)
        except TraceVLMError as error:
            self._free()
            self._engine_state = f"failed: {error}"
            self.get_logger().error(f"cannot configure: {error}")
            return TransitionCallbackReturn.FAILURE
        self._engine_state = "ready"
        info = self._engine.info
        self.get_logger().info(f"engine '{info.model_id}' is ready on {info.backend}")
        for note in info.notes:
            self.get_logger().warning(note)
        return super().on_configure(state)

    @reported
    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Subscribe and start the threads."""
        result = super().on_activate(state)
        self._the_session().start()
        self.get_logger().info("active: waiting for images and gaze")
        return result

    @reported
    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Unsubscribe and stop the threads; nothing is published after this returns."""
        self._the_session().stop()
        self._presence.forget()
        return super().on_deactivate(state)

    @reported
    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Free the engine and the publishers."""
        result = super().on_cleanup(state)
        self._free()
        return result

    @reported
    def on_shutdown(self, _state: LifecycleState) -> TransitionCallbackReturn:
        """Stop and free, from whatever state."""
        self._free()
        return TransitionCallbackReturn.SUCCESS

    @reported
    def on_error(self, _state: LifecycleState) -> TransitionCallbackReturn:
        """Free everything; the node is unconfigured afterwards and can be configured again."""
        self._free()
        return TransitionCallbackReturn.SUCCESS

    def _the_session(self) -> Session:
        assert self._session is not None, "the state machine activates configured nodes only"
        return self._session

    def _free(self) -> None:
        if self._session is not None:
            self._session.close()
            self._session = None
        if self._engine is not None:
            self._engine.close()
            self._engine = None
        self._engine_state = "not loaded"

    def close(self) -> None:
        """End of the process: stop the threads and free the engine."""
        if self._compilation is not None:
            self._compilation.end()
        self._heartbeat.close()
        self._free()

    def destroy_node(self) -> None:
        """Destroy at once: rclpy's state machine would hold the DDS participant, eleven threads,
        until Python collects its garbage. Again is nothing, as with any node."""
        super().destroy_node()
        if hasattr(self, "_state_machine"):
            del self._state_machine

    # --- diagnostics -------------------------------------------------------------------------

    def drops(self) -> Drops:
        """All drops so far, by reason."""
        return Drops() if self._session is None else self._session.drops()

    def _show_build(self, progress: BuildProgress) -> None:
        """Say each tenth of a graph that is compiled: it can take minutes."""
        state = (
            f"building {progress.graph} ({progress.number} of {progress.total}), "
            f"{int(progress.fraction * 10) * 10}%"
        )
        if state != self._engine_state:
            self._engine_state = state
            self._report()

    def _report(self) -> None:
        mismatches, new = self.watch.check()
        for mismatch in new:
            self.get_logger().warning(mismatch.text)
        if self._session is not None:
            self._session.flush_trace_file()
            if self._session.is_started:
                self._presence.look(self.stopwatch.totals())
                self._session.look_for_images(self._presence.is_gone("image"))
        drops = self.drops()
        info = None if self._engine is None else self._engine.info
        state = NodeState(
            lifecycle=self._state_machine.current_state[1],
            engine=self._engine_state,
            model_id="" if info is None else info.model_id,
            backend="" if info is None else info.backend,
            notes=() if info is None else info.notes,
            pending=0 if self._session is None else self._session.pending(),
            rates_hz=self.stopwatch.rates_hz(),
            totals=self.stopwatch.totals(),
            stages=self.stopwatch.percentiles(),
            drops=drops,
            drops_before=self._drops_before,
            mismatches=mismatches,
            drift_px=None if self._session is None else self._session.drift_px,
            attention=None if self._session is None else self._session.attention(),
        )
        self._drops_before = drops
        stamp = self.get_clock().now().to_msg()
        self._diagnostics.publish(
            diagnostics_message(self.get_fully_qualified_name(), state, stamp)
        )


def make(_stop: StopRequest, **node_options: Any) -> GazeCaption:
    """For ``run_node``: this node never asks to stop by itself."""
    return GazeCaption(**node_options)


def set_up_process() -> None:
    """Settings of the whole process for low latency; see SWITCH_INTERVAL_S. OpenCV gets one
    thread: its pool and the engine's would spin against each other."""
    cv2.setNumThreads(1)
    sys.setswitchinterval(SWITCH_INTERVAL_S)


def main(argv: Sequence[str] | None = None) -> int:
    set_up_process()
    return run_node(make, argv)


if __name__ == "__main__":
    sys.exit(main())
