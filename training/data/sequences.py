"""Branches as token sequences, laid out as ``core.prompt`` lays out a prompt, for stills and clips.

    <|vision_start|> image tokens, picture by picture <|vision_end|> [<traj> trace tokens </traj>]
    then for each exchange: task [question] <|answer|> answer, ``<|im_end|>`` or a mask's tokens

``[SEG]`` in an answer is followed by the codebook tokens; an answer that ends so needs no end.
"""

import re
from typing import NamedTuple, Protocol

import numpy as np
from tokenizers import Tokenizer

from tracevlm_ros.core.settings import require_range
from tracevlm_ros.core.tokens import SPECIAL, special_tokens
from tracevlm_ros.core.types import BoolArray, IntArray
from training.data.messages import Branch, Exchange
from training.data.templates import TEMPLATES
from training.tokenizer import encode_words, special_ids

_SPECIAL = re.compile("(" + "|".join(re.escape(token) for token in special_tokens()) + ")")


class Sequence(NamedTuple):
    """L tokens: ``ids`` (L,); ``position_ids`` (3, L), rope's time, row and column, from 0;
    ``learned`` (L,) true for what the model has to say.

    Columns of the placeholders: ``image`` (P, N) of P pictures, ``trace`` (K,) of K keypoints,
    ``codebook`` (C, 6) after each ``[SEG]``.
    """

    ids: IntArray
    position_ids: IntArray
    learned: BoolArray
    image: IntArray
    trace: IntArray
    codebook: IntArray


class Encoder(Protocol):
    """Branches as the tokens of one model."""

    def encode(
        self,
        branch: Branch,
        pictures: int,
        size_hw: tuple[int, int] = (0, 0),
        /,
        *,
        awaiting: bool = False,
    ) -> Sequence:
        """The sequence of ``branch`` over ``pictures`` pictures of ``size_hw`` pixels.

        ``awaiting``: it ends where the last answer would begin; that answer is left out.
        """


class SequenceEncoder:
    """The nano model's, whose pictures all have one size. ``grid_hw``: rows and columns of image
    tokens of one picture."""

    def __init__(self, tokenizer: Tokenizer, grid_hw: tuple[int, int]) -> None:
        for side in grid_hw:
            require_range("grid_hw", side, 1, 1024)
        self._tokenizer = tokenizer
        self._ids = special_ids(tokenizer)
        self._grid_hw = grid_hw
        self._book = [self._ids[token] for token in SPECIAL.codebook]

    def encode(
        self,
        branch: Branch,
        pictures: int,
        _size_hw: tuple[int, int] = (0, 0),
        /,
        *,
        awaiting: bool = False,
    ) -> Sequence:
        """See ``Encoder``."""
        rows, columns = self._grid_hw
        image_tokens = pictures * rows * columns
        keypoints = 0 if branch.trace is None else len(branch.trace.points)
        ids = [
            self._ids[SPECIAL.vision_start],
            *[self._ids[SPECIAL.image_pad]] * image_tokens,
            self._ids[SPECIAL.vision_end],
        ]
        first_trace = len(ids) + 1
        if keypoints:
            trace = [self._ids[SPECIAL.traj_pad]] * keypoints
            ids += [self._ids[SPECIAL.traj_start], *trace, self._ids[SPECIAL.traj_end]]
        learned = [False] * len(ids)
        for number, exchange in enumerate(branch.exchanges, 1):
            open_ended = awaiting and number == len(branch.exchanges)
            asked = self._asked(exchange)
            said = [] if open_ended else self._said(exchange.answer)
            ids += asked + said
            learned += [False] * len(asked) + [True] * len(said)
        array = np.array(ids, np.int64)
        segs = np.flatnonzero((array == self._ids[SPECIAL.seg]) & np.array(learned))
        return Sequence(
            array,
            _positions(pictures, self._grid_hw, len(ids)),
            np.array(learned, np.bool_),
            1 + np.arange(image_tokens).reshape(pictures, rows * columns),
            first_trace + np.arange(keypoints),
            segs[:, None] + 1 + np.arange(len(self._book)),
        )

    def _asked(self, exchange: Exchange) -> list[int]:
        question = encode_words(self._tokenizer, exchange.question) if exchange.question else []
        token = TEMPLATES[exchange.task].token
        return [self._ids[token], *question, self._ids[SPECIAL.answer]]

    def _said(self, answer: str) -> list[int]:
        """Words between special tokens are encoded each by itself, in lower case."""
        ids: list[int] = []
        for piece in _SPECIAL.split(answer):
            if piece in self._ids:
                ids.append(self._ids[piece])
                ids += self._book if piece == SPECIAL.seg else []
            elif piece.strip():
                ids += encode_words(self._tokenizer, piece)
        ends_in_mask = answer.rstrip().endswith(SPECIAL.seg)
        return ids if ends_in_mask else [*ids, self._ids[SPECIAL.end]]


def _positions(pictures: int, grid_hw: tuple[int, int], length: int) -> IntArray:
    """Rope ids as in Qwen2-VL: pictures span time, rows and columns at once, text counts on."""
    rows, columns = grid_hw
    time, row, column = np.indices((pictures, rows, columns)).reshape(3, -1)
    first = 1 + max(pictures, rows, columns)
    text = np.arange(first, first + length - 1 - len(time))
    positions = [np.zeros((3, 1), np.int64), 1 + np.stack([time, row, column])]
    return np.concatenate([*positions, np.broadcast_to(text, (3, len(text)))], axis=1)
