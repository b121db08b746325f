"""Greedy generation over the ``prefill`` and ``decode`` graphs, one token at a time.

The prompt is read in two parts. What does not depend on the question (image and trace tokens) is
prefilled once and kept; the task, the question and the answer are decoded after it. So a second
question about the same trace neither encodes nor prefills again, and gets the answer that it would
have got as the first one.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from engine.runtime.backend import Backend, Tensor
from engine.runtime.manifest import Manifest
from engine.runtime.text import Words
from tracevlm_ros.core.errors import EngineMismatch
from tracevlm_ros.core.prompt import EmbeddedPrompt, PromptLayout, answer_positions, embed_prompt
from tracevlm_ros.core.types import Description

_CACHE = ("keys", "values")
_AFTER_PREFIX = 2
"""The task and the answer token, which stand round the question."""


class Cache(NamedTuple):
    """Keys and values of the tokens read so far, in the memory of the back end."""

    keys: Tensor
    values: Tensor


@dataclass(slots=True)
class Turn:
    """Where a conversation stands: ``length`` tokens are in ``cache``, the next one's rope position
    is ``position``, and ``unread`` was said but is not in the cache yet."""

    cache: Cache
    length: int
    position: int
    unread: list[int] = field(default_factory=list)


class Read(NamedTuple):
    """What the model says after each token of a pass: ``logits`` (S, vocab), ``hidden`` (S, D)."""

    logits: NDArray[np.float32]
    hidden: NDArray[np.float32]


class Question(NamedTuple):
    """A whole prompt; its first ``prefix`` tokens are the same for every question.

    ``embeddings`` (1, S, D) and ``position_ids`` (3, 1, S) are those of the rest.
    """

    prompt: EmbeddedPrompt
    prefix: int

    @property
    def embeddings(self) -> NDArray[np.float32]:
        return self.prompt.embeddings[:, self.prefix :]

    @property
    def position_ids(self) -> NDArray[np.int64]:
        return self.prompt.position_ids[..., self.prefix :]

    def after(self, prefix: Cache) -> Turn:
        """The turn that begins a conversation: only the prefix has been read."""
        return Turn(prefix, self.prefix, int(self.position_ids[0, 0, 0]))


class FollowUp(NamedTuple):
    """A further question of a conversation: (1, S, D) and (3, 1, S)."""

    embeddings: NDArray[np.float32]
    position_ids: NDArray[np.int64]


class Language:
    """The language model of one directory. ``table`` (vocab, D) is looked up on the host."""

    def __init__(
        self, backend: Backend, manifest: Manifest, words: Words, table: NDArray[np.float32]
    ) -> None:
        self._backend = backend
        self._words = words
        self._table = table
        self._limits = (manifest.max_prompt_tokens, manifest.max_new_tokens)
        self._layout = PromptLayout.from_ids(words.special_ids(), manifest.grid_hw)

    def ask(
        self, enhanced: NDArray[np.float32], trace_tokens: NDArray[np.float32], text: str | None
    ) -> Question:
        """Lay out the prompt of one trace: (N, D) image tokens, (K, D) valid trace tokens.

        Raises EngineMismatch when it is longer than the model reads.
        """
        ids = None if text is None else self._words.encode(text)
        prompt = embed_prompt(self._layout, self._look_up, enhanced, trace_tokens, ids)
        length, limit = prompt.embeddings.shape[1], self._limits[0]
        if length > limit:
            raise EngineMismatch(
                f"the prompt has {length} tokens, this model reads {limit}; ask a shorter question "
                f"(this one has {0 if ids is None else len(ids)} tokens)"
            )
        asked = 0 if ids is None else len(ids)
        return Question(prompt, length - asked - _AFTER_PREFIX)

    def read_prefix(self, question: Question) -> Cache:
        """Prefill what every question about this trace shares."""
        out = self._backend.run(
            "prefill",
            {
                "embeddings": question.prompt.embeddings[:, : question.prefix],
                "position_ids": question.prompt.position_ids[..., : question.prefix],
            },
            resident=_CACHE,
        )
        return Cache(out["keys"], out["values"])

    def answer(
        self, turn: Turn, question: Question | FollowUp, cancelled: Callable[[], bool]
    ) -> Iterator[Description]:
        """One part per token, the last one final; nothing more once ``cancelled()`` is true.

        Ends at ``[SEG]`` (with the segmentation embeddings, from one pass over ``[SEG]`` and the
        codebook tokens), or without embeddings at the end token or the model's limit of new
        tokens. Other special tokens are read on and left out of the text. ``turn`` is where the
        question is read after, and in the end where the next one can be.
        """
        logits = self._read(turn, question.embeddings, question.position_ids).logits
        said: list[int] = []
        probabilities: list[float] = []
        while not cancelled():
            token, probability = most_probable(logits[-1])
            probabilities.append(probability)
            score = float(np.mean(probabilities))
            if token in (self._layout.seg, self._layout.end):
                embeddings = self._segmentation(turn, token)
                yield Description(self._words.decode(said), True, score, embeddings)
                return
            said.append(token)
            turn.unread = [token]
            text, is_full = self._words.decode(said), len(said) == self._limits[1]
            yield Description(text, is_full, score)
            if is_full or cancelled():
                return
            logits = self._step(turn, [token]).logits

    def follow_up(self, turn: Turn, text: str | None) -> FollowUp:
        """Lay out another question after all that was said; EngineMismatch when it is too long."""
        layout = self._layout
        task = (
            [layout.caption] if text is None else [layout.ask, *self._words.encode(text).tolist()]
        )
        ids = [*turn.unread, layout.end, *task, layout.answer]
        length, limit = turn.length + len(ids), self._limits[0]
        if length > limit:
            raise EngineMismatch(
                f"the dialogue has {length} tokens with this question, this model reads {limit}; "
                "begin another dialogue"
            )
        return FollowUp(self._embed(ids), answer_positions(turn.position, len(ids)))

    def _segmentation(self, turn: Turn, token: int) -> NDArray[np.float32] | None:
        """(6, D) last hidden states of the codebook tokens, None unless ``token`` is ``[SEG]``."""
        if token != self._layout.seg:
            return None
        return self._step(turn, [token, *self._layout.codebook]).hidden[1:]

    def _step(self, turn: Turn, tokens: list[int]) -> Read:
        return self._read(turn, self._embed(tokens), answer_positions(turn.position, len(tokens)))

    def _read(
        self, turn: Turn, embeddings: NDArray[np.float32], position_ids: NDArray[np.int64]
    ) -> Read:
        """Read more tokens after ``turn`` and move it behind them."""
        inputs: dict[str, Any] = {
            "embeddings": embeddings,
            "position_ids": position_ids,
            "past_keys": turn.cache.keys,
            "past_values": turn.cache.values,
        }
        out = self._backend.run("decode", inputs, resident=_CACHE)
        turn.cache = Cache(out["keys"], out["values"])
        turn.length += embeddings.shape[1]
        turn.position = int(position_ids.max()) + 1
        turn.unread = []
        return Read(out["logits"][0], out["hidden"][0])

    def _embed(self, tokens: list[int]) -> NDArray[np.float32]:
        return self._look_up(np.asarray(tokens, dtype=np.int64))[None]

    def _look_up(self, ids: NDArray[np.int64]) -> NDArray[np.float32]:
        return np.asarray(self._table[ids], dtype=np.float32)


class Choice(NamedTuple):
    token: int
    probability: float


def most_probable(logits: NDArray[np.float32]) -> Choice:
    """The token with the largest of ``logits`` (vocab,), the first of equal ones."""
    token = int(logits.argmax())
    return Choice(token, float(1.0 / np.exp(logits - logits[token], dtype=np.float64).sum()))
