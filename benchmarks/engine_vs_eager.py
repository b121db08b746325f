"""The run time beside the same network in PyTorch eager, in turns, on this machine.

    python benchmarks/engine_vs_eager.py [--model DIRECTORY] [--backend NAME] [--rounds 20] [--json]

Speed does not depend on the weights: PyTorch runs the nano architecture with random ones, and
without --model the same random network is exported first (a minute or two). Both get the same
frame, one trace, and captions of 20 words with their mask. Figures are medians over the rounds with
the tenth and ninetieth percentile; load averages at start and end tell how busy the machine was.
Take the ratios on a machine that does nothing else: beside another busy process PyTorch's threads
wait for each other at every operator, and it looks many times slower than it is.
Needs the extra [train].
"""

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from engine.export.model_directory import model_sizes, write_model_directory
from engine.runtime.loading import BACKENDS
from engine.runtime.manifest import read_manifest
from engine.runtime.model_engine import pad_prompts
from tracevlm_ros.cli.bench_engine import Subject, caption, fast_path, open_subject, spread
from tracevlm_ros.core.errors import ConfigError, TraceVLMError
from tracevlm_ros.core.preprocess import fit_image
from tracevlm_ros.core.prompt import answer_positions, prompt_ids
from training.model.config import nano
from training.model.trace_embedding import TraceBatch
from training.model.tracevlm import TraceVLM
from training.model.tvp import Grounded
from training.model.vision import VisionFeatures
from training.tokenizer import load_tokenizer, prompt_layout

TOKENS = 20
GOAL_TIMES = 2.0


class Eager:
    """The two paths in PyTorch, as ``bench_engine`` runs them on the exported graphs."""

    def __init__(self, subject: Subject) -> None:
        self._model = TraceVLM(nano()).eval()
        self._subject = subject
        self._size_hw = subject.engine.info.image_size_hw
        padded = pad_prompts(subject.prompts[:1], subject.engine.info.max_keypoints)
        names = ("points", "dt_s", "pen_up", "valid")
        self._trace = TraceBatch(*(torch.from_numpy(padded[name]) for name in names))
        self._keypoints = len(subject.prompts[0].points)
        self._layout = prompt_layout(load_tokenizer(), nano().vision.merged_grid)
        width = nano().language.width
        self._seg = torch.zeros(1, len(self._layout.codebook), width)
        self._features = self.encode()

    @torch.no_grad()
    def encode(self) -> VisionFeatures:
        image = fit_image(self._subject.image_rgb, self._size_hw)[None]
        return self._model.encode(torch.from_numpy(image))

    @torch.no_grad()
    def frame(self) -> None:
        features = self.encode()
        grounded = self._model.ground(features.tokens, self._trace)
        self._mask(features, grounded, self._seg)

    @torch.no_grad()
    def describe(self) -> None:
        """TVP, prefill, TOKENS steps, [SEG] with the codebook tokens, mask."""
        language = self._model.model
        grounded = self._model.ground(self._features.tokens, self._trace)
        prompt = prompt_ids(self._layout, self._keypoints)
        x = language.embed_tokens(torch.from_numpy(prompt.ids)[None])
        count = grounded.enhanced.shape[1]
        x[:, 1 : 1 + count] = grounded.enhanced
        x[:, 3 + count : 3 + count + self._keypoints] = grounded.trace[:, : self._keypoints]
        state = language(x, torch.from_numpy(prompt.position_ids)[:, None])
        position = prompt.next_position
        for _ in range(TOKENS):
            said = int(language.logits(state.hidden[:, -1:]).argmax())
            state = self._step([said], position, (state.keys, state.values))
            position += 1
        ids = [self._layout.seg, *self._layout.codebook]
        book = self._step(ids, position, (state.keys, state.values))
        self._mask(self._features, grounded, book.hidden[:, 1:])

    def _step(self, ids: list[int], position: int, past: Any) -> Any:
        language = self._model.model
        embeddings = language.embed_tokens(torch.tensor([ids]))
        return language(embeddings, torch.from_numpy(answer_positions(position, len(ids))), past)

    def _mask(self, features: VisionFeatures, grounded: Grounded, seg: torch.Tensor) -> None:
        index = torch.zeros(1, dtype=torch.int64)
        self._model.segment(features, index, grounded, self._trace, seg)


def take_turns(calls: dict[str, Callable[[], None]], rounds: int) -> dict[str, dict[str, float]]:
    """Each call once per round, so that a busy spell of the machine meets all of them."""
    times_ms: dict[str, list[float]] = {name: [] for name in calls}
    for call in calls.values():
        call()
    for _ in range(rounds):
        for name, call in calls.items():
            start = time.perf_counter()
            call()
            times_ms[name].append((time.perf_counter() - start) * 1e3)
    return {name: spread(found)._asdict() for name, found in times_ms.items()}


def require_nano(directory: Path) -> None:
    """Raise ConfigError unless every size is nano's; the graph ``words``, which neither path runs,
    may be absent, and its size with it."""
    sizes, asked = read_manifest(directory).sizes, model_sizes(nano())
    other = {name: size for name, size in sizes.items() if asked.get(name) != size}
    if other:
        wanted = {name: asked.get(name) for name in other}
        raise ConfigError(f"{directory} has the sizes {other}, nano has {wanted}; export nano")


def compare(directory: Path, backend: str, rounds: int) -> dict[str, Any]:
    """Raises ConfigError when ``directory`` holds another architecture than nano."""
    require_nano(directory)
    before = os.getloadavg()[0]
    subject = open_subject(directory, backend, traces=1, tokens=TOKENS)
    eager = Eager(subject)
    calls = {
        "fast_path": fast_path(subject),
        "fast_path_eager": eager.frame,
        "caption": caption(subject),
        "caption_eager": eager.describe,
    }
    found: dict[str, Any] = take_turns(calls, rounds)
    info = subject.engine.info
    subject.engine.close()
    for name in ("fast_path", "caption"):
        ratio = found[f"{name}_eager"]["median_ms"] / found[name]["median_ms"]
        found[f"{name}_times_faster"] = round(ratio, 2)
    return {
        **found,
        "goal_times_faster": GOAL_TIMES,
        "backend": info.backend,
        "notes": list(info.notes),
        "precision": subject.precision,
        "rounds": rounds,
        "cores": os.cpu_count(),
        "torch": torch.__version__,
        "load_average": [round(before, 2), round(os.getloadavg()[0], 2)],
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=Path)
    parser.add_argument("--backend", choices=BACKENDS, default="auto")
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    torch.set_num_threads(os.cpu_count() or 1)
    with tempfile.TemporaryDirectory() as scratch:
        directory = arguments.model
        if directory is None:
            directory = Path(scratch) / "nano"
            model, tokenizer = TraceVLM(nano()), load_tokenizer()
            write_model_directory(model, tokenizer, directory, "random", {"weights": "random"})
        try:
            results = compare(directory, arguments.backend, arguments.rounds)
        except TraceVLMError as error:
            print(f"engine_vs_eager: {error}", file=sys.stderr)
            return 1
    if arguments.json:
        print(json.dumps(results, indent=2))
    else:
        print("\n".join(f"{name}: {value}" for name, value in results.items()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
