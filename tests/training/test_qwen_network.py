"""What TraceVLM adds to the backbone: TVP per frame, gated trace features, masks of any shape."""

import dataclasses

import pytest
import torch

from tests.training.tiny import random_traces
from tests.training.tiny_qwen import TOKENS, random_patches, tiny_config
from tracevlm_ros.core.errors import InputError
from training.model.config import QwenConfig
from training.model.qwen.generation import generate
from training.model.qwen.layout import Grid
from training.model.qwen.network import Encoded, Spoken, TraceQwen, valid_keypoints
from training.model.qwen.patches import Patches
from training.model.qwen.prompt import Clip, Picture, Text, TraceSlots, chat, lay_out
from training.model.trace_embedding import TraceBatch

STILL = random_patches(1, 84, 140)
CLIP = random_patches(5, 56, 84, 2)


def _model(config: QwenConfig | None = None, gamma: float = 0.0) -> TraceQwen:
    torch.manual_seed(0)
    model = TraceQwen(config or tiny_config()).eval()
    for block in model.tvp.blocks:
        torch.nn.init.constant_(block.gamma, gamma)
    return model


def _spoken(model: TraceQwen, media: Patches, trace: TraceBatch, words: int = 4) -> Spoken:
    """One clip or still, one row of ``trace`` per step, all valid keypoints in the prompt."""
    encoded = model.encode([media])[0]
    grounded = model.ground(encoded, trace, torch.arange(media.grid.steps))
    keypoints = valid_keypoints(grounded, trace.valid)
    part = Picture(media.grid) if media.grid.steps == 1 else Clip(media.grid, 1.0)
    text = Text(tuple(range(10, 10 + words)))
    prompt = lay_out([part, TraceSlots(len(keypoints)), text], model.config)
    return Spoken(prompt, grounded.enhanced.flatten(0, 1), keypoints)


@torch.no_grad()
def test_each_step_of_a_clip_is_changed_by_its_own_points_alone() -> None:
    model = _model(gamma=0.5)
    encoded = model.encode([CLIP])[0]
    trace = random_traces(3, 6, 4)
    moved = trace.points.clone()
    moved[1] = 1.0 - moved[1]
    frame = torch.arange(3)
    one = model.ground(encoded, trace, frame).enhanced
    two = model.ground(encoded, trace._replace(points=moved), frame).enhanced
    assert torch.equal(one[[0, 2]], two[[0, 2]])
    assert not torch.allclose(one[1], two[1])
    assert not torch.allclose(one, encoded.tokens)


@torch.no_grad()
def test_a_step_without_points_leaves_its_tokens_exactly() -> None:
    model = _model(gamma=0.5)
    encoded = model.encode([CLIP])[0]
    trace = random_traces(3, 6, 4)
    trace.valid[1] = 0.0
    grounded = model.ground(encoded, trace, torch.arange(3))
    assert torch.equal(grounded.enhanced[1], encoded.tokens[1])
    assert not grounded.trace[1].any()
    assert not torch.equal(grounded.enhanced[0], encoded.tokens[0])


@torch.no_grad()
def test_the_same_points_on_another_step_give_other_features() -> None:
    model = _model()
    encoded = Encoded(torch.zeros(3, 6, 64), model.encode([CLIP])[0].maps, CLIP.grid)
    trace = TraceBatch(*(value.expand(3, *value.shape[1:]) for value in random_traces(1, 6, 4)))
    refined = model.ground(encoded, trace, torch.arange(3)).trace
    assert not torch.allclose(refined[0], refined[1])


def test_gamma_and_gate_move_from_zero_when_trained() -> None:
    model = _model().train()
    spoken = _spoken(model, STILL, random_traces(1, 6, 4))
    assert not model.trace_gate.any()
    optimiser = torch.optim.SGD(model.parameters(), lr=0.1)
    model.logits(model.read([spoken])).square().mean().backward()
    optimiser.step()
    assert all(block.gamma.abs().max() > 0 for block in model.tvp.blocks)
    assert model.trace_gate.abs().max() > 0


@torch.no_grad()
def test_an_open_gate_lets_the_trace_into_the_answer() -> None:
    model = _model()
    hidden = [model.read([_spoken(model, STILL, random_traces(1, 6, 4, seed))]) for seed in (0, 1)]
    assert torch.equal(*hidden)
    model.trace_gate.fill_(0.5)
    hidden = [model.read([_spoken(model, STILL, random_traces(1, 6, 4, seed))]) for seed in (0, 1)]
    assert not torch.allclose(*hidden)


@torch.no_grad()
def test_padding_beside_a_longer_sequence_changes_nothing() -> None:
    model = _model(gamma=0.5)
    short = _spoken(model, STILL, random_traces(1, 6, 4), words=2)
    long = _spoken(model, CLIP, random_traces(3, 6, 4), words=9)
    together = model.read([short, long])
    for row, spoken in zip(together, (short, long), strict=True):
        alone = model.read([spoken])[0]
        torch.testing.assert_close(row[: len(alone)], alone, rtol=0, atol=1e-5)


@torch.no_grad()
def test_fused_attention_equals_the_exported_one() -> None:
    fused, plain = _model(tiny_config(fused=True)), _model(tiny_config(fused=False))
    plain.load_state_dict(fused.state_dict())
    x, places = torch.randn(2, 9, 64), torch.arange(9).expand(3, 2, 9)
    for model in (fused, plain):
        model.eval()
    whole = plain.think(x, places).hidden
    torch.testing.assert_close(fused.think(x, places).hidden, whole, rtol=0, atol=1e-5)
    first = fused.think(x[:, :4], places[:, :, :4])
    rest = fused.think(x[:, 4:], places[:, :, 4:], (first.keys, first.values))
    torch.testing.assert_close(rest.hidden, whole[:, 4:], rtol=0, atol=1e-5)


