"""The run time and PyTorch say the same words and draw the same masks."""

from typing import NamedTuple

import numpy as np
import pytest
import torch

from engine.export.model_directory import write_model_directory
from engine.runtime import load_engine
from tests.training.tiny import tiny_model
from tracevlm_ros.core.engine import Engine, TracePrompt
from tracevlm_ros.core.types import Image
from training.data.batch import trace_batch
from training.generation import Described, PromptedTraces, describe_and_segment, generate
from training.model.tracevlm import TraceVLM
from training.tokenizer import load_tokenizer, prompt_layout


class Pair(NamedTuple):
    model: TraceVLM
    engine: Engine


def picture() -> Image:
    return np.random.default_rng(3).integers(0, 256, (64, 64, 3), dtype=np.uint8)


def traces() -> list[TracePrompt]:
    random = np.random.default_rng(5)
    return [
        TracePrompt(random.random((k, 2)), random.random(k), random.random(k) < 0.3)
        for k in (1, 3, 4)
    ]


def eager(model: TraceVLM) -> list[Described]:
    prompts = traces()
    batch = trace_batch(prompts, model.config.tvp.max_keypoints)
    tokenizer = load_tokenizer()
    layout = prompt_layout(tokenizer, model.config.vision.merged_grid)
    counts = tuple(len(prompt.points) for prompt in prompts)
    return describe_and_segment(model, picture(), PromptedTraces(batch, counts), tokenizer, layout)


def teach_seg(model: TraceVLM) -> None:
    """Make this random model say ``[SEG]`` where it now says its third token of the first trace.

    The row of ``[SEG]`` becomes the third hidden state, made orthogonal to the first two.
    """
    tokenizer = load_tokenizer()
    layout = prompt_layout(tokenizer, model.config.vision.merged_grid)
    language = model.model
    seen: list[torch.Tensor] = []
    said = language.logits

    def spy(hidden: torch.Tensor) -> torch.Tensor:
        seen.append(hidden.flatten())
        return said(hidden)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(language, "logits", spy)
        eager(model)
    before, _ = torch.linalg.qr(torch.stack(seen[:2]).T)
    direction = seen[2] - before @ (before.T @ seen[2])
    with torch.no_grad():
        language.embed_tokens.weight[layout.seg] = 5.0 * direction / direction.norm()


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Pair:
    model = tiny_model(seed=4).eval()
    teach_seg(model)
    directory = tmp_path_factory.mktemp("agreement") / "model"
    write_model_directory(model, load_tokenizer(), directory, "tiny", {})
    return Pair(model, load_engine(directory, backend="onnxruntime-cpu"))


def test_words_segmentation_embeddings_and_masks_equal_those_of_pytorch(pair: Pair) -> None:
    wanted = eager(pair.model)
    assert wanted[0].answer.seg_embeddings is not None
    assert len(wanted[0].answer.tokens) == 2
    grounded = pair.engine.ground(pair.engine.encode(picture()), traces())
    for row, expected in enumerate(wanted):
        *_, last = pair.engine.describe(grounded, row)
        if expected.answer.seg_embeddings is None:
            continue
        assert last.text == expected.answer.text
        assert last.seg_embeddings is not None
        np.testing.assert_allclose(
            last.seg_embeddings, expected.answer.seg_embeddings.numpy(), atol=1e-4
        )
        asked = [last.seg_embeddings if place == row else None for place in range(len(wanted))]
        shares = 1.0 / (1.0 + np.exp(-expected.of_stroke.second))
        mask = pair.engine.segment(grounded, asked, [shares] * len(wanted))[row]
        assert mask is not None
        assert expected.mask_logits is not None
        np.testing.assert_allclose(mask, expected.mask_logits, atol=1e-4)


def test_answers_to_questions_equal_those_of_pytorch(pair: Pair) -> None:
    tokenizer = load_tokenizer()
    layout = prompt_layout(tokenizer, pair.model.config.vision.merged_grid)
    first = traces()[:1]
    batch = trace_batch(first, pair.model.config.tvp.max_keypoints)
    grounded = pair.engine.ground(pair.engine.encode(picture()), first)
    with torch.no_grad():
        features = pair.model.encode(torch.from_numpy(picture())[None])
        seen = pair.model.ground(features.tokens, batch)
    for question in ("What colour is it?", "where is the large one"):
        wanted = generate(pair.model, seen, len(first[0].points), tokenizer, layout, question)
        *_, last = pair.engine.describe(grounded, 0, question)
        assert last.text == wanted.text
        assert wanted.seg_embeddings is not None
        assert last.seg_embeddings is not None
        np.testing.assert_allclose(last.seg_embeddings, wanted.seg_embeddings.numpy(), atol=1e-4)
