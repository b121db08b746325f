"""Finding what a text describes: a trace that the model writes, and the mask of that stroke."""

import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("onnx", reason="the tiny model is built with the package `onnx`")

from engine.runtime import load_engine
from engine.runtime.backend import host
from engine.runtime.loading import load_backend
from engine.runtime.manifest import read_manifest
from engine.runtime.model_engine import ModelEngine
from tests.engine.test_memory_pressure import FullMemory
from tests.engine.test_model_engine import last_of, masks, picture, trace
from tests.engine.tiny_model import IDS, LIMITS, PLACES, SIZES, write_tiny_model
from tracevlm_ros.core.engine import Location, locator_of
from tracevlm_ros.core.errors import BackendError, EngineError, EngineMismatch
from tracevlm_ros.core.strokes import STEP_S, as_prompt

FIRST, SECOND = PLACES
DRAWS = {
    "<|answer|>": "<traj>",
    "<traj>": FIRST,
    FIRST: SECOND,
    SECOND: "</traj>",
    "</traj>": "<|im_end|>",
}
NEVER_ENDS = {"<|answer|>": "<traj>", "<traj>": FIRST, FIRST: FIRST}
POINTS = np.array([[0.2505, 0.5005], [0.7505, 0.2505]])
TEXT = " a red ball "
SEARCH = [IDS[word] for word in ("<|task_locate|>", "trace", "of", "a", "red", "ball")]


def open_tiny(directory: Path, script: dict[str, str] = DRAWS, **learned: bool) -> ModelEngine:
    flags = {"locates": True, "masks_from_stroke": True, **learned}
    engine = load_engine(write_tiny_model(directory, script, **flags), backend="onnxruntime-cpu")
    assert isinstance(engine, ModelEngine)
    return engine


def record_calls(engine: ModelEngine) -> list[tuple[str, dict[str, Any]]]:
    """Graphs and their inputs from now on."""
    called: list[tuple[str, dict[str, Any]]] = []
    backend = engine._backend
    run = backend.run

    def recording(graph, inputs, resident=()):  # type: ignore[no-untyped-def]
        called.append((graph, dict(inputs)))
        return run(graph, inputs, resident)

    backend.run = recording  # type: ignore[method-assign]
    return called


def found(location: Location | None) -> Location:
    assert location is not None
    return location


def test_the_trace_that_was_written_is_read_back_and_masked_as_a_stroke(tmp_path: Path) -> None:
    engine = open_tiny(tmp_path / "m")
    features = engine.encode(picture())
    location = found(engine.locate(features, TEXT))
    np.testing.assert_allclose(location.points, POINTS)
    grounded = engine.ground(features, [as_prompt(POINTS, SIZES["K"])])
    (mask,) = engine.segment(grounded, [engine.unspoken])
    np.testing.assert_array_equal(location.logits, mask)


def test_the_prompt_holds_the_encoders_own_tokens_the_task_and_the_text(tmp_path: Path) -> None:
    engine = open_tiny(tmp_path / "m")
    features = engine.encode(picture())
    called = record_calls(engine)
    engine.locate(features, TEXT)
    (prefix,) = (inputs["embeddings"][0] for graph, inputs in called if graph == "prefill")
    np.testing.assert_array_equal(prefix[1:-1], host(features.tokens)[0])
    assert [prefix[0].argmax(), prefix[-1].argmax()] == [
        IDS["<|vision_start|>"],
        IDS["<|vision_end|>"],
    ]
    asked = next(inputs["embeddings"][0] for graph, inputs in called if graph == "decode")
    assert asked.argmax(axis=1).tolist() == [*SEARCH, IDS["<|answer|>"]]


def test_a_trace_may_take_the_room_that_its_prompt_leaves_and_a_description_may_not(
    tmp_path: Path,
) -> None:
    engine = open_tiny(tmp_path / "m", NEVER_ENDS)
    features = engine.encode(picture())
    called = record_calls(engine)
    location = found(engine.locate(features, TEXT))
    prompt = SIZES["N"] + 3 + len(SEARCH)
    room = LIMITS["max_prompt_tokens"] + LIMITS["max_new_tokens"] - prompt
    assert [graph for graph, _ in called].count("decode") == room
    assert len(location.points) == room - 1 > SIZES["K"]
    (grounded,) = (inputs for graph, inputs in called if graph == "tvp")
    assert grounded["valid"].sum() == SIZES["K"]
    called.clear()
    last_of(engine, engine.ground(features, [trace(1)]), 0)
    assert [graph for graph, _ in called].count("decode") == LIMITS["max_new_tokens"]


