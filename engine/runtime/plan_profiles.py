"""The shapes that a plan serves: for each symbol of a call the least, usual and largest size.

A plan may hold several profiles; the first that admits a call runs it. ``decode`` has one for the
single token, tuned for nothing else, and one for longer passes (the question, the codebook); with a
static cache a third one for prompts.
"""

from collections.abc import Mapping
from typing import NamedTuple

from engine.contract import CODEBOOK_TOKENS, PER_CALL, STATIC_CACHE, TRACK, WORDS, TensorSpec
from engine.runtime.manifest import Manifest

MAX_TRACKED = 1024
"""Points of one call of ``track``."""


class Bounds(NamedTuple):
    """Sizes of one symbol: all from ``least`` to ``most`` run, ``usual`` runs fastest."""

    least: int
    usual: int
    most: int


Profile = Mapping[str, Bounds]


class ShapeRange(NamedTuple):
    least: tuple[int, ...]
    usual: tuple[int, ...]
    most: tuple[int, ...]


def cache_limit(manifest: Manifest) -> int:
    """Most tokens that a cache holds after the last pass: prompt, answer, ``[SEG]``, codebook."""
    return manifest.max_prompt_tokens + manifest.max_new_tokens + 1 + CODEBOOK_TOKENS


def graph_profiles(graph: str, manifest: Manifest) -> tuple[Profile, ...]:
    """The profiles of ``graph``; one without symbols for a graph of fixed shapes."""
    prompt = manifest.max_prompt_tokens
    usual = min(manifest.sizes["N"] + manifest.sizes["K"], prompt)
    if graph == TRACK:
        return ({"M": Bounds(1, 128, MAX_TRACKED)},)
    if graph in ("tvp", "mask", WORDS):
        return ({"T": Bounds(1, 1, manifest.max_traces)},)
    if graph == "prefill":
        return ({"L": Bounds(1, usual, prompt)},)
    if graph == "decode":
        codebook = CODEBOOK_TOKENS + 1
        longest = max(prompt, codebook)
        single, several = Bounds(1, 1, 1), Bounds(2, min(codebook, longest), longest)
        if manifest.flavour == STATIC_CACHE:
            prompts = Bounds(2, usual, longest)
            short = Bounds(2, codebook, codebook)
            return ({"S": single}, {"S": short}, {"S": prompts})
        past = Bounds(1, usual, cache_limit(manifest) - 1)
        most = manifest.max_answers
        answers = {"B": Bounds(1, 1, most)} if most > 1 else {}
        return ({"S": single, "P": past, **answers}, {"S": several, "P": past, **answers})
    return ({},)


def admits(profile: Profile, sizes: Mapping[str, int]) -> bool:
    """Whether a call with ``sizes`` (symbol -> size) fits ``profile``."""
    return all(bounds.least <= sizes[name] <= bounds.most for name, bounds in profile.items())


def shape_range(spec: TensorSpec, profile: Profile) -> ShapeRange | None:
    """What an input may look like under ``profile``; None when its shape is fixed."""
    if not any(size in PER_CALL for size in spec.shape):
        return None
    return ShapeRange(
        *(
            tuple(
                size if isinstance(size, int) else int(profile[size][which]) for size in spec.shape
            )
            for which in range(3)
        )
    )


def as_json(profiles: tuple[Profile, ...]) -> list[dict[str, list[int]]]:
    """``profiles`` as part of a plan's identity."""
    return [
        {name: list(bounds) for name, bounds in sorted(profile.items())} for profile in profiles
    ]
