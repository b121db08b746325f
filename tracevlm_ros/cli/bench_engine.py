"""Speed and memory of a model directory on this machine: fast path, captions, load.

The fast path is encode, ground and segment of one 640x480 frame with --traces traces. A caption is
forced to --tokens words, then [SEG], the codebook pass and the mask of that trace, so that models
that say more or less can be compared. With several traces, captions of all of them are also timed
one after the other and together, in turns. Times are wall time in milliseconds: median, tenth and
ninetieth percentile. Load and memory are those of a fresh process that gives one mask and caption.
"""

import argparse
import contextlib
import json
import os
import platform
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from engine.contract import CODEBOOK_TOKENS
from engine.runtime.loading import BACKENDS, LoadedBackend, load_backend, model_directory
from engine.runtime.manifest import Manifest, read_manifest
from engine.runtime.model_engine import ModelEngine
from engine.runtime.priority import give_way
from engine.runtime.prompting import open_prompting
from tracevlm_ros.cli.forced_length import ForcedLength
from tracevlm_ros.core.engine import TracePrompt, TraceQuestion
from tracevlm_ros.core.errors import ConfigError, EngineError
from tracevlm_ros.core.types import Image

FRAME_HW = (480, 640)
KEYPOINTS = 12
GOALS = {
    "fast_path_fps": 40.0,
    "fast_path_describing_fps": 25.0,
    "fast_path_busy_core_fps": 15.0,
    "caption_median_ms": 100.0,
    "first_result_s": 2.0,
    "rss_mb": 400.0,
}
TIMED = (
    "fast_path",
    "fast_path_describing",
    "fast_path_busy_core",
    "caption",
    "captions_in_turn",
    "captions_together",
)
_FIRST_RESULT = """
import json, resource, sys, time
start = time.perf_counter()
import numpy as np
from engine.runtime import load_engine
from tracevlm_ros.core.engine import TracePrompt
engine = load_engine(sys.argv[1], sys.argv[2])
loaded = time.perf_counter()
one = TracePrompt(np.full((1, 2), 0.5), np.zeros(1), np.zeros(1, dtype=bool))
grounded = engine.ground(engine.encode(np.zeros((480, 640, 3), np.uint8)), [one])
for part in engine.describe(grounded, 0):
    pass
engine.segment(grounded, [part.seg_embeddings])
done = time.perf_counter()
peak_kb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print(json.dumps({"load_s": round(loaded - start, 3), "first_result_s": round(done - start, 3),
                  "rss_mb": round(peak_kb / 1024, 1)}))
"""


class Spread(NamedTuple):
    """Milliseconds."""

    median_ms: float
    p10_ms: float
    p90_ms: float


class Subject(NamedTuple):
    """What is measured."""

    engine: ModelEngine
    precision: str
    forced: ForcedLength
    image_rgb: Image
    prompts: list[TracePrompt]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--model", default="nano", help="'nano' or a model directory")
    parser.add_argument("--backend", default="auto", choices=BACKENDS)
    parser.add_argument("--traces", type=int, default=1, help="traces per frame")
    parser.add_argument("--tokens", type=int, default=20, help="words of a caption")
    parser.add_argument("--frames", type=int, default=100, help="frames per measurement")
    parser.add_argument("--busy-core", action="store_true", help="also with one core kept busy")
    parser.add_argument("--json", action="store_true", help="print machine-readable results")


def run(arguments: argparse.Namespace) -> int:
    """Measure and print; 0 whatever the figures are."""
    for name in ("traces", "tokens", "frames"):
        if getattr(arguments, name) < 1:
            raise ConfigError(f"--{name} is {getattr(arguments, name)}; it must be at least 1")
    directory = model_directory(arguments.model)
    first = first_result(directory, arguments.backend)
    subject = open_subject(directory, arguments.backend, arguments.traces, arguments.tokens)
    results = {**about(subject), **first, **measure(subject, arguments.frames)}
    if arguments.busy_core:
        with busy_core():
            results["fast_path_busy_core"] = with_fps(fast_path(subject), arguments.frames)
    subject.engine.close()
    results["goals"] = GOALS
    print(json.dumps(results, indent=2) if arguments.json else as_text(results))
    return 0


