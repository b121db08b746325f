"""When memory runs out the slow path is shed, the fast path goes on, and the engine says so."""

import gc
import threading
import weakref
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("onnx", reason="the tiny model is built with the package `onnx`")

from engine.runtime.backend import NOTHING
from engine.runtime.loading import load_backend
from engine.runtime.manifest import read_manifest
from engine.runtime.model_engine import ModelEngine
from tests.engine.test_model_engine import embeddings, last_of, picture, trace
from tracevlm_ros.core.errors import BackendError


class FullMemory:
    """A back end that finds no memory for ``graph`` the next ``times`` times."""

    def __init__(self, backend: Any) -> None:
        self._backend = backend
        self.name = backend.name
        self.graph, self.times, self.in_between = "", 0, lambda: None

    def run(self, graph: str, inputs: Any, resident: Any = (), in_place: Any = NOTHING) -> Any:
        if graph == self.graph and self.times > 0:
            self.times -= 1
            raise BackendError(f"graph '{graph}': out of memory", is_out_of_memory=True)
        return self._backend.run(graph, inputs, resident, in_place)

    def close(self) -> None:
        self._backend.close()


@pytest.fixture
def full(tiny_directory: Path):  # type: ignore[no-untyped-def]
    manifest = read_manifest(tiny_directory)
    backend = FullMemory(load_backend(manifest, "onnxruntime-cpu").backend)
    engine = ModelEngine(manifest, backend)
    yield engine, backend
    engine.close()


@pytest.mark.parametrize("graph", ["vision", "tvp", "mask"])
def test_the_fast_path_is_tried_again_after_caches_were_given_up(full, graph: str) -> None:
    engine, backend = full
    earlier = engine.ground(engine.encode(picture()), [trace(1)])
    last_of(engine, earlier, 0)
    kept = weakref.ref(earlier.prefixes[0].keys)
    backend.graph, backend.times = graph, 1
    grounded = engine.ground(engine.encode(picture()), [trace(1)])
    (mask,) = engine.segment(grounded, [embeddings(0)])
    assert mask is not None
    gc.collect()
    assert earlier.prefixes == {}
    assert kept() is None
    assert any("out of memory 1 times" in note for note in engine.info.notes)
    assert last_of(engine, earlier, 0).text == "a red ball"


def test_a_description_under_way_is_given_up_and_says_why(full) -> None:
    engine, backend = full
    grounded = engine.ground(engine.encode(picture()), [trace(1)])
    parts = engine.describe(grounded, 0)
    assert next(parts).text == "a"
    backend.graph, backend.times = "vision", 1
    masked: list[bool] = []

    def fast() -> None:
        masked.append(engine.encode(picture()) is not None)

    thread = threading.Thread(target=fast)
    thread.start()
    waiting = threading.Event()
    while not engine.info.notes:
        assert thread.is_alive()
        waiting.wait(0.001)
    with pytest.raises(BackendError, match="masks come first") as caught:
        while True:
            next(parts)
    assert caught.value.is_out_of_memory
    thread.join(10)
    assert masked == [True]


def test_memory_that_stays_full_is_an_error_of_the_fast_path(full) -> None:
    engine, backend = full
    backend.graph, backend.times = "vision", 2
    with pytest.raises(BackendError, match="out of memory"):
        engine.encode(picture())
    assert engine.encode(picture()) is not None


def test_other_failures_shed_nothing(full, monkeypatch: pytest.MonkeyPatch) -> None:
    engine, backend = full

    def fail(*_: Any) -> None:
        raise BackendError("wrong shape")

    monkeypatch.setattr(backend, "run", fail)
    with pytest.raises(BackendError, match="wrong shape"):
        engine.encode(picture())
    assert engine.info.notes == ()