@torch.no_grad()
def test_masks_have_the_shape_of_the_picture_for_each_trace() -> None:
    model = _model(gamma=0.5)
    stills = model.encode([STILL])[0]
    trace = random_traces(2, 6, 4)
    frame = torch.zeros(2, dtype=torch.int64)
    grounded = model.ground(stills, trace, frame)
    masks = model.segment(stills, frame, grounded, trace, torch.randn(2, 6, 64))
    assert masks.shape == (2, 4 * 6, 4 * 10)
    assert masks.std() > 0


@torch.no_grad()
def test_seg_embeddings_are_those_of_the_codebook_after_seg() -> None:
    """The answer is made to say [SEG] at once by a head that only knows it."""
    model = _model()
    assert model.lm_head is not None
    spoken = _spoken(model, STILL, random_traces(1, 6, 4))
    hidden = model.read([spoken])[0, -1]
    model.lm_head.weight.zero_()
    model.lm_head.weight[TOKENS.seg] = hidden
    answer = generate(model, spoken, 5)
    assert answer.tokens == ()
    assert answer.seg_embeddings is not None
    told = Text((*range(10, 14), TOKENS.seg, *TOKENS.codebook))
    keypoints = len(spoken.prompt.trace_columns)
    prompt = lay_out([Picture(STILL.grid), TraceSlots(keypoints), told], model.config)
    whole = model.read([spoken._replace(prompt=prompt)])[0]
    torch.testing.assert_close(answer.seg_embeddings, whole[-6:], rtol=0, atol=1e-5)


@torch.no_grad()
def test_generation_stops_at_the_end_of_the_turn() -> None:
    model = _model()
    assert model.lm_head is not None
    spoken = _spoken(model, STILL, random_traces(1, 6, 4))
    model.lm_head.weight.zero_()
    model.lm_head.weight[TOKENS.turn_end] = model.read([spoken])[0, -1]
    assert generate(model, spoken, 5).tokens == ()
    unstopped = generate(model, spoken, 5, stop=()).tokens
    assert len(unstopped) == 5
    assert unstopped[0] == TOKENS.turn_end


@torch.no_grad()
@pytest.mark.parametrize("whole", [False, True], ids=["backbone in bf16", "cast as a whole"])
def test_a_bf16_backbone_stays_near_fp32_and_keeps_fp32_rope(whole: bool) -> None:
    model = _model()
    spoken = _spoken(model, STILL, random_traces(1, 6, 4), words=40)
    wanted = model.logits(model.read([spoken]))
    model.model.to(torch.bfloat16)
    if model.lm_head is not None:
        model.lm_head.to(torch.bfloat16)
    if not whole:
        model.model.language_model.frequencies = _model().model.language_model.frequencies
    far = torch.full((3, 1, 1), 30000)
    exact = _model().model.language_model.rotary(far)
    for given, value in zip(model.model.language_model.rotary(far), exact, strict=True):
        assert torch.equal(given, value)
    given = model.logits(model.read([_spoken(model, STILL, random_traces(1, 6, 4), words=40)]))
    assert given.dtype == torch.bfloat16
    assert (given.float() - wanted).abs().max() < 0.05 * max(1.0, float(wanted.abs().max()))


def test_wrong_counts_and_grids_are_refused() -> None:
    model = _model()
    spoken = _spoken(model, STILL, random_traces(1, 6, 4))
    with pytest.raises(InputError, match=r"15 visual tokens and 3 keypoints .* 15 and 4"):
        model.read([spoken._replace(trace=torch.zeros(3, 64))])
    with pytest.raises(InputError, match="cannot be merged"):
        lay_out([Picture(Grid(1, 3, 4))], model.config)
    with pytest.raises(InputError, match="patches are"):
        model.encode([STILL._replace(values=STILL.values[:-1])])
    config = dataclasses.replace(
        tiny_config(), tvp=dataclasses.replace(tiny_config().tvp, max_frames=2)
    )
    few = _model(config)
    with pytest.raises(InputError, match="3 temporal steps, TVP knows 2"):
        few.ground(few.encode([CLIP])[0], random_traces(3, 6, 4), torch.arange(3))
    with pytest.raises(InputError, match="the prompt is empty"):
        lay_out([], model.config)


def test_a_chat_puts_media_and_trace_into_the_users_turn() -> None:
    config = tiny_config()
    letters = {letter: index for index, letter in enumerate(sorted(set("\nYouare ahlpfsitn.ymqc")))}
    prompt = chat(
        config,
        lambda text: [letters.get(letter, 99) for letter in text],
        [Picture(Grid(1, 4, 4))],
        "what",
        TraceSlots(2),
        system="hi",
    )
    ids = prompt.ids.tolist()
    assert ids.count(TOKENS.turn_start) == 3
    assert ids.count(TOKENS.turn_end) == 2
    user = ids[ids.index(TOKENS.vision_start) :]
    expected = [TOKENS.vision_start, *[TOKENS.image_pad] * 4, TOKENS.vision_end]
    expected += [TOKENS.traj_start, TOKENS.traj_pad, TOKENS.traj_pad, TOKENS.traj_end]
    assert user[: len(expected)] == expected
    assert [ids[column] for column in prompt.trace_columns] == [TOKENS.traj_pad] * 2
    assert prompt.position_ids.shape == (3, len(ids))
