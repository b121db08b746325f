"""Passes through the language model, whichever way its graphs keep the cache (``contract``)."""

from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from engine.contract import NEW, STATIC_CACHE, cache_names
from engine.runtime.backend import Backend, Resident, Tensor
from engine.runtime.manifest import Manifest
from tracevlm_ros.core.errors import EngineError, EngineMismatch

_GROWN = ("keys", "values")
Cache = Any
"""What ``Passes`` give and take: opaque, in the back end's memory, freed with its reference."""


class Read(NamedTuple):
    """A cache and what the model says after the tokens of the last pass.

    ``logits`` (S, vocab), of the last token alone where the cache is static, and ``hidden`` (S, D),
    float32.
    """

    cache: Cache
    logits: NDArray[np.float32]
    hidden: NDArray[np.float32]


class Passes(Protocol):
    """A cache is what ``prefill`` and ``decode`` give; it stays in the memory of the back end."""

    def prefill(self, embeddings: NDArray[np.float32], position_ids: NDArray[np.int64]) -> Any:
        """The cache of a prompt's first part: (1, L, D) and (3, 1, L)."""

    def decode(
        self, cache: Any, embeddings: NDArray[np.float32], position_ids: NDArray[np.int64]
    ) -> Read:
        """S more tokens behind ``cache``, which may be read on from again."""


class GrownCache(NamedTuple):
    """``keys`` and ``values`` (layers, B, kv_heads, P, head_dim); the first ``skipped[b]`` places
    of row b are padding."""

    keys: Tensor
    values: Tensor
    skipped: tuple[int, ...] = (0,)


class GrowingPasses:
    """Every pass returns a new cache and leaves the old one as it was. ``max_answers``: how many
    of them ``decode_jointly`` reads on in one pass."""

    def __init__(self, backend: Backend, max_answers: int = 1) -> None:
        self._backend = backend
        self.max_answers = max_answers

    def prefill(
        self, embeddings: NDArray[np.float32], position_ids: NDArray[np.int64]
    ) -> GrownCache:
        """See ``Passes.prefill``."""
        out = self._backend.run(
            "prefill", {"embeddings": embeddings, "position_ids": position_ids}, resident=_GROWN
        )
        return GrownCache(out["keys"], out["values"])

    def decode(
        self, cache: GrownCache, embeddings: NDArray[np.float32], position_ids: NDArray[np.int64]
    ) -> Read:
        """See ``Passes.decode``."""
        read = self.decode_jointly(cache, embeddings, position_ids)
        return Read(read.cache, read.logits[0], read.hidden[0])

    def decode_jointly(
        self, cache: GrownCache, embeddings: NDArray[np.float32], position_ids: NDArray[np.int64]
    ) -> Read:
        """S more tokens of each of B answers, (B, S, D) and (3, B, S); logits (B, S, vocab) and
        hidden (B, S, D)."""
        inputs: dict[str, Any] = {
            "embeddings": embeddings,
            "position_ids": position_ids,
            "past_keys": cache.keys,
            "past_values": cache.values,
        }
        if self.max_answers > 1:
            inputs["skipped"] = np.array(cache.skipped, dtype=np.int64)
        out = self._backend.run("decode", inputs, resident=_GROWN)
        grown = GrownCache(out["keys"], out["values"], cache.skipped)
        return Read(grown, out["logits"], out["hidden"])


class Buffers:
    """The places of one static cache. ``branch`` counts how often the prompt was read on from."""

    def __init__(self, tensors: dict[str, Resident]) -> None:
        self.tensors = tensors
        self.branch = 0


class StaticCache(NamedTuple):
    """The first ``length`` places of ``buffers``, as they were filled in ``branch``; those of the
    prompt (``prompt`` places) belong to every branch."""

    buffers: Buffers
    length: int
    prompt: int
    branch: int


class StaticPasses:
    """Every pass writes into the same buffers. Answers to one prompt share its places: when a
    second one begins, the first can not be continued."""

    def __init__(self, backend: Backend, manifest: Manifest) -> None:
        self._backend = backend
        self._capacity = manifest.sizes["C"]
        names = cache_names(manifest.sizes["layers"])
        specs = manifest.graphs["decode"].inputs
        self._specs = {name: specs[name] for name in names}
        self._in_place = {f"{NEW}{name}": name for name in names}

    def prefill(
        self, embeddings: NDArray[np.float32], position_ids: NDArray[np.int64]
    ) -> StaticCache:
        """See ``Passes.prefill``."""
        buffers = Buffers(self._backend.zeros(self._specs))
        self._run(buffers, 0, embeddings, position_ids)
        length = embeddings.shape[1]
        return StaticCache(buffers, length, length, 0)

    def decode(
        self, cache: StaticCache, embeddings: NDArray[np.float32], position_ids: NDArray[np.int64]
    ) -> Read:
        """See ``Passes.decode``. EngineError where another answer has been written over."""
        buffers, branch = cache.buffers, cache.branch
        if cache.length == cache.prompt:
            buffers.branch += 1
            branch = buffers.branch
        elif branch != buffers.branch:
            raise EngineError(
                "this answer was overtaken by another one about the same trace; describe again"
            )
        out = self._run(buffers, cache.length, embeddings, position_ids)
        grown = cache._replace(length=cache.length + embeddings.shape[1], branch=branch)
        return Read(grown, out["logits"][0], out["hidden"][0])

    def _run(
        self,
        buffers: Buffers,
        start: int,
        embeddings: NDArray[np.float32],
        position_ids: NDArray[np.int64],
    ) -> dict[str, Any]:
        count = embeddings.shape[1]
        if start + count > self._capacity:
            raise EngineMismatch(
                f"{start} + {count} tokens, the cache of this model holds {self._capacity}; "
                "re-export with larger limits"
            )
        inputs: dict[str, Any] = {
            "embeddings": embeddings,
            "position_ids": position_ids,
            "mask": causal_places(start, count, self._capacity),
            "write_index": np.array([start], dtype=np.int64),
            **buffers.tensors,
        }
        return self._backend.run("decode", inputs, in_place=self._in_place)


def causal_places(start: int, count: int, capacity: int) -> NDArray[np.bool_]:
    """(count, capacity): token i, written at place ``start + i``, sees the places up to its own."""
    own = start + np.arange(count)[:, None]
    return np.asarray(np.arange(capacity)[None] <= own)


def open_passes(backend: Backend, manifest: Manifest) -> Passes:
    """The passes of the manifest's flavour."""
    if manifest.flavour == STATIC_CACHE:
        return StaticPasses(backend, manifest)
    return GrowingPasses(backend, manifest.max_answers)
