"""The engine over a model directory, checked against plain numpy on a model made by hand."""

import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

pytest.importorskip("onnx", reason="the tiny model is built with the package `onnx`")

from engine.runtime import load_engine
from engine.runtime.backend import host
from engine.runtime.embedding_table import EmbeddingTable
from engine.runtime.model_engine import Grounded, ModelEngine
from tests.engine.tiny_model import (
    CERTAINTY,
    IDS,
    LIMITS,
    WIDTH,
    reference_hidden,
    successor,
    write_tiny_model,
)
from tracevlm_ros.core.engine import Engine, TracePrompt
from tracevlm_ros.core.errors import EngineError, EngineMismatch
from tracevlm_ros.core.prompt import PromptLayout, embed_prompt
from tracevlm_ros.core.types import Description, Image


def assert_close(found: Any, expected: Any, atol: float) -> None:
    np.testing.assert_allclose(found, expected, atol=atol)


def picture(seed: int = 0, size_hw: tuple[int, int] = (16, 16)) -> Image:
    return np.random.default_rng(seed).integers(0, 256, (*size_hw, 3), dtype=np.uint8)


def trace(seed: int, keypoints: int = 3) -> TracePrompt:
    random = np.random.default_rng(seed)
    return TracePrompt(
        random.random((keypoints, 2)), random.random(keypoints), random.random(keypoints) < 0.3
    )


def embeddings(seed: int) -> NDArray[np.float32]:
    return np.random.default_rng(seed).standard_normal((6, WIDTH)).astype(np.float32)


def masks(engine: Engine, image: Image, prompts: list[TracePrompt]) -> list[NDArray[np.float32]]:
    grounded = engine.ground(engine.encode(image), prompts)
    found = engine.segment(grounded, [embeddings(row) for row in range(len(prompts))])
    return [mask for mask in found if mask is not None]


def last_of(
    engine: Engine, grounded: Grounded, index: int, question: str | None = None
) -> Description:
    *_, last = engine.describe(grounded, index, question)
    return last


def expected_answer(
    grounded: Grounded, index: int, keypoints: int, question: list[int] | None
) -> Description:
    """Read prompt, answer and codebook as one sequence, without a cache."""
    layout = PromptLayout.from_ids(IDS, (2, 2))
    batch = grounded.batches[0]
    prompt = embed_prompt(
        layout,
        lambda ids: np.eye(WIDTH, dtype=np.float32)[ids],
        np.asarray(batch.enhanced.numpy())[index],  # type: ignore[union-attr]
        np.asarray(batch.trace_tokens.numpy())[index, :keypoints],  # type: ignore[union-attr]
        None if question is None else np.array(question),
    )
    said = [IDS["a"], IDS["red"], IDS["ball"], layout.seg, *layout.codebook]
    whole = np.concatenate([prompt.embeddings[0], np.eye(WIDTH, dtype=np.float32)[said]])
    steps = prompt.next_position + np.arange(len(said))
    places = np.concatenate(
        [prompt.position_ids[:, 0], np.broadcast_to(steps, (3, len(said)))], axis=1
    )
    hidden = reference_hidden(whole, places)
    start = prompt.embeddings.shape[1] - 1
    logits = hidden[start : start + 4] @ successor({"<|answer|>": "a", "a": "red", "red": "ball",
                                                    "ball": "[SEG]"})  # fmt: skip
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    score = float(np.mean(probabilities.max(axis=1)))
    return Description("a red ball", True, score, hidden[-6:].astype(np.float32))


@pytest.mark.parametrize("question", [None, "What colour is it?"])
def test_answer_score_and_segmentation_embeddings_equal_one_pass_over_everything(
    engine: Engine, question: str | None
) -> None:
    grounded = engine.ground(engine.encode(picture()), [trace(1), trace(2, keypoints=2)])
    ids = None if question is None else [IDS[word] for word in ("what", "colour", "is", "it", "?")]
    for index, keypoints in ((0, 3), (1, 2)):
        expected = expected_answer(grounded, index, keypoints, ids)
        parts = list(engine.describe(grounded, index, question))
        assert [part.text for part in parts] == ["a", "a red", "a red ball", "a red ball"]
        assert [part.is_final for part in parts] == [False, False, False, True]
        assert parts[-1].score == pytest.approx(expected.score, rel=1e-5)
        assert expected.seg_embeddings is not None
        assert_close(parts[-1].seg_embeddings, expected.seg_embeddings, atol=1e-5)


