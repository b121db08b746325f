"""How the prompt of one model is written: nano's own layout, or a turn of Qwen's chat form."""

from collections.abc import Mapping
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from engine.contract import TRACE_GATE_NAME
from engine.runtime.embedding_table import EmbeddingTable, read_vector
from engine.runtime.manifest import Manifest
from engine.runtime.text import Words
from tracevlm_ros.core.errors import EngineMismatch
from tracevlm_ros.core.prompt import (
    LOCATE_QUESTION,
    EmbeddedPrompt,
    PromptLayout,
    embed_prompt,
)
from tracevlm_ros.core.qwen_prompt import (
    CAPTION_REQUEST,
    LOCATE_REQUEST,
    SYSTEM,
    TOKEN_TEXTS,
    QwenLayout,
    lay_out_follow_up,
    lay_out_turn,
)
from tracevlm_ros.core.tokens import as_continuation

NANO_LAYOUT = "tracevlm_ros.core.prompt"
QWEN_LAYOUT = "tracevlm_ros.core.qwen_prompt"
_AFTER_PREFIX = 2
"""Nano: the task and the answer token, which stand round the question."""


class Question(NamedTuple):
    """A whole prompt; its first ``prefix`` tokens are the same for every question. ``asked`` is
    the number of tokens of the question itself.

    ``embeddings`` (1, S, D) and ``position_ids`` (3, 1, S) are those of the rest.
    """

    prompt: EmbeddedPrompt
    prefix: int
    asked: int

    @property
    def embeddings(self) -> NDArray[np.float32]:
        return self.prompt.embeddings[:, self.prefix :]

    @property
    def position_ids(self) -> NDArray[np.int64]:
        return self.prompt.position_ids[..., self.prefix :]


class Prompting(Protocol):
    """``seg`` asks for a mask, ``codebook`` follows it, any of ``stops`` ends an answer."""

    seg: int
    codebook: tuple[int, ...]
    stops: frozenset[int]

    def ask(
        self, enhanced: NDArray[np.float32], trace_tokens: NDArray[np.float32], text: str | None
    ) -> Question:
        """The prompt of one trace: (N, D) image tokens, (K, D) features of valid keypoints."""

    def search(self, tokens: NDArray[np.float32], text: str) -> Question:
        """The prompt that asks for the trace of ``text``: (N, D) image tokens of the encoder."""

    def follow_up(self, text: str | None) -> list[int]:
        """Ids of a further question, behind an answer whose end has not been read."""

    def look_up(self, ids: NDArray[np.int64]) -> NDArray[np.float32]:
        """Embedding rows of tokens."""

    def encode(self, text: str) -> NDArray[np.int64]:
        """Ids of plain text."""

    def decode(self, ids: list[int]) -> str:
        """Text without control tokens; a character still incomplete is left out."""

    def transcribe(self, ids: list[int]) -> str:
        """Text as it was said, control tokens among the words."""


class NanoPrompting:
    """See ``core.prompt``."""

    def __init__(self, manifest: Manifest, words: Words, table: EmbeddingTable) -> None:
        self._words, self._table = words, table
        self._layout = PromptLayout.from_ids(words.special_ids(), manifest.grid_hw)
        self.seg, self.codebook = self._layout.seg, self._layout.codebook
        self.stops = frozenset({self._layout.end})

    def ask(
        self, enhanced: NDArray[np.float32], trace_tokens: NDArray[np.float32], text: str | None
    ) -> Question:
        """See ``Prompting.ask``."""
        ids = None if text is None else self.encode(text)
        prompt = embed_prompt(self._layout, self.look_up, enhanced, trace_tokens, ids)
        return self._question(prompt, 0 if ids is None else len(ids))

    def search(self, tokens: NDArray[np.float32], text: str) -> Question:
        """See ``Prompting.search``."""
        ids = self.encode(LOCATE_QUESTION.format(text.strip()))
        task = self._layout.locate
        prompt = embed_prompt(self._layout, self.look_up, tokens, tokens[:0], ids, task)
        return self._question(prompt, len(ids))

    @staticmethod
    def _question(prompt: EmbeddedPrompt, asked: int) -> Question:
        return Question(prompt, prompt.embeddings.shape[1] - asked - _AFTER_PREFIX, asked)

    def follow_up(self, text: str | None) -> list[int]:
        """See ``Prompting.follow_up``."""
        layout = self._layout
        task = [layout.caption] if text is None else [layout.ask, *self.encode(text).tolist()]
        return [layout.end, *task, layout.answer]

    def look_up(self, ids: NDArray[np.int64]) -> NDArray[np.float32]:
        return self._table.rows(ids)

    def encode(self, text: str) -> NDArray[np.int64]:
        return self._words.encode(as_continuation(text))

    def decode(self, ids: list[int]) -> str:
        return self._words.decode(ids)

    def transcribe(self, ids: list[int]) -> str:
        return self._words.transcribe(ids)


