"""The live graph as processes: a source, gaze_caption, a monitor and, if wanted, a recorder."""

import json
import sys
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tracevlm_ros.cli.processes import NodeError, NodeGraph, NodeProcess

OUTPUT_TOPICS = ("captions", "masks", "traces", "attention")
INPUT_TOPICS = ("image", "image/compressed", "camera_info", "gaze", "words")
_READY_S = 120.0
_IDLE_S = 120.0
_IDLE_REPORTS = 2


@dataclass(frozen=True, kw_only=True, slots=True)
class GraphOptions:
    """``parameters`` override those of ``params_file`` for gaze_caption. ``record`` names a new
    bag for ``record_topics`` (relative names are of the namespace)."""

    model: str = "nano"
    namespace: str = "tracevlm"
    params_file: Path | None = None
    parameters: Mapping[str, Any] = field(default_factory=dict)
    record: Path | None = None
    record_topics: tuple[str, ...] = OUTPUT_TOPICS
    use_sim_time: bool = False
    domain_id: int | None = None


def keep_all(namespace: str, waiting_frames: int = 1000) -> dict[str, Any]:
    """Parameters of gaze_caption that drop no frame and no gaze on the way to the pipeline."""
    prefix = f"/{namespace.strip('/')}".rstrip("/")
    parameters: dict[str, Any] = {"image_depth": waiting_frames, "max_gaze_wait_ms": 5000}
    for topic in ("image", "image/compressed", "gaze"):
        parameters[f"qos_overrides.{prefix}/{topic}.subscription.reliability"] = "reliable"
    return parameters


class Watcher:
    """Follows the monitor's lines: captions to ``on_caption``, the newest diagnostics kept."""

    def __init__(
        self,
        on_caption: Callable[[dict[str, Any]], None],
        on_log: Callable[[str, str], None],
    ) -> None:
        self._on_caption = on_caption
        self._on_log = on_log
        self._changed = threading.Condition()
        self._reports = 0
        self.diagnostics: dict[str, dict[str, Any]] = {}

    def line(self, node: str, line: str) -> None:
        """Take one line of any node's output; called in reader threads."""
        if node != "monitor" or not line.startswith("{"):
            self._on_log(node, line)
            return
        record = json.loads(line)
        if "caption" in record:
            self._on_caption(record["caption"])
        with self._changed:
            if "diagnostics" in record:
                self.diagnostics.update(record["diagnostics"])
                self._reports += 1
            self._changed.notify_all()

    def wait_for(self, done: Callable[[], bool], timeout_s: float, what: str) -> None:
        """Wait until ``done`` holds, looking at every line; NodeError when time is up."""
        with self._changed:
            if not self._changed.wait_for(done, timeout_s):
                raise NodeError(f"{what} did not happen within {timeout_s:.0f} s")

    @property
    def engine_state(self) -> str:
        """``ready``, ``loading``, ``failed: why`` ...; empty before the first report."""
        return str(self.diagnostics.get("engine", {}).get("state", ""))

    @property
    def lifecycle(self) -> str:
        """State of the lifecycle node; empty before the first report."""
        return str(self.diagnostics.get("engine", {}).get("lifecycle", ""))

    def wait_until_active(self) -> None:
        """Until gaze_caption is active; NodeError with its reason when it cannot."""

        def decided() -> bool:
            return self.lifecycle == "active" or self.engine_state.startswith("failed")

        self.wait_for(decided, _READY_S, "activation of gaze_caption")
        if self.engine_state.startswith("failed"):
            raise NodeError(f"gaze_caption {self.engine_state}")

    def wait_until_idle(self) -> None:
        """Until gaze_caption has nothing left to do, in two reports running."""
        for _ in range(_IDLE_REPORTS):
            self._wait_for_report_without_work()

    def _wait_for_report_without_work(self) -> None:
        before = self._reports

        def is_idle() -> bool:
            pending = self.diagnostics.get("input", {}).get("pending")
            return self._reports > before and pending == "0"

        self.wait_for(is_idle, _IDLE_S, "the end of gaze_caption's work")

    def summary(self) -> str:
        """One line of the last diagnostics: frames, captions, latency, drops."""
        totals = self.diagnostics.get("input", {})
        latency = self.diagnostics.get("latency", {}).get("message", "")
        drops = {
            reason: count
            for reason, count in self.diagnostics.get("drops", {}).items()
            if reason not in ("message", "level")
        }
        dropped = ", ".join(f"{reason} {count}" for reason, count in drops.items()) or "nothing"
        return (
            f"{totals.get('image_total', 0)} images in, {totals.get('masks_total', 0)} masks and "
            f"{totals.get('captions_total', 0)} captions out, {latency}; dropped: {dropped}"
        )


class LiveGraph:
    """Started on construction; ``play`` runs a source through it. Use as a context manager."""

    def __init__(
        self,
        options: GraphOptions,
        on_caption: Callable[[dict[str, Any]], None],
        on_log: Callable[[str, str], None],
    ) -> None:
        self.options = options
        self.watcher = Watcher(on_caption, on_log)
        self.graph = NodeGraph(domain_id=options.domain_id, on_line=self.watcher.line)
        self._recorder: NodeProcess | None = None
        try:
            self._start()
        except BaseException:
            self.graph.end()
            raise

    def _start(self) -> None:
        options = self.options
        clock = {"use_sim_time": options.use_sim_time}
        self.graph.start("monitor", namespace=options.namespace)
        if options.record is not None:
            topics = ",".join(options.record_topics)
            self._recorder = self.graph.start(
                "recorder",
                {"bag": options.record, "topics": topics, **clock},
                namespace=options.namespace,
            )
        self.graph.start(
            "gaze_caption",
            {"autostart": True, "model": options.model, **clock, **options.parameters},
            namespace=options.namespace,
            params_file=options.params_file,
        )

    def __enter__(self) -> "LiveGraph":
        return self

    def __exit__(self, *_error: object) -> None:
        self.graph.end()

    def play(self, node: str, parameters: Mapping[str, Any], **ros: Any) -> None:
        """Run the source ``node`` to its end, then wait until everything is described."""
        self.watcher.wait_until_active()
        source = self.graph.start(node, parameters, namespace=self.options.namespace, **ros)
        while source.wait(0.2) is None:
            self.graph.require_running()
        self.graph.require_running()
        self.watcher.wait_until_idle()

    def finish(self) -> None:
        """End all nodes in order; NodeError when one did not end well."""
        statuses = self.graph.end()
        for process, status in zip(self.graph.nodes, statuses, strict=True):
            if status:
                raise NodeError(f"{process.name} ended with status {status}")


def print_caption(caption: Mapping[str, Any]) -> None:
    """One line for a final caption; partial ones are not shown."""
    if caption["is_final"]:
        second = caption["stamp_ns"] / 1e9
        sys.stdout.write(
            f"{second:.3f}  trace {caption['trace_id']:>3}  {caption['text']}  "
            f"({caption['score']:.2f})\n"
        )
        sys.stdout.flush()


def print_log(node: str, line: str) -> None:
    """Node output to standard error, so that captions stay readable."""
    sys.stderr.write(f"[{node}] {line}\n")