def test_a_second_question_prefills_nothing_and_is_answered_as_if_it_were_the_first(
    tiny_directory: Path,
) -> None:
    engine = load_engine(tiny_directory, backend="onnxruntime-cpu")
    assert isinstance(engine, ModelEngine)
    called = record_graphs(engine)
    grounded = engine.ground(engine.encode(picture()), [trace(1)])
    last_of(engine, grounded, 0)
    called.clear()
    second = last_of(engine, grounded, 0, "what is it ?")
    assert "prefill" not in called
    assert "vision" not in called
    fresh = engine.ground(engine.encode(picture()), [trace(1)])
    first = last_of(engine, fresh, 0, "what is it ?")
    assert (second.text, second.score) == (first.text, first.score)
    np.testing.assert_array_equal(second.seg_embeddings, first.seg_embeddings)


def record_graphs(engine: ModelEngine) -> list[str]:
    """Names of the graphs that run from now on."""
    called: list[str] = []
    backend = engine._backend
    run = backend.run

    def recording(graph, inputs, resident=()):  # type: ignore[no-untyped-def]
        called.append(graph)
        return run(graph, inputs, resident)

    backend.run = recording  # type: ignore[method-assign]
    return called


def test_six_codebook_tokens_are_read_in_one_pass(tiny_directory: Path) -> None:
    engine = load_engine(tiny_directory, backend="onnxruntime-cpu")
    assert isinstance(engine, ModelEngine)
    called = record_graphs(engine)
    grounded = engine.ground(engine.encode(picture()), [trace(1)])
    last_of(engine, grounded, 0)
    question, words, codebook = 1, 3, 1
    assert called == ["vision", "tvp", "prefill"] + ["decode"] * (question + words + codebook)


def test_more_traces_than_one_call_takes_give_what_each_gives_alone(engine: Engine) -> None:
    prompts = [trace(seed, keypoints=1 + seed % 5) for seed in range(2 * LIMITS["max_traces"] + 1)]
    together = masks(engine, picture(), prompts)
    grounded = engine.ground(engine.encode(picture()), prompts)
    for row, prompt in enumerate(prompts):
        alone = engine.ground(engine.encode(picture()), [prompt])
        (mask,) = engine.segment(alone, [embeddings(row)])
        assert mask is not None
        assert mask.shape == engine.info.mask_size_hw
        assert mask.dtype == np.float32
        assert_close(together[row], mask, atol=1e-5)
        described, by_itself = last_of(engine, grounded, row), last_of(engine, alone, 0)
        assert_close(described.seg_embeddings, by_itself.seg_embeddings, atol=1e-5)


def test_traces_without_embeddings_get_no_mask_and_do_not_disturb_the_others(
    engine: Engine,
) -> None:
    prompts = [trace(seed) for seed in range(5)]
    every = masks(engine, picture(), prompts)
    grounded = engine.ground(engine.encode(picture()), prompts)
    asked = [None, embeddings(1), None, None, embeddings(4)]
    some = engine.segment(grounded, asked)
    assert [mask is None for mask in some] == [given is None for given in asked]
    assert_close(some[1], every[1], atol=1e-6)
    assert_close(some[4], every[4], atol=1e-6)
    assert engine.segment(grounded, [None] * 5) == [None] * 5


def test_the_mask_of_a_moment_ago_reaches_the_graph_at_its_size(engine: Engine) -> None:
    prompts = [trace(1), trace(2)]
    grounded = engine.ground(engine.encode(picture()), prompts)
    asked = [embeddings(0), embeddings(1)]
    plain = engine.segment(grounded, asked)
    earlier = np.full((48, 40), 0.25, np.float32)
    first, second = engine.segment(grounded, asked, [earlier, None])
    assert_close(first, plain[0] + 0.25, atol=1e-5)
    assert_close(second, plain[1], atol=1e-6)


def test_descriptors_are_the_deepest_map_with_channels_last(engine: Engine) -> None:
    features = engine.encode(picture())
    found = engine.descriptors(features)
    assert found is not None
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, np.moveaxis(np.asarray(host(features.deep))[0], 0, -1))


def test_a_frame_of_another_size_is_stretched_to_the_models_size(engine: Engine) -> None:
    small = picture()
    enlarged = np.repeat(np.repeat(small, 3, axis=0), 5, axis=1)
    assert_close(
        masks(engine, enlarged, [trace(1)])[0], masks(engine, small, [trace(1)])[0], atol=1e-5
    )


def test_padding_slots_do_not_reach_the_answer(engine: Engine) -> None:
    grounded = engine.ground(engine.encode(picture()), [trace(1, keypoints=1)])
    expected = expected_answer(grounded, 0, 1, None)
    assert last_of(engine, grounded, 0).score == pytest.approx(expected.score, rel=1e-5)


