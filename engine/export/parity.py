"""PyTorch against an exported directory: graph by graph, then a whole answer with its mask."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from engine.contract import CODEBOOK_TOKENS
from engine.export.examples import CallSizes, example_inputs
from engine.runtime.backend import Backend, host
from engine.runtime.manifest import Manifest
from engine.runtime.passes import GrowingPasses, Passes, StaticCache, open_passes
from engine.runtime.prompting import Prompting, open_prompting
from tracevlm_ros.core.prompt import answer_positions

TOKENS = 64
Inputs = dict[str, NDArray[Any]]
_CALLS = (CallSizes(1, 9, 1, 7), CallSizes(3, 13, 7, 32))
_LANGUAGE = ("prefill", "decode")


class Parity(NamedTuple):
    """Largest absolute difference, relative to the output's largest magnitude where that is > 1."""

    graph: str
    output: str
    difference: float


class AnswerParity(NamedTuple):
    """``equal_tokens`` of ``tokens`` greedy ones agree from the first on; ``mask_iou`` is the least
    of the masks that follow the answers."""

    tokens: int
    equal_tokens: int
    mask_iou: float


def measure_graphs(reference: Backend, found: Backend, manifest: Manifest) -> list[Parity]:
    """Random inputs of several sizes; the language graphs through their passes, since flavours
    keep their caches differently. ``reference`` runs the primitive flavour."""
    worst: dict[tuple[str, str], float] = {}
    for seed, call in enumerate(_CALLS):
        for graph, spec in manifest.graphs.items():
            if graph in _LANGUAGE:
                continue
            tensors = example_inputs(graph, spec, manifest.sizes, call, seed)
            inputs = {name: value.numpy() for name, value in tensors.items()}
            _note(worst, graph, found.run(graph, inputs), reference.run(graph, inputs))
        wanted = _read_twice(GrowingPasses(reference), manifest, call, seed)
        given = _read_twice(open_passes(found, manifest), manifest, call, seed)
        _note(worst, "prefill", given[0], wanted[0])
        _note(worst, "decode", given[1], wanted[1])
    return [Parity(graph, output, value) for (graph, output), value in worst.items()]


def _read_twice(passes: Passes, manifest: Manifest, call: CallSizes, seed: int) -> list[Inputs]:
    """The cache of a prompt, and what the model says of the tokens behind it."""
    random = np.random.default_rng(seed)
    width = manifest.sizes["D"]
    prompt, steps = (
        random.standard_normal((1, count, width)).astype(np.float32)
        for count in (call.prompt, call.steps)
    )
    cache = passes.prefill(prompt, answer_positions(0, call.prompt))
    first = {f"cache_{i}": array for i, array in enumerate(_cached(cache))}
    read = passes.decode(cache, steps, answer_positions(call.prompt, call.steps))
    after = {f"cache_{i}": array for i, array in enumerate(_cached(read.cache))}
    return [first, {"logits": read.logits[-1:], "hidden": read.hidden, **after}]


def _cached(cache: Any) -> list[NDArray[Any]]:
    """Keys and values (layers, 1, kv_heads, P, head_dim) in host memory."""
    if not isinstance(cache, StaticCache):
        return [host(cache.keys), host(cache.values)]
    tensors = cache.buffers.tensors
    return [
        np.stack([host(tensors[name])[:, :, : cache.length] for name in tensors
                  if name.startswith(kind)])
        for kind in ("keys", "values")
    ]  # fmt: skip


def _note(
    worst: dict[tuple[str, str], float],
    graph: str,
    given: Mapping[str, NDArray[Any]],
    wanted: Mapping[str, NDArray[Any]],
) -> None:
    for name, array in wanted.items():
        found = _difference(given[name], array)
        worst[graph, name] = max(worst.get((graph, name), 0.0), found)


