"""Free answers of a network to any task, streamed as they are said, masks included.

    answerer = Answerer(stage)
    talk = answerer.look(images, trace)
    for piece in talk.stream(Task.ASK, "what shape is it?"):
        print(piece, end="")
    talk.last.parsed, talk.last.ended
    talk.ask(Task.ASK, "and its colour?")     # the next turn knows the ones before

Turns follow each other in one sequence. What a parser could not understand stands in the
``problems`` of the parsed answer; nothing that a network says raises.
"""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from tracevlm_ros.core.errors import ConfigError
from tracevlm_ros.core.tokens import SPECIAL
from tracevlm_ros.core.types import Image
from training.data.messages import Branch, Exchange, MessageTree, TracePoints
from training.data.packed_stream import Row, Sample
from training.data.templates import TEMPLATES, Answer, Task
from training.sampling import Chooser, SamplingConfig, goes_in_circles
from training.stages.network import Seen, StageNetwork


class Said(NamedTuple):
    """One answer. ``ended``: end, seg, limit, stop or circle. ``masks`` (P, h, w) logits, one per
    picture, where ``[SEG]`` was said."""

    text: str
    parsed: Answer
    tokens: tuple[int, ...]
    ended: str
    masks: Tensor | None


class Answerer:
    """``stage`` in the state that it is to answer in; it is put into evaluation mode."""

    def __init__(self, stage: StageNetwork[Any], sampling: SamplingConfig | None = None) -> None:
        self.stage = stage.eval()
        self.sampling = sampling or SamplingConfig()

    def look(self, images: Sequence[Image], trace: TracePoints | None = None) -> "Talk":
        """Begin a talk about ``images`` (at the model's size) and what was drawn on them.

        ConfigError when there is no picture.
        """
        if not images:
            raise ConfigError("no picture to talk about; give at least one")
        return Talk(self, tuple(images), trace)

    def answer(self, images: Sequence[Image], branch: Branch) -> Said:
        """The answer to the last question of ``branch``, whose own answer is not looked at."""
        utterance = Utterance(self, tuple(images), branch)
        for _ in utterance:
            pass
        return utterance.said()


class Talk:
    """Questions and answers about the same pictures; see the module's docstring."""

    def __init__(
        self, answerer: Answerer, images: tuple[Image, ...], trace: TracePoints | None
    ) -> None:
        self._answerer, self._images, self._trace = answerer, images, trace
        self._exchanges: list[Exchange] = []
        self.last: Said | None = None

    def ask(self, task: Task, about: str = "") -> Said:
        """The whole answer. ConfigError when the task needs a trace, or a text to ask about."""
        for _ in self.stream(task, about):
            pass
        assert self.last is not None
        return self.last

    def stream(self, task: Task, about: str = "") -> Iterator[str]:
        """Pieces of the answer's text as they are said; afterwards ``last`` is the answer."""
        template = TEMPLATES[task]
        if template.reads_trace and self._trace is None and task is not Task.ASK:
            raise ConfigError(f"task '{task.value}' is about a trace; give one to look()")
        exchange = Exchange(task, template.ask(about), "")
        exchanges = (*self._exchanges, exchange)
        reads = any(TEMPLATES[e.task].reads_trace for e in exchanges)
        branch = Branch("talk", exchanges, self._trace if reads else None)
        utterance = Utterance(self._answerer, self._images, branch)
        yield from utterance
        self.last = utterance.said()
        self._exchanges.append(exchange._replace(answer=self.last.text))