@pytest.mark.parametrize(
    ("script", "texts"),
    [
        ({"<|answer|>": "a", "a": "<|im_end|>"}, ["a", "a"]),
        (
            {"<|answer|>": "a", "a": "<|image_pad|>", "<|image_pad|>": "red", "red": "<|im_end|>"},
            ["a", "a", "a red", "a red"],
        ),
        ({"<|answer|>": "<|im_end|>"}, [""]),
        ({"<|answer|>": "a", "a": "a"}, [" ".join("a" * n) for n in range(1, 7)]),
    ],
    ids=["end token", "special token in between", "nothing said", "limit of new tokens"],
)
def test_answers_that_never_say_seg_end_without_embeddings(
    tmp_path: Path, script: dict[str, str], texts: list[str]
) -> None:
    engine = load_engine(write_tiny_model(tmp_path / "m", script), backend="onnxruntime-cpu")
    grounded = engine.ground(engine.encode(picture()), [trace(1)])
    parts = list(engine.describe(grounded, 0))
    assert [part.text for part in parts] == texts
    assert [part.is_final for part in parts] == [False] * (len(texts) - 1) + [True]
    assert all(part.seg_embeddings is None for part in parts)


def test_the_score_is_near_what_the_models_certainty_gives(engine: Engine) -> None:
    grounded = engine.ground(engine.encode(picture()), [trace(1)])
    certain = np.exp(CERTAINTY)
    assert last_of(engine, grounded, 0).score == pytest.approx(
        certain / (certain + WIDTH - 1), abs=0.02
    )


@pytest.mark.parametrize("after", [0, 1, 2, 3])
def test_cancelling_stops_before_the_next_token_and_computes_nothing_more(
    tiny_directory: Path, after: int
) -> None:
    engine = load_engine(tiny_directory, backend="onnxruntime-cpu")
    assert isinstance(engine, ModelEngine)
    called = record_graphs(engine)
    grounded = engine.ground(engine.encode(picture()), [trace(1)])
    called.clear()
    spoken: list[str] = []
    for part in engine.describe(grounded, 0, cancelled=lambda: len(spoken) >= after):
        assert not part.is_final
        spoken.append(part.text)
    assert spoken == ["a", "a red", "a red ball"][:after]
    assert len(called) == (0 if after == 0 else 1 + after)


def test_the_fast_path_is_right_while_another_thread_describes(engine: Engine) -> None:
    prompts = [trace(seed) for seed in range(2)]
    expected = masks(engine, picture(1), prompts)
    stop, described = threading.Event(), threading.Semaphore(0)
    texts: set[str] = set()

    def describe_on() -> None:
        grounded = engine.ground(engine.encode(picture(2)), [trace(9)])
        ready.set()
        while not stop.is_set():
            texts.add(last_of(engine, grounded, 0).text)
            described.release()

    ready = threading.Event()
    thread = threading.Thread(target=describe_on)
    thread.start()
    try:
        assert ready.wait(10)
        for _ in range(20):
            assert described.acquire(timeout=10)
            for found, wanted in zip(masks(engine, picture(1), prompts), expected, strict=True):
                np.testing.assert_array_equal(found, wanted)
    finally:
        stop.set()
        thread.join(10)
    assert texts == {"a red ball"}


def test_arrays_that_came_back_are_not_written_to_again(engine: Engine) -> None:
    (first,) = masks(engine, picture(1), [trace(1)])
    kept = first.copy()
    masks(engine, picture(2), [trace(2)])
    np.testing.assert_array_equal(first, kept)


def test_a_question_over_the_limit_names_length_limit_and_remedy(engine: Engine) -> None:
    grounded = engine.ground(engine.encode(picture()), [trace(1)])
    with pytest.raises(EngineMismatch, match="43 tokens, this model reads 24; ask a shorter"):
        engine.describe(grounded, 0, "what " * 30)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda e, g: e.ground(e.encode(picture()), []), "0 traces given"),
        (lambda e, g: e.ground(e.encode(picture()), [trace(1, 6)]), "6 keypoints.*1..5"),
        (lambda e, g: e.ground("features", [trace(1)]), "str; pass what encode gave"),
        (lambda e, g: e.segment("grounded", [None]), "str; pass what ground gave"),
        (lambda e, g: e.segment(g, [None, None]), "2 segmentation embeddings given for 1"),
        (lambda e, g: e.segment(g, [np.zeros((6, 7), np.float32)]), r"\(6, 7\).*another model"),
        (lambda e, g: e.segment(g, [None], [None, None]), "2 earlier masks given for 1"),
        (lambda e, g: e.segment(g, [None], [np.zeros(3, np.float32)]), r"\(3,\); give \(h, w\)"),
        (lambda e, g: e.describe(g, 1), "index 1 asked, 1 traces"),
        (lambda e, g: e.encode(np.zeros((8, 8), np.uint8)), r"uint8 \(8, 8\)"),
    ],
)
def test_wrong_arguments_are_refused_at_the_call(engine: Engine, call, message: str) -> None:  # type: ignore[no-untyped-def]
    grounded = engine.ground(engine.encode(picture()), [trace(1)])
    with pytest.raises(EngineMismatch, match=message):
        call(engine, grounded)


