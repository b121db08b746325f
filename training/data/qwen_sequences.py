"""Branches as token sequences of a Qwen2.5-VL vocabulary, in its chat form.

    system turn; user turn: picture or clip [trace] request; assistant turn: answer
    further exchanges: user turn: request; assistant turn: answer

Rope ids are those of ``model.qwen.prompt``. An answer ends with the end of its turn, or with the
codebook tokens of its mask, which generation stops at.
"""

import re
from collections.abc import Callable
from collections.abc import Sequence as Many

import numpy as np

from tracevlm_ros.core.tokens import SPECIAL
from training.data.messages import Branch, Exchange
from training.data.sequences import Sequence
from training.data.templates import Task
from training.model.config import QwenConfig
from training.model.qwen.layout import Grid
from training.model.qwen.prompt import Clip, Picture, TraceSlots, chat

SECONDS_PER_PICTURE = 1.0
"""How far the rope ids of a clip take its pictures to be apart; records do not say."""

REQUESTS: dict[Task, str] = {
    Task.TRACE_CAPTION: "Describe what the trace points at, in its order.",
    Task.TRACE_FROM_CAPTION: "Draw as <traj>(x,y),...</traj>, coordinates 0 to 999, the",
    Task.JOINT: "Describe the picture; after each phrase draw its trace as <traj>(x,y),...</traj>.",
    Task.INTERPRET: "Name what the trace is about, in its order.",
    Task.GROUND: "Name what the trace is about with boxes (x1,y1),(x2,y2), coordinates 0 to 999:",
    Task.ASK: "",
    Task.SEGMENT: "Segment what the trace points at:",
    Task.REFER_BOX: "Give as (x1,y1),(x2,y2), coordinates 0 to 999, the",
    Task.REFER_MASK: "Segment it, the",
    Task.IMAGE_CAPTION: "Describe the picture.",
    Task.VIDEO_CAPTION: "Describe the",
}
"""What a Qwen model is asked; the question of the task's template follows."""


class QwenSequenceEncoder:
    """``encode_text`` turns plain text into ids, control tokens never among them."""

    def __init__(self, config: QwenConfig, encode_text: Callable[[str], Many[int]]) -> None:
        tokens = config.tokens
        self._config, self._encode = config, encode_text
        self._special = {
            SPECIAL.traj_start: [tokens.traj_start],
            SPECIAL.traj_end: [tokens.traj_end],
            SPECIAL.seg: [tokens.seg, *tokens.codebook],
        }
        self._split = re.compile("(" + "|".join(re.escape(text) for text in self._special) + ")")

    def encode(
        self,
        branch: Branch,
        pictures: int,
        size_hw: tuple[int, int] = (0, 0),
        /,
        *,
        awaiting: bool = False,
    ) -> Sequence:
        """See ``sequences.Encoder``; ``size_hw`` must be multiples of the merged patch."""
        patch = self._config.vision.patch_size
        grid = Grid(pictures, size_hw[0] // patch, size_hw[1] // patch)
        medium = Picture(grid) if pictures == 1 else Clip(grid, SECONDS_PER_PICTURE)
        keypoints = 0 if branch.trace is None else len(branch.trace.points)
        slots = TraceSlots(keypoints) if keypoints else None
        request = _request(branch.exchanges[0])
        prompt = chat(self._config, self._encode, [medium], request, slots)
        ids: list[int] = prompt.ids.tolist()
        learned = [False] * len(ids)
        for number, exchange in enumerate(branch.exchanges, 1):
            if number > 1:
                asked = self._next_turn(exchange)
                ids += asked
                learned += [False] * len(asked)
            if not awaiting or number < len(branch.exchanges):
                said = self._said(exchange.answer)
                ids += said
                learned += [True] * len(said)
        array = np.array(ids, np.int64)
        answer_ids = np.arange(len(ids) - len(prompt.ids)) + prompt.next_position
        positions = [prompt.position_ids, np.broadcast_to(answer_ids, (3, len(answer_ids)))]
        segs = np.flatnonzero((array == self._config.tokens.seg) & np.array(learned))
        return Sequence(
            array,
            np.concatenate(positions, axis=1),
            np.array(learned, np.bool_),
            prompt.visual_columns.reshape(pictures, -1),
            prompt.trace_columns,
            segs[:, None] + 1 + np.arange(len(self._config.tokens.codebook)),
        )

    def _next_turn(self, exchange: Exchange) -> list[int]:
        start, end = self._config.tokens.turn_start, self._config.tokens.turn_end
        newline = list(self._encode("\n"))
        user = [start, *self._encode("user\n"), *self._encode(_request(exchange)), end, *newline]
        return [*newline, *user, start, *self._encode("assistant\n")]

    def _said(self, answer: str) -> list[int]:
        ids: list[int] = []
        for piece in self._split.split(answer):
            ids += self._special.get(piece) or list(self._encode(piece) if piece.strip() else ())
        ends_in_mask = answer.rstrip().endswith(SPECIAL.seg)
        return ids if ends_in_mask else [*ids, self._config.tokens.turn_end]


def _request(exchange: Exchange) -> str:
    return " ".join(part for part in (REQUESTS[exchange.task], exchange.question) if part)
