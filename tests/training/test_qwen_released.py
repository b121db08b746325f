"""Against transformers' own Qwen2.5-VL with the same random weights, tiny, fp32."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch

from tests.training.tiny import random_traces
from tests.training.tiny_qwen import Twins, random_patches, tiny_config, twins
from training.model.config import QwenConfig
from training.model.qwen.generation import generate
from training.model.qwen.network import Spoken, TraceQwen
from training.model.qwen.patches import Patches
from training.model.qwen.prompt import Clip, Part, Picture, QwenPrompt, Text, lay_out

STILL = random_patches(1, 84, 140)
SMALL = random_patches(1, 56, 56, 1)
CLIP = random_patches(7, 56, 84, 2)
WORDS = Text((5, 17, 42, 8))
NEVER = -1
"""Random weights may well say an ending; both models are told to go on."""
CASES: dict[str, tuple[Sequence[Part], Sequence[Patches]]] = {
    "still": ([WORDS, Picture(STILL.grid), WORDS], [STILL]),
    "two stills": ([Picture(STILL.grid), WORDS, Picture(SMALL.grid), Text((9,))], [STILL, SMALL]),
    "clip": ([WORDS, Clip(CLIP.grid, 0.4), WORDS], [CLIP]),
    "text": ([WORDS, Text((11, 12))], []),
}


@pytest.fixture(scope="module", params=[False, True], ids=["own head", "tied head"])
def pair(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Twins:
    torch.set_num_threads(1)
    return twins(tiny_config(tied=request.param), tmp_path_factory.mktemp("released"))


def _inputs(parts: Sequence[Part], media: Sequence[Patches], prompt: QwenPrompt) -> dict[str, Any]:
    """What transformers' processor would hand over."""
    tokens = tiny_config().tokens
    ids = torch.from_numpy(prompt.ids)[None]
    found: dict[str, Any] = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
    if media:
        moving = any(isinstance(part, Clip) for part in parts)
        pixels, grids = ("pixel_values", "image_grid_thw")
        if moving:
            pixels, grids = ("pixel_values_videos", "video_grid_thw")
            seconds = [part.seconds_per_step for part in parts if isinstance(part, Clip)]
            found["second_per_grid_ts"] = torch.tensor(seconds)
        found[pixels] = torch.cat([part.values for part in media])
        found[grids] = torch.tensor([tuple(part.grid) for part in media])
        found["mm_token_type_ids"] = (ids == tokens.image_pad) + 2 * (ids == tokens.video_pad)
    return found


def _spoken(model: TraceQwen, prompt: QwenPrompt, media: Sequence[Patches]) -> Spoken:
    visual = [encoded.tokens.flatten(0, 1) for encoded in model.encode(media)] if media else []
    return Spoken(prompt, torch.cat(visual) if visual else None, None)


@pytest.mark.parametrize("name", CASES)
@torch.no_grad()
def test_without_a_trace_logits_equal_those_of_the_released_model(pair: Twins, name: str) -> None:
    parts, media = CASES[name]
    prompt = lay_out(parts, pair.ours.config)
    wanted = pair.released(**_inputs(parts, media, prompt)).logits[0]
    given = pair.ours.logits(pair.ours.read([_spoken(pair.ours, prompt, media)]))[0]
    assert wanted.std() > 0.1
    assert (given - wanted).abs().max() <= 1e-4


@pytest.mark.parametrize("name", ["still", "clip"])
@torch.no_grad()
def test_twenty_greedy_tokens_equal_those_of_the_released_model(pair: Twins, name: str) -> None:
    parts, media = CASES[name]
    prompt = lay_out(parts, pair.ours.config)
    wanted = pair.released.generate(
        **_inputs(parts, media, prompt), do_sample=False, max_new_tokens=20, min_new_tokens=20
    )[0, len(prompt.ids) :].tolist()
    heard: list[int] = []
    spoken = _spoken(pair.ours, prompt, media)
    answer = generate(pair.ours, spoken, 20, stop=(NEVER,), on_token=heard.append, segment=False)
    assert len(set(wanted)) > 3
    assert list(answer.tokens) == wanted == heard


@torch.no_grad()
def test_visual_tokens_equal_those_of_the_released_encoder(pair: Twins) -> None:
    grids = torch.tensor([tuple(STILL.grid), tuple(CLIP.grid)])
    wanted = pair.released.model.visual(torch.cat([STILL.values, CLIP.values]), grid_thw=grids)
    encoded = pair.ours.encode([STILL, CLIP])
    given = torch.cat([one.tokens.flatten(0, 1) for one in encoded])
    torch.testing.assert_close(given, wanted.pooler_output, rtol=0, atol=1e-4)


@torch.no_grad()
def test_with_a_trace_at_gamma_zero_visual_tokens_are_bit_identical(pair: Twins) -> None:
    for media in (STILL, CLIP):
        encoded = pair.ours.encode([media])[0]
        frame = torch.arange(media.grid.steps)
        grounded = pair.ours.ground(encoded, random_traces(len(frame), 6, 4), frame)
        assert torch.equal(grounded.enhanced, encoded.tokens)
        assert grounded.trace.abs().max() > 0


@pytest.mark.parametrize("seconds", [0.4, 0.5, 1.0, 5.0])
def test_rope_ids_equal_those_of_the_released_model(pair: Twins, seconds: float) -> None:
    parts = [WORDS, Clip(CLIP.grid, seconds), WORDS, Clip(CLIP.grid, 0.7), WORDS]
    prompt = lay_out(parts, pair.ours.config)
    inputs = _inputs(parts, [CLIP, CLIP], prompt)
    names = ("input_ids", "mm_token_type_ids", "video_grid_thw", "second_per_grid_ts")
    wanted, delta = pair.released.model.get_rope_index(**{name: inputs[name] for name in names})
    np.testing.assert_array_equal(prompt.position_ids, wanted[:, 0].numpy())
    assert prompt.next_position == len(prompt.ids) + int(delta)


def test_text_after_a_long_clip_can_go_on_after_its_last_moment() -> None:
    base = tiny_config()
    parts = [Clip(CLIP.grid, 5.0), Text((1,))]
    spatial = lay_out(parts, base)
    furthest = lay_out(parts, dataclasses.replace(base, text_after_video="furthest"))
    last = furthest.position_ids[:, :-2].max()
    assert furthest.position_ids[:, -2].tolist() == [last + 1] * 3
    assert spatial.position_ids[:, -2].tolist() == [1 + 3] * 3
    short = [Clip(CLIP.grid, 0.1), Text((1,))]
    same: QwenConfig = dataclasses.replace(base, text_after_video="furthest")
    np.testing.assert_array_equal(
        lay_out(short, base).position_ids, lay_out(short, same).position_ids
    )
