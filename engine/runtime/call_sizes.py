"""The sizes of one call: symbols of the contract bound by the shapes of the inputs."""

import math
from collections.abc import Mapping, Sequence

from engine.contract import ITEM_BYTES, GraphSpec, TensorSpec
from engine.runtime.plan_profiles import Profile
from tracevlm_ros.core.errors import BackendError

Sizes = Mapping[str, int]


def bind_sizes(spec: GraphSpec, shapes: Mapping[str, Sequence[int]]) -> dict[str, int]:
    """Symbol of this call -> size, ``P+S`` included, from the shapes of the inputs.

    Raises BackendError when a shape is not what the model takes, or two inputs disagree.
    """
    sizes: dict[str, int] = {}
    for name, tensor in spec.inputs.items():
        shape = tuple(shapes[name])
        fits = len(shape) == len(tensor.shape) and all(
            size == (sizes.setdefault(asked, size) if isinstance(asked, str) else asked)
            for size, asked in zip(shape, tensor.shape, strict=True)
        )
        if not fits:
            raise BackendError(
                f"input '{name}' is {shape}, the model takes {tensor.shape} with {sizes}; check "
                "the shapes given"
            )
    if "P" in sizes:
        sizes["P+S"] = sizes["P"] + sizes["S"]
    return sizes


def shape_of(spec: TensorSpec, sizes: Sizes) -> tuple[int, ...]:
    """``spec``'s shape with the sizes of a call filled in."""
    return tuple(size if isinstance(size, int) else sizes[size] for size in spec.shape)


def byte_size(spec: TensorSpec, sizes: Sizes) -> int:
    return math.prod(shape_of(spec, sizes)) * ITEM_BYTES[spec.dtype]


def largest_sizes(profiles: Sequence[Profile], cache_tokens: int) -> dict[str, int]:
    """The largest size of each symbol over ``profiles``; ``P+S`` is ``cache_tokens``."""
    largest: dict[str, int] = {"P+S": cache_tokens}
    for profile in profiles:
        for name, bounds in profile.items():
            largest[name] = max(largest.get(name, 0), bounds.most)
    return largest
