"""What a configured node owns: pipeline, threads, publishers; and, while active, subscriptions."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

from rclpy.lifecycle import LifecycleNode

from tracevlm_ros.core.attention.ledger import NewestAttention
from tracevlm_ros.core.config import PipelineConfig
from tracevlm_ros.core.drops import Drops
from tracevlm_ros.core.engine import Engine
from tracevlm_ros.core.live_traces import NS_PER_MS
from tracevlm_ros.core.pipeline import Pipeline, StepResult
from tracevlm_ros.core.slow_path import DescribeRequest, LocateRequest
from tracevlm_ros.core.types import Caption, Description
from tracevlm_ros.nodes import convert
from tracevlm_ros.nodes.arrival import Arrival, Question, Search
from tracevlm_ros.nodes.ask import Questions
from tracevlm_ros.nodes.beside import BesideThreads
from tracevlm_ros.nodes.describer import Describer, Job, SearchJob
from tracevlm_ros.nodes.fast_intake import FastLimits
from tracevlm_ros.nodes.fast_path import FastPath
from tracevlm_ros.nodes.gaze_calibration import load_gaze_calibration
from tracevlm_ros.nodes.inputs import Inputs
from tracevlm_ros.nodes.outputs import Outputs
from tracevlm_ros.nodes.params import NodeParameters
from tracevlm_ros.nodes.pipeline_parameters import pipeline_config
from tracevlm_ros.nodes.problems import Problems
from tracevlm_ros.nodes.qos import ConnectionWatch
from tracevlm_ros.nodes.stopwatch import Stopwatch
from tracevlm_ros.nodes.timed_engine import TimedEngine
from tracevlm_ros.nodes.trace_file import TraceFile


class Host(Protocol):
    """The node as a session needs it; it is also a LifecycleNode."""

    parameters: NodeParameters
    stopwatch: Stopwatch
    problems: Problems
    watch: ConnectionWatch


class Session:
    """Wires the two paths together: FastSink and SlowSink in one."""

    def __init__(self, node: Any, engine: Engine, config: PipelineConfig) -> None:
        assert isinstance(node, LifecycleNode)
        self._node = node
        host: Host = node
        mapping = load_gaze_calibration(host.parameters["gaze_calibration"])
        path = host.parameters["trace_file"]
        self._trace_file = (
            TraceFile(Path(path), node.get_fully_qualified_name(), host.problems) if path else None
        )
        host.stopwatch.listener = self._trace_file
        self._engine = engine
        self._beside = BesideThreads()
        self._pipeline = Pipeline(
            config, TimedEngine(engine, host.stopwatch), mapping, self._beside
        )
        self.outputs = Outputs(
            node, self._pipeline, host.parameters, host.watch, host.stopwatch, host.problems
        )
        self.fast_path = FastPath(
            self._pipeline,
            self,
            convert.frame_of,
            FastLimits(host.parameters["image_depth"], host.parameters["gaze_depth"]),
            lambda: host.parameters["max_gaze_wait_ms"] / 1e3,
            host.stopwatch,
            host.problems,
        )
        self.describer = Describer(
            engine,
            self,
            host.parameters["describe_depth"],
            host.stopwatch,
            host.problems,
            stale_after_ns=_stale_after_ns(config),
        )
        host.parameters.when_changed("gaze_calibration", self.fast_path.offer_gaze_mapping)
        host.parameters.follow(self._change)
        self._workers = (self.fast_path, self.describer, self.outputs.painter)
        self._inputs: Inputs | None = None
        self._ask: Questions | None = None

    def _change(self, values: Mapping[str, Any]) -> None:
        """Parameters were changed: the fast path goes on with those of the pipeline."""
        config = pipeline_config(values)
        self.describer.stale_after_ns = _stale_after_ns(config)
        self.fast_path.offer_config(config)

    def start(self) -> None:
        """Begin anew: earlier traces are forgotten, their ids are not used again."""
        self.fast_path.clear()
        self.describer.clear()
        for worker in self._workers:
            worker.start()
        host: Host = self._node
        self._inputs = Inputs(
            self._node, self.fast_path, host.parameters, host.watch, host.stopwatch
        )

        self._ask = Questions(
            self._node,
            self._engine,
            self.fast_path.offer_question,
            self._inputs.arrival,
            self.outputs.caption_message,
            host.parameters["ask_timeout_s"],
        )

    def stop(self) -> None:
        """Unsubscribe, then end the threads. Harmless when not started."""
        if self._ask is not None:
            self._ask.close()
            self._ask = None
        if self._inputs is not None:
            self._inputs.destroy()
            self._inputs = None
        for worker in self._workers:
            worker.stop()

    def close(self) -> None:
        """Stop and take everything off the graph."""
        host: Host = self._node
        host.parameters.when_changed("gaze_calibration", None)
        host.parameters.follow(None)
        self.stop()
        self._beside.close()
        self.outputs.destroy()
        host.stopwatch.listener = None
        if self._trace_file is not None:
            self._trace_file.close()

    def flush_trace_file(self) -> None:
        """So that a kill loses little of it; harmless when there is none."""
        if self._trace_file is not None:
            self._trace_file.flush()

    @property
    def is_started(self) -> bool:
        return self._inputs is not None

    def look_for_images(self, is_gone: bool) -> None:
        """While images are gone, take them from whichever transport they come back on."""
        if is_gone and self._inputs is not None:
            self._inputs.listen_for_images()

    def pending(self) -> int:
        """Work that is still on its way through both paths; 0 when the node is idle."""
        return self.fast_path.pending() + self.describer.pending()

    @property
    def drift_px(self) -> tuple[float, float] | None:
        """What is added to gaze against drift, x and y; None where that is off."""
        return self.fast_path.drift_px if self._pipeline.config.drift.enabled else None

    def drops(self) -> Drops:
        """Of every queue and of the pipeline."""
        counts = self.fast_path.drops()
        for worker in (self.describer, self.outputs.painter):
            counts.update(worker.inbox.drops_now())
        return counts

    def attention(self) -> NewestAttention:
        """How long the newest traces were looked at, and in which order."""
        return self.fast_path.attention()

    # --- FastSink, SlowSink ------------------------------------------------------------------

    def step_done(self, step: StepResult, arrival: Arrival) -> None:
        self.outputs.step_done(step, arrival)

    def describe_wanted(
        self, request: DescribeRequest, arrival: Arrival, question: Question | None
    ) -> None:
        self.describer.offer(Job(request, arrival, question))

    def locate_wanted(self, request: LocateRequest, search: Search) -> None:
        self.describer.offer(SearchJob(request, search))

    def caption_written(self, caption: Caption, job: Job) -> None:
        self.outputs.caption_written(caption, job.arrival)

    def description_done(self, request: DescribeRequest, description: Description) -> None:
        self.fast_path.deliver(request, description)


def _stale_after_ns(config: PipelineConfig) -> int:
    """Age at which a description comes too late for its mask."""
    return int(config.live.embedding_delay_ms * NS_PER_MS)
