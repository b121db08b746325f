"""Each graph of a model on one back end: time per call, and agreement with a reference.

    python benchmarks/gpu_figures.py [--model DIRECTORY] [--backend tensorrt] [--json]

One trace, a prompt of N + K tokens, one decoded token after it. Times are wall time of ``run`` as
the engine calls it: features and cache stay on the device, small results come to the host (vision
and tvp: their first output is read, else nothing would wait for them). With TensorRT every graph
is also timed without CUDA graphs. Any back end works, so the harness runs on a CPU too. For models
of the primitive flavour; ``gpu_goals.py`` measures those with a static cache.
"""

import argparse
import json
import sys
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from engine.contract import PRIMITIVE, TRACK, WORDS
from engine.runtime.backend import Backend, host
from engine.runtime.call_sizes import shape_of
from engine.runtime.loading import BACKENDS, LoadedBackend, load_backend, model_directory
from engine.runtime.manifest import Manifest, read_manifest
from engine.runtime.tensorrt_backend import open_tensorrt
from tracevlm_ros.cli.bench_engine import repeat, spread
from tracevlm_ros.cli.run_facts import run_facts
from tracevlm_ros.core.errors import ConfigError, TraceVLMError

STAYS = {
    "vision": ("tokens", "deep", "shallow"),
    "tvp": ("enhanced", "trace_tokens"),
    "prefill": ("keys", "values"),
    "decode": ("keys", "values"),
    "mask": (),
    TRACK: (),
    WORDS: (),
}


def main() -> int:
    arguments = parse()
    try:
        results = measure(arguments)
    except TraceVLMError as error:
        print(f"gpu_figures: {error}", file=sys.stderr)
        return 1
    print(json.dumps(results, indent=2) if arguments.json else as_text(results))
    return 0


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="nano", help="'nano' or a model directory")
    parser.add_argument("--backend", default="tensorrt", choices=BACKENDS)
    parser.add_argument("--reference", default="onnxruntime-cpu", choices=("none", *BACKENDS))
    parser.add_argument("--rounds", type=int, default=200, help="timed calls per graph")
    parser.add_argument("--json", action="store_true")
    return parser.parse_args()


def measure(arguments: argparse.Namespace) -> dict[str, Any]:
    if arguments.rounds < 1:
        raise ConfigError(f"--rounds is {arguments.rounds}; it must be at least 1")
    manifest = read_manifest(model_directory(arguments.model))
    if manifest.flavour != PRIMITIVE:
        raise ConfigError(
            f"{arguments.model} is of flavour {manifest.flavour}; take benchmarks/gpu_goals.py"
        )
    calls = {graph: example(graph, manifest) for graph in manifest.graphs}
    loaded = load_backend(manifest, arguments.backend)
    graphs = time_graphs(loaded, calls, arguments.rounds)
    if arguments.reference != "none":
        reference = load_backend(manifest, arguments.reference)
        for graph, inputs in calls.items():
            graphs[graph]["difference"] = compare(loaded.backend, reference.backend, graph, inputs)
        reference.backend.close()
    name, notes = loaded.backend.name, list(loaded.notes)
    loaded.backend.close()
    if arguments.backend == "tensorrt":
        plain = open_tensorrt(manifest, may_build=True, max_captured={})
        found = time_graphs(LoadedBackend(plain, ()), calls, arguments.rounds)
        plain.close()
        for graph, figures in found.items():
            graphs[graph]["without_cuda_graphs"] = figures
    return {
        "model": manifest.model_id,
        "backend": name,
        "notes": notes,
        "rounds": arguments.rounds,
        "run": run_facts(),
        "graphs": graphs,
    }


def example(graph: str, manifest: Manifest) -> dict[str, Any]:
    """Random inputs of ``graph``: one trace, a prompt or cache of N + K tokens, one new token."""
    random = np.random.default_rng(0)
    prompt = min(manifest.sizes["N"] + manifest.sizes["K"], manifest.max_prompt_tokens)
    sizes = {"T": 1, "L": prompt, "P": prompt, "S": 1, "P+S": prompt + 1, "M": 128, "B": 1}
    inputs: dict[str, Any] = {}
    for name, spec in manifest.graphs[graph].inputs.items():
        shape = shape_of(spec, sizes)
        if spec.dtype == "uint8":
            inputs[name] = random.integers(0, 256, shape, dtype=np.uint8)
        elif name == "skipped":
            inputs[name] = np.zeros(shape, np.int64)
        elif spec.dtype == "int64":
            start = prompt if graph == "decode" else 0
            inputs[name] = np.broadcast_to(np.arange(shape[-1]) + start, shape).copy()
        elif name in ("valid", "pen_up"):
            inputs[name] = np.full(shape, float(name == "valid"), np.float32)
        elif graph == TRACK:
            side = min(manifest.sizes["track_h_0"], manifest.sizes["track_w_0"])
            inputs[name] = random.random(shape, dtype=np.float32) * side
        elif name in ("points", "dt_s"):
            inputs[name] = random.random(shape, dtype=np.float32)
        else:
            inputs[name] = random.standard_normal(shape, dtype=np.float32)
    return inputs


def time_graphs(
    loaded: LoadedBackend, calls: Mapping[str, dict[str, Any]], rounds: int
) -> dict[str, dict[str, Any]]:
    return {
        graph: spread(repeat(one_call(loaded.backend, graph, inputs), rounds))._asdict()
        for graph, inputs in calls.items()
    }


def one_call(backend: Backend, graph: str, inputs: dict[str, Any]) -> Callable[[], None]:
    """The cache of decode is on the device already, as in a caption."""
    if graph == "decode":
        inputs = {**inputs, **resident_cache(backend, inputs)}

    def call() -> None:
        found = backend.run(graph, inputs, resident=STAYS[graph])
        if len(STAYS[graph]) == len(found):
            host(next(iter(found.values())))

    return call


def resident_cache(backend: Backend, inputs: Mapping[str, Any]) -> dict[str, Any]:
    """A cache of the same length, made by prefill."""
    length, width = inputs["past_keys"].shape[3], inputs["embeddings"].shape[-1]
    found = backend.run(
        "prefill",
        {
            "embeddings": np.random.default_rng(1).standard_normal(
                (1, length, width), dtype=np.float32
            ),
            "position_ids": np.broadcast_to(np.arange(length), (3, 1, length)).copy(),
        },
        resident=STAYS["prefill"],
    )
    return {"past_keys": found["keys"], "past_values": found["values"]}


def compare(
    backend: Backend, reference: Backend, graph: str, inputs: dict[str, Any]
) -> dict[str, float]:
    """Output -> largest absolute difference from ``reference``, NaN if one side has NaN."""
    found, wanted = backend.run(graph, inputs), reference.run(graph, inputs)
    return {name: float(np.abs(found[name] - wanted[name]).max()) for name in wanted}


def as_text(results: Mapping[str, Any]) -> str:
    lines = [f"{results['model']} on {results['backend']}"]
    lines += [f"  note: {note}" for note in results["notes"]]
    for graph, row in results["graphs"].items():
        line = f"  {graph:<8} {row['median_ms']} ms ({row['p10_ms']} to {row['p90_ms']})"
        if "without_cuda_graphs" in row:
            line += f", without CUDA graphs {row['without_cuda_graphs']['median_ms']} ms"
        if "difference" in row:
            line += f", differs by {max(row['difference'].values()):.2g}"
        lines.append(line)
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