def test_calls_after_close_are_errors(tiny_directory: Path) -> None:
    engine = load_engine(tiny_directory, backend="onnxruntime-cpu")
    features = engine.encode(picture())
    engine.close()
    engine.close()
    with pytest.raises(EngineError, match="closed"):
        engine.ground(features, [trace(1)])


def test_embedding_rows_are_looked_up(tiny_directory: Path) -> None:
    from engine.runtime.manifest import read_manifest

    table = EmbeddingTable(read_manifest(tiny_directory))
    np.testing.assert_array_equal(table.rows(np.array([3, 0])), np.eye(WIDTH)[[3, 0]])


def test_a_dialogue_reads_each_question_after_all_that_was_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second answer equals one pass, without a cache, over both turns."""
    monkeypatch.setitem(LIMITS, "max_prompt_tokens", 27)
    engine = load_engine(write_tiny_model(tmp_path / "tiny"), backend="onnxruntime-cpu")
    assert isinstance(engine, ModelEngine)
    grounded = engine.ground(engine.encode(picture()), [trace(1, keypoints=1)])
    dialogue = engine.converse(grounded, 0)
    *_, first = dialogue.ask(None)
    alone = last_of(engine, grounded, 0)
    np.testing.assert_array_equal(first.seg_embeddings, alone.seg_embeddings)
    called = record_graphs(engine)
    with pytest.raises(
        EngineMismatch, match=r"the dialogue has 29 tokens .* reads 27; begin another"
    ):
        dialogue.ask("what colour is it ?")
    *_, second = dialogue.ask("what ?")
    assert second.text == "a red ball"
    assert "prefill" not in called
    layout = PromptLayout.from_ids(IDS, (2, 2))
    batch = grounded.batches[0]
    prompt = embed_prompt(
        layout,
        lambda ids: np.eye(WIDTH, dtype=np.float32)[ids],
        np.asarray(batch.enhanced.numpy())[0],  # type: ignore[union-attr]
        np.asarray(batch.trace_tokens.numpy())[0, :1],  # type: ignore[union-attr]
    )
    answer = [IDS["a"], IDS["red"], IDS["ball"], layout.seg, *layout.codebook]
    asked = [layout.end, layout.ask, IDS["what"], IDS["?"], layout.answer]
    said = [*answer, *asked, *answer]
    whole = np.concatenate([prompt.embeddings[0], np.eye(WIDTH, dtype=np.float32)[said]])
    steps = prompt.next_position + np.arange(len(said))
    places = np.concatenate(
        [prompt.position_ids[:, 0], np.broadcast_to(steps, (3, len(said)))], axis=1
    )
    assert_close(second.seg_embeddings, reference_hidden(whole, places)[-6:], atol=1e-5)


def test_a_dialogue_goes_on_after_a_cancelled_answer_and_anew_after_one_left_half_heard(
    engine: Engine,
) -> None:
    assert isinstance(engine, ModelEngine)
    grounded = engine.ground(engine.encode(picture()), [trace(1, keypoints=1)])
    dialogue = engine.converse(grounded, 0)
    spoken: list[str] = []
    spoken.extend(part.text for part in dialogue.ask(None, lambda: len(spoken) >= 2))
    assert spoken == ["a", "a red"]
    *_, resumed = dialogue.ask("what ?")
    fresh = last_of(engine, grounded, 0, "what ?")
    assert resumed.text == fresh.text == "a red ball"
    assert np.abs(resumed.seg_embeddings - fresh.seg_embeddings).max() > 1e-4
    other = engine.converse(grounded, 0)
    assert next(other.ask(None)).text == "a"
    *_, anew = other.ask("what ?")
    np.testing.assert_array_equal(anew.seg_embeddings, fresh.seg_embeddings)
