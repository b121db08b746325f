"""Answers about several traces, said in lockstep, are the ones that each trace gets alone."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pytest

from engine.runtime.joint_cache import join, part
from engine.runtime.loading import load_backend, model_directory
from engine.runtime.manifest import read_manifest
from engine.runtime.model_engine import ModelEngine
from engine.runtime.passes import GrownCache
from tracevlm_ros.core.engine import AnswerPart, TracePrompt, TraceQuestion
from tracevlm_ros.core.errors import BackendError, EngineMismatch
from tracevlm_ros.core.types import Description

KEYPOINTS = (3, 11, 1, 6)


class Watched:
    """Counts the rows of each call of ``decode``, and loses memory when told to."""

    def __init__(self, inner: Any) -> None:
        self._inner = inner
        self.rows: list[int] = []
        self.prefilled = 0
        self.fails_at = -1

    def run(self, graph: str, inputs: Any, *more: Any, **named: Any) -> Any:
        if graph == "decode":
            self.rows.append(len(inputs["embeddings"]))
            if len(self.rows) == self.fails_at:
                raise BackendError("no memory", is_out_of_memory=True)
        self.prefilled += graph == "prefill"
        return self._inner.run(graph, inputs, *more, **named)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)


@pytest.fixture(params=["onnxruntime-cpu", "openvino-cpu", "mixed-cpu"])
def watched(request: pytest.FixtureRequest) -> Iterator[tuple[ModelEngine, Watched]]:
    if request.param != "onnxruntime-cpu":
        pytest.importorskip("openvino")
    manifest = read_manifest(model_directory("nano"))
    backend = Watched(load_backend(manifest, request.param).backend)
    engine = ModelEngine(manifest, backend)
    yield engine, backend
    engine.close()


def questions(engine: ModelEngine, keypoints: Sequence[int] = KEYPOINTS) -> list[TraceQuestion]:
    """Traces of different lengths over two frames."""
    asked = []
    for seed, counts in enumerate((keypoints[:2], keypoints[2:])):
        random = np.random.default_rng(seed)
        image = random.integers(0, 256, (64, 64, 3), dtype=np.uint8)
        prompts = [
            TracePrompt(random.random((k, 2)), np.full(k, 0.1), np.zeros(k, np.bool_))
            for k in counts
        ]
        grounded = engine.ground(engine.encode(image), prompts)
        asked += [TraceQuestion(grounded, index) for index in range(len(counts))]
    return asked


def alone(engine: ModelEngine, asked: list[TraceQuestion]) -> list[list[Description]]:
    return [list(engine.describe(*question)) for question in asked]


def sorted_out(parts: Iterator[AnswerPart], count: int) -> list[list[Description]]:
    found: list[list[Description]] = [[] for _ in range(count)]
    for place, description in parts:
        found[place].append(description)
    return found


def assert_same(found: list[Description], wanted: list[Description]) -> None:
    assert [item.text for item in found] == [item.text for item in wanted]
    assert [item.is_final for item in found] == [item.is_final for item in wanted]
    np.testing.assert_allclose([d.score for d in found], [d.score for d in wanted], atol=1e-4)
    for one, other in zip(found, wanted, strict=True):
        assert (one.seg_embeddings is None) == (other.seg_embeddings is None)
        if one.seg_embeddings is not None:
            np.testing.assert_allclose(one.seg_embeddings, other.seg_embeddings, atol=2e-3)


def test_every_answer_is_the_one_that_it_would_be_alone_in_fewer_passes(
    watched: tuple[ModelEngine, Watched],
) -> None:
    engine, backend = watched
    wanted = alone(engine, questions(engine))
    in_turn, backend.rows = len(backend.rows), []
    asked = questions(engine)
    for found, expected in zip(sorted_out(engine.describe_together(asked), 4), wanted, strict=True):
        assert_same(found, expected)
    assert max(backend.rows) == len(KEYPOINTS)
    assert len(backend.rows) < 0.7 * in_turn


def test_cancelling_one_answer_leaves_the_others_as_they_are(
    watched: tuple[ModelEngine, Watched],
) -> None:
    engine, _ = watched
    wanted = alone(engine, questions(engine))
    found: list[list[Description]] = [[] for _ in KEYPOINTS]
    parts = engine.describe_together(
        questions(engine), lambda place: place == 1 and len(found[1]) >= 2
    )
    for place, description in parts:
        found[place].append(description)
    assert_same(found[1], wanted[1][:2])
    for place in (0, 2, 3):
        assert_same(found[place], wanted[place])


def test_an_answer_cancelled_from_the_start_is_neither_prefilled_nor_said(
    watched: tuple[ModelEngine, Watched],
) -> None:
    engine, backend = watched
    asked = questions(engine)
    places = {said.place for said in engine.describe_together(asked, lambda place: place == 2)}
    assert (places, backend.prefilled) == ({0, 1, 3}, 3)


def test_more_questions_than_one_pass_takes_follow_after_the_first_ones(
    watched: tuple[ModelEngine, Watched], monkeypatch: pytest.MonkeyPatch
) -> None:
    engine, backend = watched
    wanted = alone(engine, questions(engine))
    monkeypatch.setattr(engine._language._passes, "max_answers", 3)
    backend.rows = []
    order = list(engine.describe_together(questions(engine)))
    for found, expected in zip(sorted_out(iter(order), 4), wanted, strict=True):
        assert_same(found, expected)
    assert max(backend.rows) == 3
    assert order[-1].place == 3


def test_wrong_arguments_are_refused_at_the_call(watched: tuple[ModelEngine, Watched]) -> None:
    engine, _ = watched
    (one, *_) = questions(engine)
    with pytest.raises(EngineMismatch, match="index"):
        engine.describe_together([one, one._replace(trace=7)])
    with pytest.raises(EngineMismatch, match="prompt has"):
        engine.describe_together([one._replace(question="what is it " * 99)])


def test_running_out_of_memory_ends_all_answers_and_the_next_ones_are_whole(
    watched: tuple[ModelEngine, Watched],
) -> None:
    engine, backend = watched
    wanted = alone(engine, questions(engine))
    backend.rows, backend.fails_at = [], 6
    with pytest.raises(BackendError, match="no memory"):
        list(engine.describe_together(questions(engine)))
    backend.fails_at = -1
    for found, expected in zip(
        sorted_out(engine.describe_together(questions(engine)), 4), wanted, strict=True
    ):
        assert_same(found, expected)


def test_joined_caches_part_again_as_they_were() -> None:
    random = np.random.default_rng(0)
    caches = [
        GrownCache(*random.standard_normal((2, 2, 1, 1, length, 3)).astype(np.float32))
        for length in (2, 5, 4)
    ]
    joined = join(caches)
    assert joined.skipped == (3, 0, 1)
    assert not joined.keys[:, 0, :, :3].any()  # type: ignore[index]
    for row, cache in enumerate(caches):
        np.testing.assert_array_equal(part(joined, row).keys, cache.keys)
        np.testing.assert_array_equal(part(joined, row).values, cache.values)
