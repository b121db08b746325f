"""Greedy generation over the ``prefill`` and ``decode`` graphs, one token at a time.

The prompt is read in two parts. What does not depend on the question (image and trace tokens) is
prefilled once and kept; the task, the question and the answer are decoded after it. So a second
question about the same trace neither encodes nor prefills again, and gets the answer that it would
have got as the first one.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from engine.runtime.backend import Backend
from engine.runtime.manifest import Manifest
from engine.runtime.passes import Cache, GrowingPasses, GrownCache, Read, open_passes
from engine.runtime.prompting import Question, open_prompting
from tracevlm_ros.core.errors import EngineMismatch
from tracevlm_ros.core.prompt import TRACE_TOKENS, answer_positions
from tracevlm_ros.core.types import Description


@dataclass(slots=True)
class Turn:
    """Where a conversation stands: ``length`` tokens are in ``cache``, the next one's rope position
    is ``position``, and ``unread`` was said but is not in the cache yet."""

    cache: Cache
    length: int
    position: int
    unread: list[int] = field(default_factory=list)


def begin_turn(question: Question, prefix: Cache) -> Turn:
    """The turn that begins a conversation: only the prefix has been read."""
    return Turn(prefix, question.prefix, int(question.position_ids[0, 0, 0]))


@dataclass(slots=True)
class Spoken:
    """Tokens of an answer so far, and the probabilities of all that were chosen."""

    tokens: list[int] = field(default_factory=list)
    probabilities: list[float] = field(default_factory=list)


class FollowUp(NamedTuple):
    """A further question of a conversation: (1, S, D) and (3, 1, S)."""

    embeddings: NDArray[np.float32]
    position_ids: NDArray[np.int64]


class Language:
    """The language model of one directory."""

    def __init__(self, backend: Backend, manifest: Manifest) -> None:
        self._passes = open_passes(backend, manifest)
        self._prompting = open_prompting(manifest)
        self._limits = (manifest.max_prompt_tokens, manifest.max_new_tokens)

    def encode(self, text: str) -> NDArray[np.int64]:
        """Ids of plain text, as it stands in a question."""
        return self._prompting.encode(text)

    def ask(
        self, enhanced: NDArray[np.float32], trace_tokens: NDArray[np.float32], text: str | None
    ) -> Question:
        """Lay out the prompt of one trace: (N, D) image tokens, (K, D) valid trace tokens.

        Raises EngineMismatch when it is longer than the model reads.
        """
        return self._fitting(self._prompting.ask(enhanced, trace_tokens, text))

    def search(self, tokens: NDArray[np.float32], text: str) -> Question:
        """Lay out the prompt that asks for the trace of ``text``: (N, D) image tokens.

        Raises EngineMismatch when it is longer than the model reads.
        """
        return self._fitting(self._prompting.search(tokens, text))

    def _fitting(self, question: Question) -> Question:
        length, limit = question.prompt.embeddings.shape[1], self._limits[0]
        if length > limit:
            raise EngineMismatch(
                f"the prompt has {length} tokens, this model reads {limit}; ask a shorter question "
                f"(this one has {question.asked} tokens)"
            )
        return question

    def read_prefix(self, question: Question) -> Cache:
        """Prefill what every question about this trace shares."""
        prompt, prefix = question.prompt, question.prefix
        return self._passes.prefill(
            prompt.embeddings[:, :prefix], prompt.position_ids[..., :prefix]
        )

    def answer(
        self, turn: Turn, question: Question | FollowUp, cancelled: Callable[[], bool]
    ) -> Iterator[Description]:
        """One part per token, the last one final; nothing more once ``cancelled()`` is true.

        Ends at ``[SEG]`` (with the segmentation embeddings, from one pass over ``[SEG]`` and the
        codebook tokens), or without embeddings at the end token or the model's limit of new
        tokens. Other special tokens are read on and left out of the text. ``turn`` is where the
        question is read after, and in the end where the next one can be.
        """
        spoken = Spoken()
        for choice in self._choices(turn, question, cancelled, self._limits[1]):
            yield self.say(turn, spoken, choice)

    def say(self, turn: Turn, spoken: Spoken, choice: "Choice") -> Description:
        """The part of an answer that ends with ``choice``, which joins ``spoken``."""
        spoken.probabilities.append(choice.probability)
        score = float(np.mean(spoken.probabilities))
        if self.ends(choice.token):
            embeddings = self._segmentation(turn, choice.token)
            return Description(self._prompting.decode(spoken.tokens), True, score, embeddings)
        spoken.tokens.append(choice.token)
        is_full = len(spoken.tokens) == self._limits[1]
        return Description(self._prompting.decode(spoken.tokens), is_full, score)

    @property
    def max_answers(self) -> int:
        """How many answers ``read_on`` takes."""
        return self._passes.max_answers if isinstance(self._passes, GrowingPasses) else 1

    def begin(self, turn: Turn, question: Question) -> "Choice":
        """Read ``question``; the first token of its answer."""
        read = self._read(turn, question.embeddings, question.position_ids)
        return most_probable(read.logits[-1])

    def read_on(
        self, cache: GrownCache, turns: Sequence[Turn], tokens: Sequence[int]
    ) -> tuple[GrownCache, list["Choice"]]:
        """One more token of each answer in one pass: the rows of ``cache`` grown, and what follows.

        The turns move on but for their caches.
        """
        assert isinstance(self._passes, GrowingPasses), "max_answers tells"
        rows = self._embed(list(tokens)).swapaxes(0, 1)
        places = [answer_positions(turn.position, 1) for turn in turns]
        read = self._passes.decode_jointly(cache, rows, np.concatenate(places, axis=1))
        for turn in turns:
            turn.length, turn.position = turn.length + 1, turn.position + 1
        return read.cache, [most_probable(logits[-1]) for logits in read.logits]

    def draw(self, turn: Turn, question: Question, cancelled: Callable[[], bool]) -> Iterator[str]:
        """The answer to a search as it is said, special tokens included: all so far, a part per
        token; nothing more once ``cancelled()`` is true.

        A trace is longer than a description: it may have the ``TRACE_TOKENS`` that it needs, out
        of the room that its short prompt leaves below the model's limits of prompt and answer.
        """
        room = sum(self._limits) - question.prompt.embeddings.shape[1]
        said: list[int] = []
        for token, _ in self._choices(turn, question, cancelled, min(TRACE_TOKENS, room)):
            if self.ends(token):
                return
            said.append(token)
            yield self._prompting.transcribe(said)

    def _choices(
        self,
        turn: Turn,
        question: Question | FollowUp,
        cancelled: Callable[[], bool],
        limit: int,
    ) -> Iterator["Choice"]:
        """Greedy tokens after ``question``, up to the one that ends the answer, or ``limit``."""
        logits = self._read(turn, question.embeddings, question.position_ids).logits
        count = 0
        while not cancelled():
            choice = most_probable(logits[-1])
            if self.ends(choice.token):
                yield choice
                return
            count += 1
            turn.unread = [choice.token]
            yield choice
            if count == limit or cancelled():
                return
            logits = self._step(turn, [choice.token]).logits

    def ends(self, token: int) -> bool:
        """Whether an answer ends at ``token``."""
        return token == self._prompting.seg or token in self._prompting.stops

    def follow_up(self, turn: Turn, text: str | None) -> FollowUp:
        """Lay out another question after all that was said; EngineMismatch when it is too long."""
        ids = [*turn.unread, *self._prompting.follow_up(text)]
        length, limit = turn.length + len(ids), self._limits[0]
        if length > limit:
            raise EngineMismatch(
                f"the dialogue has {length} tokens with this question, this model reads {limit}; "
                "begin another dialogue"
            )
        return FollowUp(self._embed(ids), answer_positions(turn.position, len(ids)))

    def _segmentation(self, turn: Turn, token: int) -> NDArray[np.float32] | None:
        """(6, D) last hidden states of the codebook tokens, None unless ``token`` is ``[SEG]``."""
        if token != self._prompting.seg:
            return None
        return self._step(turn, [token, *self._prompting.codebook]).hidden[1:]

    def _step(self, turn: Turn, tokens: list[int]) -> Read:
        return self._read(turn, self._embed(tokens), answer_positions(turn.position, len(tokens)))

    def _read(
        self, turn: Turn, embeddings: NDArray[np.float32], position_ids: NDArray[np.int64]
    ) -> Read:
        """Read more tokens after ``turn`` and move it behind them."""
        read = self._passes.decode(turn.cache, embeddings, position_ids)
        turn.cache = read.cache
        turn.length += embeddings.shape[1]
        turn.position = int(position_ids.max()) + 1
        turn.unread = []
        return read

    def _embed(self, tokens: list[int]) -> NDArray[np.float32]:
        return self._prompting.look_up(np.asarray(tokens, dtype=np.int64))[None]


class Choice(NamedTuple):
    token: int
    probability: float


def most_probable(logits: NDArray[np.float32]) -> Choice:
    """The token with the largest of ``logits`` (vocab,), the first of equal ones."""
    token = int(logits.argmax())
    return Choice(token, float(1.0 / np.exp(logits - logits[token], dtype=np.float64).sum()))
