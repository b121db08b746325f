"""Captions of a chosen length, so that models which say more or less can be compared."""

from collections.abc import Collection, Mapping
from typing import Any

import numpy as np

from engine.contract import TensorSpec
from engine.runtime.backend import NOTHING, Backend, Resident, Tensor


class ForcedLength:
    """A back end that lets the model say ``words`` words, then ``[SEG]``, whatever it wants.

    All graphs run as they are; only the logits of ``decode`` are overwritten. ``begin`` before
    each description, or before several that are said together.
    """

    def __init__(self, backend: Backend, words: int, word_id: int, seg_id: int) -> None:
        self._backend = backend
        self.words = words
        self._word_id, self._seg_id = word_id, seg_id
        self._left, self._prompts = words, 1

    @property
    def name(self) -> str:
        return self._backend.name

    def begin(self, answers: int = 1) -> None:
        """The prompts of ``answers`` descriptions are read, then all are said in lockstep."""
        self._left, self._prompts = self.words, answers

    def run(
        self,
        graph: str,
        inputs: Mapping[str, Tensor],
        resident: Collection[str] = (),
        in_place: Mapping[str, str] = NOTHING,
    ) -> dict[str, Any]:
        out = self._backend.run(graph, inputs, resident, in_place)
        if graph == "decode":
            said = self._word_id if self._left > 0 else self._seg_id
            out["logits"][..., said] = np.float32(1e4)
            if self._prompts > 1:
                self._prompts -= 1
            else:
                self._left -= 1
        return out

    def zeros(self, specs: Mapping[str, TensorSpec]) -> dict[str, Resident]:
        return self._backend.zeros(specs)

    def close(self) -> None:
        self._backend.close()
