"""Where a text is in a frame, by the graph that maps what words describe."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.contract import WORDS
from engine.runtime.backend import Backend
from engine.runtime.manifest import Manifest
from engine.runtime.memory_pressure import MemoryPressure
from tracevlm_ros.core.errors import EngineMismatch

Encode = Callable[[str], NDArray[np.int64]]


class WordSearch:
    """The graph "words" of one directory; ``encode`` gives the ids of a text."""

    def __init__(
        self, backend: Backend, memory: MemoryPressure, manifest: Manifest, encode: Encode
    ) -> None:
        self._backend, self._memory, self._encode = backend, memory, encode
        self._most = manifest.sizes["most_words"]

    def look_for(self, text: str, deep: Any, shallow: Any) -> NDArray[np.float32]:
        """Logits (h, w) over the frame of the encoder's maps: above 0 lies what ``text`` describes.

        Part of the slow path: given up, with an error, when the fast path needs the memory. Raises
        EngineMismatch for no text and for a longer one than the model reads.
        """
        words = text.strip()
        tokens = self._encode(words) if words else np.empty(0, np.int64)
        if not 0 < len(tokens) <= self._most:
            raise EngineMismatch(
                f"the text has {len(tokens)} tokens, this model searches for 1 to {self._most}; "
                "describe what is sought in a few words"
            )
        ids, valid = np.zeros((1, self._most), np.int64), np.zeros((1, self._most), np.float32)
        ids[0, : len(tokens)], valid[0, : len(tokens)] = tokens, 1.0
        with self._memory.describing() as look:
            given = {"deep": deep, "shallow": shallow, "ids": ids, "valid": valid}
            found = self._backend.run(WORDS, given)["word_logits"]
            look()
        return np.asarray(found[0], np.float32)