class Utterance(Iterator[str]):
    """One answer while it is being said: pieces of text, and ``said`` when they have ended."""

    def __init__(self, answerer: Answerer, images: tuple[Image, ...], branch: Branch) -> None:
        self._stage, self._sampling = answerer.stage, answerer.sampling
        self._parse = TEMPLATES[branch.exchanges[-1].task].parse
        self._chooser = Chooser(self._sampling)
        self._prompt = _Prompt(self._stage, images, branch)
        self._tokens: list[int] = []
        self._told, self._ended = "", ""
        self._text = ""
        self._masks: Tensor | None = None

    @torch.no_grad()
    def __next__(self) -> str:
        if self._ended:
            raise StopIteration
        if len(self._tokens) >= self._sampling.limit:
            return self._end("limit")
        token = self._chooser.choose(self._prompt.logits())
        if token in self._stage.speech.ends:
            return self._end("end")
        self._tokens.append(token)
        if token == self._stage.speech.seg:
            self._masks = self._prompt.masks()
            return self._end("seg")
        text = self._stage.decode(self._tokens)
        cut = _cut(text, self._sampling.stop)
        if cut is not None:
            self._text = cut
            return self._end("stop")
        if goes_in_circles(self._tokens):
            return self._end("circle")
        self._prompt.say(token)
        safe = _without_begun(text, self._sampling.stop)
        return self._tell(safe) if not safe.endswith("\ufffd") else ""

    def said(self) -> Said:
        """The answer, after the last piece."""
        return Said(
            self._text, self._parse(self._text), tuple(self._tokens), self._ended, self._masks
        )

    def _end(self, reason: str) -> str:
        """The last piece."""
        self._ended = reason
        if reason != "stop":
            self._text = self._stage.decode(self._tokens)
        if reason == "seg" and not self._text.endswith(SPECIAL.seg):
            self._text = f"{self._text} {SPECIAL.seg}".strip()
        return self._tell(self._text)

    def _tell(self, text: str) -> str:
        """What of ``text`` has not been told; decoding may still change a begun character."""
        piece = text[len(self._told) :] if text.startswith(self._told) else ""
        self._told += piece
        return piece


class _Prompt:
    """The sequence so far, and what the language model has kept of it."""

    @torch.no_grad()
    def __init__(self, stage: StageNetwork[Any], images: tuple[Image, ...], branch: Branch) -> None:
        self._stage = stage
        size_hw = (images[0].shape[0], images[0].shape[1])
        sequence = stage.encoder.encode(branch, len(images), size_hw, awaiting=True)
        tree = MessageTree("talk", "", images, (branch,))
        sample = Sample(0, 0, tree, branch, sequence)
        batch = stage.collate([Row((sample,), {})], len(sequence.ids))
        self._device = next(stage.parameters()).device
        self._batch = stage.to_device(batch, self._device)
        self._seen: Seen = stage.see(self._batch)
        positions = stage.tokens(self._batch).position_ids
        self._next = int(positions.max()) + 1
        self._pictures = len(images)
        with stage.autocast(self._device):
            self._state = stage.language(self._seen.x, positions)

    def logits(self) -> Tensor:
        with self._stage.autocast(self._device):
            return self._stage.logits(self._state.hidden[0, -1])

    def say(self, token: int) -> None:
        self._state = self._advance([token])
        self._next += 1

    def masks(self) -> Tensor:
        """Logits (P, h, w), prompted by ``[SEG]`` and the codebook tokens after what was said."""
        speech = self._stage.speech
        book = self._advance([speech.seg, *speech.codebook]).hidden[0, 1:]
        spoken = book.expand(self._pictures, -1, -1)
        return self._stage.picture_masks(self._batch, self._seen.context, spoken)

    def _advance(self, tokens: list[int]) -> Any:
        stage = self._stage
        ids = torch.tensor([tokens], device=self._device)
        places = torch.arange(self._next, self._next + len(tokens), device=self._device)
        with stage.autocast(self._device):
            return stage.language(
                stage.language.embed_tokens(ids),
                places.expand(3, 1, -1),
                (self._state.keys, self._state.values),
            )


def _without_begun(text: str, stops: tuple[str, ...]) -> str:
    """``text`` without an end that may be the beginning of one of ``stops``."""
    begun = [
        size for stop in stops for size in range(1, len(stop)) if text.endswith(stop[:size])
    ]  # fmt: skip
    return text[: len(text) - max(begun, default=0)]


def _cut(text: str, stops: tuple[str, ...]) -> str | None:
    """``text`` before the first of ``stops``; None where there is none."""
    places = [text.find(stop) for stop in stops if stop in text]
    return text[: min(places)] if places else None
