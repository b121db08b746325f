"""The speed goals of a big model in one process: decode, fast path, first token, caption.

    python benchmarks/gpu_goals.py --model DIRECTORY [--backend tensorrt] [--rounds 100] [--json]

Plans that are missing are built first (``build_s``). Then, medians with the tenth and ninetieth
percentile:

fast_path             one 640x480 frame with one trace: encode, ground, segment
fast_path_describing  the same while captions are decoded without pause in another thread
first_token           a trace closes on an encoded frame: ground, read the prompt (its length is
                      told, the goal asks for 300 tokens), first token
caption               ground, prompt, --tokens words, [SEG], codebook, mask
decode                one token behind the prompt, logits on the host
decode_share          bytes of the weights that the graph decode refers to, of the token's embedding
                      and of the cache, read once, per decode time, over the copy bandwidth (read +
                      written) measured in this run

``goals`` says for each goal of the project what was found and whether it is met; off a GPU and for
small models that says nothing. Weights may be random: speed does not depend on them. ``run`` holds
command, machine and versions.
"""

import argparse
import json
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from engine.export.decode_bytes import decode_bytes
from engine.runtime.loading import BACKENDS, LoadedBackend, load_backend, model_directory
from engine.runtime.manifest import Manifest, read_manifest
from engine.runtime.passes import open_passes
from engine.runtime.prompting import open_prompting
from tracevlm_ros.cli.bench_engine import (
    Subject,
    caption,
    describing,
    fast_path,
    repeat,
    spread,
    subject_of,
    with_fps,
)
from tracevlm_ros.cli.device_limit import copy_bandwidth
from tracevlm_ros.cli.goals import goal_lines, judged
from tracevlm_ros.cli.run_facts import facts_lines, run_facts
from tracevlm_ros.core.errors import ConfigError, TraceVLMError
from tracevlm_ros.core.prompt import answer_positions

TOKENS = 20
GOALS: dict[str, tuple[str, float]] = {
    "decode_share": ("at least", 0.85),
    "fast_path_ms": ("at most", 10.0),
    "fast_path_fps": ("at least", 100.0),
    "first_token_ms": ("at most", 50.0),
    "caption_ms": ("at most", 130.0),
    "fast_path_loss": ("at most", 0.2),
}


def main() -> int:
    arguments = parse()
    try:
        results = measure(arguments)
    except TraceVLMError as error:
        print(f"gpu_goals: {error}", file=sys.stderr)
        return 1
    print(json.dumps(results, indent=2) if arguments.json else as_text(results))
    return 0


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", required=True, help="'nano' or a model directory")
    parser.add_argument("--backend", default="tensorrt", choices=BACKENDS)
    parser.add_argument("--rounds", type=int, default=100, help="timed calls; captions a fifth")
    parser.add_argument("--tokens", type=int, default=TOKENS, help="words of a caption")
    parser.add_argument("--json", action="store_true")
    return parser.parse_args()


def measure(arguments: argparse.Namespace) -> dict[str, Any]:
    if arguments.rounds < 5:
        raise ConfigError(f"--rounds is {arguments.rounds}; it must be at least 5")
    directory = model_directory(arguments.model)
    manifest, read_s = timed(lambda: read_manifest(directory))
    loaded, build_s = timed(lambda: load_backend(manifest, arguments.backend))
    results: dict[str, Any] = {
        "model": manifest.model_id,
        "flavour": manifest.flavour,
        "precision": manifest.precision,
        "weights": manifest.sections["provenance"],
        "backend": loaded.backend.name,
        "notes": list(loaded.notes),
        "hash_s": round(read_s, 1),
        "build_s": round(build_s, 1),
        "rounds": arguments.rounds,
        "run": run_facts(),
        "image_size_hw": [manifest.sizes["H"], manifest.sizes["W"]],
        **decode_figures(manifest, loaded, arguments.rounds),
    }
    subject = subject_of(manifest, loaded, traces=1, tokens=arguments.tokens)
    results |= path_figures(subject, arguments.rounds)
    results["first_token"]["prompt_tokens"] = prompt_tokens(manifest, subject)
    subject.engine.close()
    return {**results, "goals": judged(GOALS, goal_figures(results))}