def open_subject(directory: Path, backend: str, traces: int, tokens: int) -> Subject:
    """Load a model whose captions have ``tokens`` words."""
    manifest = read_manifest(directory)
    return subject_of(manifest, load_backend(manifest, backend), traces, tokens)


def subject_of(manifest: Manifest, loaded: LoadedBackend, traces: int, tokens: int) -> Subject:
    """The engine over graphs that are open already; it closes them."""
    if tokens >= manifest.max_new_tokens:
        raise ConfigError(
            f"--tokens is {tokens}; this model says at most {manifest.max_new_tokens - 1} and [SEG]"
        )
    prompting = open_prompting(manifest)
    word_id = int(prompting.encode("a")[0])
    forced = ForcedLength(loaded.backend, tokens, word_id, prompting.seg)
    engine = ModelEngine(manifest, forced, loaded.notes)
    engine.warm_up()
    random = np.random.default_rng(0)
    image = random.integers(0, 256, (*FRAME_HW, 3), dtype=np.uint8)
    keypoints = min(KEYPOINTS, engine.info.max_keypoints)
    prompts = [
        TracePrompt(
            random.random((keypoints, 2)), np.full(keypoints, 0.05), np.zeros(keypoints, np.bool_)
        )
        for _ in range(traces)
    ]
    return Subject(engine, manifest.precision, forced, image, prompts)


def about(subject: Subject) -> dict[str, Any]:
    info = subject.engine.info
    return {
        "model": info.model_id,
        "backend": info.backend,
        "precision": subject.precision,
        "notes": list(info.notes),
        "image_size_hw": list(info.image_size_hw),
        "traces": len(subject.prompts),
        "machine": {
            "processor": platform.processor() or platform.machine(),
            "cores": os.cpu_count(),
            "load_average": [round(value, 2) for value in os.getloadavg()],
            "python": platform.python_version(),
        },
    }


