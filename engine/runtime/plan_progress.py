"""How far a build is: TensorRT's nested phases as one fraction that never falls."""

import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple


class BuildProgress(NamedTuple):
    """``graph`` is number ``number`` of ``total`` (from 1); ``fraction`` 0..1 of this graph."""

    graph: str
    number: int
    total: int
    phase: str
    fraction: float


OnProgress = Callable[[BuildProgress], None]


def ignore_progress(_progress: BuildProgress) -> None:
    """For callers that do not watch."""


@dataclass
class _Phase:
    parent: str | None
    steps: int
    done: int = 0


class PhaseTree:
    """Phases by name, as ``IProgressMonitor`` tells them; a parent counts its child's part."""

    def __init__(self) -> None:
        self._phases: dict[str, _Phase] = {}
        self._highest = 0.0

    def start(self, name: str, parent: str | None, steps: int) -> None:
        self._phases[name] = _Phase(None if parent == name else parent, max(steps, 1))

    def step(self, name: str, number: int) -> None:
        """Step ``number`` (from 0) of ``name`` is done; an unknown phase is no error."""
        if name in self._phases:
            self._phases[name].done = number + 1

    def finish(self, name: str) -> None:
        self._phases.pop(name, None)

    def fraction(self) -> float:
        """0..1, never less than before."""
        roots = [name for name, phase in self._phases.items() if phase.parent not in self._phases]
        found = max((self._part(name) for name in roots), default=0.0)
        self._highest = max(self._highest, min(found, 1.0))
        return self._highest

    def _part(self, name: str) -> float:
        phase = self._phases[name]
        children = [child for child, item in self._phases.items() if item.parent == name]
        inside = sum(self._part(child) for child in children) / max(len(children), 1)
        return min((phase.done + inside) / phase.steps, 1.0)


def make_monitor(
    module: Any, report: Callable[[str, float], None], cancelled: Callable[[], bool]
) -> Any:
    """A TensorRT progress monitor; None where this release has none (older than 8.6).

    ``report`` gets the phase and the fraction, from any of the library's threads but from one at a
    time. An exception in it, or ``cancelled()``, ends the
    build; the exception is kept in ``problem``, since none may cross the library's C++ code.
    """
    if not hasattr(module, "IProgressMonitor"):
        return None

    class Monitor(module.IProgressMonitor):  # type: ignore[misc]
        def __init__(self) -> None:
            module.IProgressMonitor.__init__(self)
            self.problem: BaseException | None = None
            self._tree = PhaseTree()
            self._lock = threading.Lock()

        def phase_start(self, phase_name: str, parent_phase: str | None, num_steps: int) -> None:
            with self._lock:
                self._tree.start(phase_name, parent_phase, num_steps)
                self._report(phase_name)

        def step_complete(self, phase_name: str, step: int) -> bool:
            with self._lock:
                self._tree.step(phase_name, step)
                return self._report(phase_name)

        def phase_finish(self, phase_name: str) -> None:
            with self._lock:
                self._tree.finish(phase_name)

        def _report(self, phase_name: str) -> bool:
            try:
                report(phase_name, self._tree.fraction())
                return self.problem is None and not cancelled()
            except BaseException as error:
                self.problem = error
                return False

    return Monitor()
