"""Pay every first-call cost (kernels, compiled loops, thread pools) before the first real frame."""

import subprocess
import sys
import threading

import numpy as np

from tracevlm_ros.core import simplify
from tracevlm_ros.core.config import PipelineConfig
from tracevlm_ros.core.engine import Engine
from tracevlm_ros.core.pipeline import Pipeline
from tracevlm_ros.core.slow_path import describe
from tracevlm_ros.core.types import Frame, GazeSample

_COMPILE = "from tracevlm_ros.core import simplify; simplify.warm_up()"
_FRAMES = 8
_FRAME_NS = 33_000_000
_GAZE_PER_FRAME = 8
_SIZE_HW = (360, 640)


class Compilation:
    """Makes numba's kernels ready for long traces; numpy serves until then.

    Compiling takes some ten seconds the first time on a machine. A process of its own does it,
    which can be ended at any moment; a thread could not. What it leaves in numba's cache is then
    loaded here, in about a second (where numba has no writable cache, it is compiled once more).
    """

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-c", _COMPILE],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        self._thread = threading.Thread(target=self._load, name="compile")
        self._thread.start()

    def _load(self) -> None:
        if self._process.wait() == 0:
            simplify.warm_up()

    def end(self) -> None:
        """Give up what is not ready yet. Harmless when it is."""
        self._process.terminate()
        self._thread.join()


def compile_in_background() -> Compilation | None:
    """Begin where it is of use: None without numba, and where the kernels serve already."""
    return Compilation() if simplify.has_numba() and not simplify.is_warm() else None


def warm_up(config: PipelineConfig, engine: Engine) -> int:
    """Run a still scene with a steady gaze through a pipeline of its own, until a mask is made.

    Returns how many descriptions were written. Raises what the engine raises.
    """
    pipeline = Pipeline(config, engine)
    noise = np.random.default_rng(0).integers(0, 255, (*_SIZE_HW, 3), dtype=np.uint8)
    described = 0
    for index in range(1, _FRAMES + 1):
        stamp_ns = index * _FRAME_NS
        for part in range(_GAZE_PER_FRAME):
            offset_ns = (part - _GAZE_PER_FRAME + 1) * _FRAME_NS // _GAZE_PER_FRAME
            pipeline.add_gaze(GazeSample(stamp_ns + offset_ns, 320.0 + part % 2, 180.0))
        pipeline.add_frame(Frame(stamp_ns, noise))
        pipeline.flush()
        while pipeline.step() is not None:
            for request in pipeline.requests():
                for _, part_said in describe(engine, request):
                    if part_said.is_final:
                        pipeline.deliver(request, part_said)
                        described += 1
    return described