def measure(subject: Subject, frames: int) -> dict[str, Any]:
    """Fast path alone, captions alone, and the fast path beside captions without pause."""
    caption_ms = repeat(caption(subject), max(frames // 4, 3))
    results = {
        "fast_path": with_fps(fast_path(subject), frames),
        "caption": {**spread(caption_ms)._asdict(), "tokens": subject.forced.words},
        **captions_of_all(subject, max(frames // 4, 3)),
    }
    frame = fast_path(subject)
    with describing(subject) as told:
        beside = with_fps(frame, frames)
        results["fast_path_describing"] = {**beside, "captions": told()}
    return results


def fast_path(subject: Subject) -> Callable[[], None]:
    """One frame of the fast path."""
    engine, image, prompts = subject.engine, subject.image_rgb, subject.prompts
    grounded = engine.ground(engine.encode(image), prompts)
    subject.forced.begin()
    *_, last = engine.describe(grounded, 0)
    if last.seg_embeddings is None or last.seg_embeddings.shape[0] != CODEBOOK_TOKENS:
        raise EngineError("the model gave no segmentation embeddings after [SEG]; re-export it")
    embeddings = [last.seg_embeddings] * len(prompts)

    def frame() -> None:
        engine.segment(engine.ground(engine.encode(image), prompts), embeddings)

    return frame


def caption(subject: Subject) -> Callable[[], None]:
    """The caption of one trace of a frame that is already grounded, and its mask."""
    engine = subject.engine
    features = engine.encode(subject.image_rgb)

    def describe() -> None:
        grounded = engine.ground(features, subject.prompts[:1])
        subject.forced.begin()
        *_, last = engine.describe(grounded, 0)
        engine.segment(grounded, [last.seg_embeddings])

    return describe


def captions_of_all(subject: Subject, times: int) -> dict[str, Any]:
    """Captions of all traces of one frame, one after the other and together, in turns; nothing for
    one trace."""
    engine, count = subject.engine, len(subject.prompts)
    if count == 1:
        return {}
    features = engine.encode(subject.image_rgb)

    def in_turn() -> None:
        grounded = engine.ground(features, subject.prompts)
        for index in range(count):
            subject.forced.begin()
            *_, _ = engine.describe(grounded, index)

    def together() -> None:
        grounded = engine.ground(features, subject.prompts)
        subject.forced.begin(count)
        *_, _ = engine.describe_together([TraceQuestion(grounded, i) for i in range(count)])

    if count > engine.info.max_answers:
        return {"captions_in_turn": spread(repeat(in_turn, times))._asdict()}
    found: dict[str, list[float]] = {"captions_in_turn": [], "captions_together": []}
    for _ in range(times):
        for name, call in (("captions_in_turn", in_turn), ("captions_together", together)):
            start = time.perf_counter()
            call()
            found[name].append((time.perf_counter() - start) * 1e3)
    return {name: spread(times_ms)._asdict() for name, times_ms in found.items()}


@contextlib.contextmanager
def describing(subject: Subject) -> Iterator[Callable[[], int]]:
    """Captions without pause in another thread; gives a function that counts them."""
    engine, stop, told = subject.engine, threading.Event(), [0]
    grounded = engine.ground(engine.encode(subject.image_rgb), subject.prompts)

    def describe_on() -> None:
        give_way()
        while not stop.is_set():
            grounded.prefixes.clear()
            subject.forced.begin()
            for _ in engine.describe(grounded, 0, cancelled=stop.is_set):
                pass
            told[0] += 1

    thread = threading.Thread(target=describe_on)
    thread.start()
    try:
        yield lambda: told[0]
    finally:
        stop.set()
        thread.join()


@contextlib.contextmanager
def busy_core() -> Iterator[None]:
    """Another process that never rests."""
    with subprocess.Popen([sys.executable, "-c", "while True: pass"]) as process:
        try:
            yield
        finally:
            process.kill()


def first_result(directory: Path, backend: str) -> dict[str, float]:
    """Seconds from the imports to the first mask and caption in a fresh process, and its memory."""
    done = subprocess.run(
        [sys.executable, "-c", _FIRST_RESULT, str(directory.resolve()), backend],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(entry or "." for entry in sys.path)},
    )
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["it said nothing"])[-1]
        raise EngineError(f"{directory} gave no first result: {last}; run `tracevlm doctor`")
    return dict(json.loads(done.stdout))


def repeat(call: Callable[[], object], times: int) -> list[float]:
    """Milliseconds of each of ``times`` calls, after two that do not count."""
    call()
    call()
    found = []
    for _ in range(times):
        start = time.perf_counter()
        call()
        found.append((time.perf_counter() - start) * 1e3)
    return found


def spread(times_ms: list[float]) -> Spread:
    p10, median, p90 = np.percentile(times_ms, [10, 50, 90])
    return Spread(round(float(median), 2), round(float(p10), 2), round(float(p90), 2))


def with_fps(call: Callable[[], object], times: int) -> dict[str, Any]:
    """Spread of ``call`` and the rate at which it ran."""
    times_ms = repeat(call, times)
    return {**spread(times_ms)._asdict(), "fps": round(1e3 * len(times_ms) / sum(times_ms), 1)}


def as_text(results: Mapping[str, Any]) -> str:
    about = f"{results['model']} in {results['precision']} on {results['backend']}"
    lines = [f"{about}, {results['traces']} trace(s)"]
    lines += [f"  note: {note}" for note in results["notes"]]
    lines.append(f"  load average at the start {results['machine']['load_average']}")
    for name in TIMED:
        if name in results:
            row = results[name]
            rate = f", {row['fps']} frames/s" if "fps" in row else ""
            lines.append(
                f"  {name:<22} {row['median_ms']} ms ({row['p10_ms']} to {row['p90_ms']}){rate}"
            )
    lines.append(
        f"  load {results['load_s']} s, first result {results['first_result_s']} s, "
        f"memory {results['rss_mb']} MB"
    )
    return "\n".join(lines)