def timed(call: Callable[[], Any]) -> tuple[Any, float]:
    start = time.perf_counter()
    return call(), time.perf_counter() - start


def decode_figures(manifest: Manifest, loaded: LoadedBackend, rounds: int) -> dict[str, Any]:
    """One token at a time behind a prompt of usual length, as the engine reads them."""
    passes = open_passes(loaded.backend, manifest)
    length = min(manifest.sizes["N"] + 44, manifest.max_prompt_tokens)
    random = np.random.default_rng(0)
    width = manifest.sizes["D"]
    prompt = random.standard_normal((1, length, width)).astype(np.float32)
    token = random.standard_normal((1, 1, width)).astype(np.float32)
    cache = passes.prefill(prompt, answer_positions(0, length))

    def step() -> None:
        passes.decode(cache, token, answer_positions(length, 1))

    found = spread(repeat(step, rounds))
    device, bandwidth = copy_bandwidth()
    size = decode_bytes(manifest, length)
    share = size.total() / (found.median_ms * 1e-3) / bandwidth
    return {
        "prompt_tokens": length,
        "decode": found._asdict(),
        "decode_bytes": size._asdict(),
        "copy": {"device": device, "gb_per_s": round(bandwidth / 1e9, 1)},
        "decode_share": round(share, 4),
    }


def path_figures(subject: Subject, rounds: int) -> dict[str, Any]:
    frame = fast_path(subject)
    alone = with_fps(frame, rounds)
    captions = spread(repeat(caption(subject), max(rounds // 5, 5)))
    first = spread(repeat(first_token(subject), max(rounds // 5, 5)))
    with describing(subject) as told:
        beside = with_fps(frame, rounds)
        said = told()
    return {
        "fast_path": alone,
        "first_token": first._asdict(),
        "caption": {**captions._asdict(), "tokens": subject.forced.words},
        "fast_path_describing": {**beside, "captions": said},
        "fast_path_loss": round(1.0 - beside["fps"] / alone["fps"], 3),
    }


def first_token(subject: Subject) -> Callable[[], None]:
    """From a closed trace to its first word; the frame is encoded already."""
    engine = subject.engine
    features = engine.encode(subject.image_rgb)

    def describe() -> None:
        subject.forced.begin()
        next(engine.describe(engine.ground(features, subject.prompts[:1]), 0))

    return describe


def prompt_tokens(manifest: Manifest, subject: Subject) -> int:
    """Length of the prompt that ``first_token`` and ``caption`` read."""
    width = manifest.sizes["D"]
    picture = np.zeros((manifest.sizes["N"], width), np.float32)
    trace = np.zeros((len(subject.prompts[0].points), width), np.float32)
    asked = open_prompting(manifest).ask(picture, trace, None)
    return int(asked.prompt.embeddings.shape[1])


def goal_figures(results: Mapping[str, Any]) -> dict[str, float]:
    return {
        "decode_share": results["decode_share"],
        "fast_path_ms": results["fast_path"]["median_ms"],
        "fast_path_fps": results["fast_path"]["fps"],
        "first_token_ms": results["first_token"]["median_ms"],
        "caption_ms": results["caption"]["median_ms"],
        "fast_path_loss": results["fast_path_loss"],
    }


def as_text(results: Mapping[str, Any]) -> str:
    copy = results["copy"]
    lines = [
        "{model} ({flavour}, {precision}) on {backend}".format(**results),
        *(f"  note: {note}" for note in results["notes"]),
        f"  hashed in {results['hash_s']} s, loaded or built in {results['build_s']} s",
        f"  decode {results['decode']['median_ms']} ms; copy on {copy['device']} "
        f"{copy['gb_per_s']} GB/s",
        f"  prompt of {results['first_token']['prompt_tokens']} tokens, picture {{}}x{{}}".format(
            *results["image_size_hw"]
        ),
        *(f"  {line}" for line in facts_lines(results["run"])),
    ]
    return "\n".join([*lines, *(f"  {line}" for line in goal_lines(results["goals"]))])


if __name__ == "__main__":
    sys.exit(main())