class QwenPrompting:
    """See ``core.qwen_prompt``. ``trace_gate.npy`` scales a keypoint's feature, per channel."""

    def __init__(self, manifest: Manifest, words: Words, table: EmbeddingTable) -> None:
        self._words, self._table = words, table
        self._layout = QwenLayout.from_ids(words.ids_of(TOKEN_TEXTS), manifest.grid_hw)
        section: Mapping[str, Any] = manifest.sections["prompt"]
        self._system = str(section.get("system", SYSTEM))
        self._request = str(section.get("caption_request", CAPTION_REQUEST))
        self._gate = read_vector(manifest.directory / TRACE_GATE_NAME, manifest.sizes["D"])
        self.seg, self.codebook = self._layout.seg, self._layout.codebook
        self.stops = frozenset({self._layout.turn_end, self._layout.end_of_text})

    def ask(
        self, enhanced: NDArray[np.float32], trace_tokens: NDArray[np.float32], text: str | None
    ) -> Question:
        """See ``Prompting.ask``."""
        return self._turn(enhanced, trace_tokens, self._request if text is None else text.strip())

    def search(self, tokens: NDArray[np.float32], text: str) -> Question:
        """See ``Prompting.search``."""
        return self._turn(tokens, tokens[:0], LOCATE_REQUEST.format(text.strip()))

    def _turn(
        self, visual: NDArray[np.float32], trace_tokens: NDArray[np.float32], request: str
    ) -> Question:
        count = len(trace_tokens)
        turn = lay_out_turn(self._layout, self._encode, count, request, self._system)
        rows = self.look_up(turn.ids)
        rows[turn.first_image : turn.first_image + len(visual)] = visual
        rows[turn.first_keypoint : turn.first_keypoint + count] += self._gate * trace_tokens
        prompt = EmbeddedPrompt(rows[None], turn.position_ids[:, None], turn.next_position)
        return Question(prompt, turn.prefix, len(self.encode(request)))

    def follow_up(self, text: str | None) -> list[int]:
        """See ``Prompting.follow_up``: the end of one turn, then another one."""
        request = self._request if text is None else text.strip()
        return lay_out_follow_up(self._layout, self._encode, request)

    def look_up(self, ids: NDArray[np.int64]) -> NDArray[np.float32]:
        return self._table.rows(ids)

    def encode(self, text: str) -> NDArray[np.int64]:
        return self._words.encode(text)

    def decode(self, ids: list[int]) -> str:
        return self._words.decode(ids)

    def transcribe(self, ids: list[int]) -> str:
        return self._words.transcribe(ids)

    def _encode(self, text: str) -> list[int]:
        return [int(token) for token in self._words.encode(text)]


_KINDS: dict[str, type[NanoPrompting] | type[QwenPrompting]] = {
    NANO_LAYOUT: NanoPrompting,
    QWEN_LAYOUT: QwenPrompting,
}


def open_prompting(manifest: Manifest) -> Prompting:
    """Raises EngineMismatch for a layout, tokenizer or table that this program cannot use."""
    layout = manifest.sections["prompt"].get("layout", NANO_LAYOUT)
    if layout not in _KINDS:
        raise EngineMismatch(
            f"'layout' in 'prompt' of the manifest is {layout!r}, this program knows "
            f"{', '.join(_KINDS)}; update tracevlm_ros, or re-export"
        )
    words = Words(manifest.tokenizer_path, manifest.sizes["vocab"])
    return _KINDS[layout](manifest, words, EmbeddingTable(manifest))