def test_a_long_answer_is_cut_at_what_six_keypoints_need(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("engine.runtime.language.TRACE_TOKENS", 4)
    engine = open_tiny(tmp_path / "m", NEVER_ENDS)
    assert len(found(engine.locate(engine.encode(picture()), TEXT)).points) == 3


@pytest.mark.parametrize(
    "script",
    [
        {"<|answer|>": "a", "a": "red", "red": "<|im_end|>"},
        {"<|answer|>": "<traj>", "<traj>": "</traj>", "</traj>": "<|im_end|>"},
        {"<|answer|>": "<|im_end|>"},
        {"<|answer|>": "[SEG]"},
    ],
    ids=["words", "empty trace", "nothing", "mask"],
)
def test_an_answer_without_a_point_finds_nothing(tmp_path: Path, script: dict[str, str]) -> None:
    engine = open_tiny(tmp_path / "m", script)
    assert engine.locate(engine.encode(picture()), TEXT) is None


def test_a_model_that_needs_words_for_a_mask_gives_the_trace_alone(tmp_path: Path) -> None:
    engine = open_tiny(tmp_path / "m", masks_from_stroke=False)
    location = found(engine.locate(engine.encode(picture()), TEXT))
    np.testing.assert_allclose(location.points, POINTS)
    assert location.logits is None


def test_a_model_without_the_flag_is_no_locator_and_says_so(tiny_directory: Path) -> None:
    engine = load_engine(tiny_directory, backend="onnxruntime-cpu")
    assert isinstance(engine, ModelEngine)
    assert locator_of(engine) is None
    with pytest.raises(EngineMismatch, match="'tiny' has not learned to locate"):
        engine.locate(engine.encode(picture()), TEXT)


def test_a_model_with_the_flag_is_one(tmp_path: Path) -> None:
    engine = open_tiny(tmp_path / "m")
    assert locator_of(engine) is engine


def test_wrong_arguments_and_closed_engines_are_refused(tmp_path: Path) -> None:
    engine = open_tiny(tmp_path / "m")
    features = engine.encode(picture())
    with pytest.raises(EngineMismatch, match="pass what encode gave"):
        engine.locate("features", TEXT)
    with pytest.raises(EngineMismatch, match="this model reads 24; ask a shorter"):
        engine.locate(features, "ball " * 30)
    engine.close()
    with pytest.raises(EngineError, match="closed"):
        engine.locate(features, TEXT)


@pytest.mark.parametrize("after", [0, 1, 3])
def test_a_cancelled_search_finds_nothing_and_computes_nothing_more(
    tmp_path: Path, after: int
) -> None:
    engine = open_tiny(tmp_path / "m")
    features = engine.encode(picture())
    called = record_calls(engine)

    def cancelled() -> bool:
        return [graph for graph, _ in called].count("decode") >= after

    assert engine.locate(features, TEXT, cancelled) is None
    wanted = ["prefill", *["decode"] * after] if after else []
    assert [graph for graph, _ in called] == wanted


def test_a_search_under_way_is_given_up_when_masks_need_its_memory(tmp_path: Path) -> None:
    manifest = read_manifest(write_tiny_model(tmp_path / "m", NEVER_ENDS, locates=True))
    backend = FullMemory(load_backend(manifest, "onnxruntime-cpu").backend)
    engine = ModelEngine(manifest, backend)
    features = engine.encode(picture())
    fast = threading.Thread(target=engine.encode, args=(picture(1),))
    waiting = threading.Event()
    moments = iter(range(100))

    def memory_runs_out() -> bool:
        if next(moments) == 2:
            backend.graph, backend.times = "vision", 1
            fast.start()
            while not engine.info.notes:
                waiting.wait(0.001)
        return False

    with pytest.raises(BackendError, match="masks come first"):
        engine.locate(features, TEXT, memory_runs_out)
    fast.join(10)
    assert not fast.is_alive()
    engine.close()


def test_the_fast_path_is_right_while_another_thread_locates(tmp_path: Path) -> None:
    engine = open_tiny(tmp_path / "m")
    prompts = [trace(1), trace(2)]
    expected = masks(engine, picture(1), prompts)
    features = engine.encode(picture(2))
    alone = found(engine.locate(features, TEXT))
    stop, searched = threading.Event(), threading.Semaphore(0)
    others: list[Location] = []

    def locate_on() -> None:
        while not stop.is_set():
            others.append(found(engine.locate(features, TEXT)))
            searched.release()

    thread = threading.Thread(target=locate_on)
    thread.start()
    try:
        for _ in range(20):
            assert searched.acquire(timeout=10)
            for mask, wanted in zip(masks(engine, picture(1), prompts), expected, strict=True):
                np.testing.assert_array_equal(mask, wanted)
    finally:
        stop.set()
        thread.join(10)
    for location in others:
        np.testing.assert_array_equal(location.logits, alone.logits)


def test_a_drawn_trace_is_one_stroke_with_even_steps() -> None:
    prompt = as_prompt(POINTS.repeat(2, axis=0), 3)
    np.testing.assert_array_equal(prompt.points, POINTS[[0, 0, 1]])
    assert prompt.dt_s.tolist() == [0.0, STEP_S, STEP_S]
    assert not prompt.pen_up.any()
