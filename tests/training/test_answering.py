"""Free answers of networks with random weights: layout, cache, turns and masks."""

from functools import lru_cache

import numpy as np
import pytest
import torch

from tests.training.stages.runs import tiny_stage
from tracevlm_ros.core.answers import BoxAnswer, GroundingAnswer, JointAnswer, TraceAnswer
from tracevlm_ros.core.errors import ConfigError
from training.answering import Answerer, Talk
from training.data.messages import Branch, Exchange, MessageTree, TracePoints
from training.data.packed_batch import packed_mask
from training.data.packed_stream import Row, Sample
from training.data.templates import TEMPLATES, Task
from training.sampling import SamplingConfig
from training.stages.building import build

ABOUT = {Task.TRACE_FROM_CAPTION: "a cat", Task.ASK: "what is it?", Task.REFER_BOX: "a cat",
         Task.REFER_MASK: "a cat"}  # fmt: skip
FORMS = {Task.TRACE_FROM_CAPTION: TraceAnswer, Task.JOINT: JointAnswer, Task.GROUND:
         GroundingAnswer, Task.REFER_BOX: BoxAnswer}  # fmt: skip
TRACE = TracePoints(
    np.array([[0.2, 0.2], [0.8, 0.3], [0.5, 0.9]]),
    np.array([0.0, 0.4, 0.2]),
    np.array([False, False, True]),
    np.array([0, 0, 1]),
)


@lru_cache(maxsize=2)
def stage(model: str):
    return build(tiny_stage(model=model)).stage.eval()


def images(model: str, count: int = 2) -> list[np.ndarray]:
    size = (64, 64) if model == "tiny" else (56, 84)
    rng = np.random.default_rng(1)
    return [rng.integers(0, 256, (*size, 3), dtype=np.uint8) for _ in range(count)]


def talk(model: str, **sampling) -> Talk:
    settings = SamplingConfig(**{"limit": 12, **sampling})
    return Answerer(stage(model), settings).look(images(model), TRACE)


@pytest.mark.parametrize("model", ["tiny", "tiny-qwen"])
@pytest.mark.parametrize("task", list(Task))
def test_every_task_is_asked_streamed_and_read_back(model, task) -> None:
    conversation = talk(model, temperature=1.0, seed=3)
    pieces = list(conversation.stream(task, ABOUT.get(task, "")))
    said = conversation.last
    assert "".join(pieces) == said.text
    assert isinstance(said.parsed, FORMS.get(task, object))
    assert said.ended in ("end", "seg", "limit", "circle")
    assert len(said.tokens) <= 12


@pytest.mark.parametrize("model", ["tiny", "tiny-qwen"])
def test_greedy_tokens_are_those_of_the_training_layout_read_at_once(model) -> None:
    """Teacher forcing what was said over two turns, packed as training packs it, chooses the same
    tokens: prompt, rope ids, trace and cache agree."""
    network = stage(model)
    conversation = talk(model, limit=6)
    said = [conversation.ask(Task.ASK, "what is it?"), conversation.ask(Task.ASK, "why?")]
    assert all(answer.ended == "limit" for answer in said)
    exchanges = (Exchange(Task.ASK, "what is it?", said[0].text), Exchange(Task.ASK, "why?", ""))
    branch = Branch("t", exchanges, TRACE)
    shown = images(model)
    size = shown[0].shape[:2]
    for turns, answer in (((exchanges[0],), said[0]), (exchanges, said[1])):
        asked = branch._replace(exchanges=turns)
        prompt = network.encoder.encode(asked, 2, size, awaiting=True)
        ids = np.concatenate([prompt.ids, answer.tokens])
        first = prompt.position_ids.max() + 1
        after = np.broadcast_to(first + np.arange(len(answer.tokens)), (3, len(answer.tokens)))
        longer = prompt._replace(
            ids=ids,
            position_ids=np.concatenate([prompt.position_ids, after], axis=1),
            learned=np.arange(len(ids)) >= len(prompt.ids),
        )
        sample = Sample(0, 0, MessageTree("t", "", tuple(shown), (asked,)), asked, longer)
        batch = network.collate([Row((sample,), {})], len(ids) + 5)
        with torch.no_grad():
            tokens = network.tokens(batch)
            hidden = network.language(
                network.see(batch).x, tokens.position_ids, mask=packed_mask(tokens.segment_ids)
            ).hidden[0]
            chosen = network.logits(hidden).argmax(-1)
        begin = len(prompt.ids) - 1
        assert tuple(chosen[begin : begin + len(answer.tokens)].tolist()) == answer.tokens


@pytest.mark.parametrize("model", ["tiny", "tiny-qwen"])
def test_a_seg_token_ends_the_answer_with_a_mask_for_each_picture(model, monkeypatch) -> None:
    from training import answering

    seg = stage(model).speech.seg
    monkeypatch.setattr(answering.Chooser, "choose", lambda _, logits: seg)
    said = talk(model).ask(Task.SEGMENT)
    assert said.ended == "seg"
    assert said.parsed.problems == ()
    assert said.masks.shape[0] == 2
    assert said.masks.isfinite().all()
    assert not torch.equal(said.masks[0], said.masks[1])


def test_a_stop_text_cuts_the_answer_and_repetition_ends_it(monkeypatch) -> None:
    from training import answering
    from training.tokenizer import encode_words, load_tokenizer

    words = iter(encode_words(load_tokenizer(), "a red cat sat here"))
    monkeypatch.setattr(answering.Chooser, "choose", lambda _, logits: next(words))
    conversation = talk("tiny", stop=(" sat",))
    pieces = list(conversation.stream(Task.TRACE_CAPTION))
    assert (conversation.last.text, conversation.last.ended) == ("a red cat", "stop")
    assert "".join(pieces) == "a red cat"
    token = encode_words(load_tokenizer(), "red")[0]
    monkeypatch.setattr(answering.Chooser, "choose", lambda _, logits: token)
    assert talk("tiny", limit=100).ask(Task.TRACE_CAPTION).ended == "circle"


def test_questions_that_need_something_say_so() -> None:
    blind = Answerer(stage("tiny")).look(images("tiny"))
    with pytest.raises(ConfigError, match="is about a trace"):
        blind.ask(Task.SEGMENT)
    with pytest.raises(ConfigError, match="needs a text"):
        blind.ask(Task.REFER_BOX)
    with pytest.raises(ConfigError, match="no picture"):
        Answerer(stage("tiny")).look([])
    assert TEMPLATES[Task.ASK].reads_trace
    assert blind.ask(Task.IMAGE_CAPTION).ended