def _difference(given: NDArray[Any], wanted: NDArray[Any]) -> float:
    if given.shape != wanted.shape or not np.isfinite(given).all():
        return float("inf")
    gap = np.abs(given.astype(np.float64) - wanted).max(initial=0.0)
    return float(gap / max(1.0, np.abs(wanted).max(initial=0.0)))


def measure_answer(
    reference: Backend, found: Backend, manifest: Manifest, seed: int = 0
) -> AnswerParity:
    """One picture, three traces: 64 greedy tokens about the first, then the masks of all."""
    prompting = open_prompting(manifest)
    tensors = example_inputs("tvp", manifest.graphs["tvp"], manifest.sizes, CallSizes(3), seed)
    traces = {name: value.numpy() for name, value in tensors.items() if name != "tokens"}
    shape = [int(size) for size in manifest.graphs["vision"].inputs["image"].shape]
    image = np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)
    wanted = _answer(reference, GrowingPasses(reference), prompting, image, traces)
    given = _answer(found, open_passes(found, manifest), prompting, image, traces)
    pairs = zip(given.tokens, wanted.tokens, strict=True)
    equal = next((i for i, (one, other) in enumerate(pairs) if one != other), TOKENS)
    return AnswerParity(TOKENS, equal, least_iou(given.masks, wanted.masks))


class _Answer(NamedTuple):
    tokens: list[int]
    masks: NDArray[Any]


def _answer(
    backend: Backend, passes: Passes, prompting: Prompting, image: NDArray[Any], traces: Inputs
) -> _Answer:
    seen = backend.run("vision", {"image": image})
    grounded = backend.run("tvp", {"tokens": seen["tokens"], **traces})
    count = int(traces["valid"][0].sum())
    asked = prompting.ask(grounded["enhanced"][0], grounded["trace_tokens"][0, :count], None)
    prompt, prefix = asked.prompt, asked.prefix
    cache = passes.prefill(prompt.embeddings[:, :prefix], prompt.position_ids[..., :prefix])
    read = passes.decode(cache, prompt.embeddings[:, prefix:], prompt.position_ids[..., prefix:])
    said: list[int] = []
    position = prompt.next_position
    for _ in range(TOKENS):
        said.append(int(read.logits[-1].argmax()))
        read = _say(passes, prompting, read.cache, said[-1:], position)
        position += 1
    book = [prompting.seg, *prompting.codebook]
    hidden = _say(passes, prompting, read.cache, book, position).hidden[-CODEBOOK_TOKENS:]
    masks = backend.run(
        "mask",
        {
            "deep": seen["deep"],
            "shallow": seen["shallow"],
            **grounded,
            **{name: traces[name] for name in ("points", "pen_up", "valid")},
            "prior": _ramps(len(traces["valid"]), seen["shallow"].shape[-2:]),
            "seg_embeddings": np.repeat(hidden[None], len(traces["valid"]), axis=0),
        },
    )
    return _Answer(said, masks["mask_logits"])


def _ramps(count: int, size_hw: tuple[int, int]) -> NDArray[np.float32]:
    """Earlier masks (count, h, w) that rise from 0 to 1 down the picture."""
    ramp = np.linspace(0.0, 1.0, size_hw[0], dtype=np.float32)
    return np.tile(ramp[None, :, None], (count, 1, size_hw[1]))


def _say(passes: Passes, prompting: Prompting, cache: Any, tokens: list[int], position: int) -> Any:
    rows = prompting.look_up(np.array(tokens))[None]
    return passes.decode(cache, rows, answer_positions(position, len(tokens)))


def least_iou(given: NDArray[Any], wanted: NDArray[Any]) -> float:
    """Least intersection over union of the masks (T, h, w), 1 where both are empty."""
    one, other = given > 0, wanted > 0
    both = (one & other).sum(axis=(1, 2))
    either = (one | other).sum(axis=(1, 2))
    return float(np.where(either > 0, both / np.maximum(either, 1), 1.0).min())
