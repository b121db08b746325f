"""CUDA graphs: which shapes are captured, what they compute, and what ends them."""

import gc
from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("onnx", reason="the tiny model is built with the package `onnx`")

from engine.runtime.backend import Backend
from engine.runtime.manifest import Manifest, read_manifest
from engine.runtime.ort_backend import OrtBackend
from engine.runtime.tensorrt_backend import TensorRtBackend
from tests.engine.recorded_calls import (
    assert_same,
    empty_past,
    image,
    open_recorded,
    prompt,
    recorded_engine,
    runner,
    step,
)
from tests.engine.recorded_gpu import (
    RecordedDriver,
)


@pytest.fixture(scope="module")
def manifest(tiny_directory: Path) -> Manifest:
    return read_manifest(tiny_directory)


@pytest.fixture
def driver() -> RecordedDriver:
    return RecordedDriver()


@pytest.fixture
def backend(manifest: Manifest, driver: RecordedDriver) -> Iterator[TensorRtBackend]:
    opened = open_recorded(manifest, driver)
    yield opened
    if driver.priorities:
        opened.close()


@pytest.fixture
def reference(manifest: Manifest) -> Iterator[Backend]:
    opened = OrtBackend(manifest, "cpu")
    yield opened
    opened.close()


def test_a_captured_graph_computes_on_new_inputs(
    backend: TensorRtBackend, reference: Backend, driver: RecordedDriver
) -> None:
    for seed in range(4):
        assert_same(backend.run("vision", image(seed)), reference.run("vision", image(seed)))
    assert runner(backend, "vision").captured == 1
    assert driver.names().count("cuGraphLaunch") == 3


def test_a_shape_is_captured_when_it_comes_again(
    backend: TensorRtBackend, reference: Backend, driver: RecordedDriver
) -> None:
    for seed, tokens in enumerate((5, 6, 5, 6, 5)):
        inputs = step(empty_past(tokens), 1, seed)
        assert_same(backend.run("decode", inputs), reference.run("decode", inputs))
    assert runner(backend, "decode").captured == 2
    assert driver.names().count("cuGraphLaunch") == 1


def test_prompts_are_never_captured(backend: TensorRtBackend) -> None:
    for _ in range(3):
        backend.run("prefill", prompt(4))
    assert runner(backend, "prefill").captured == 0


def test_the_captured_shape_that_was_used_longest_ago_goes_first(
    manifest: Manifest, driver: RecordedDriver, reference: Backend
) -> None:
    backend = open_recorded(manifest, driver, {"decode": 2})
    for seed, tokens in enumerate((5, 5, 6, 6, 5, 7, 7, 5, 6)):
        inputs = step(empty_past(tokens), 1, seed)
        assert_same(backend.run("decode", inputs), reference.run("decode", inputs))
    assert runner(backend, "decode").captured == 2
    assert len(driver.graphs) == 2
    assert driver.names().count("cuGraphLaunch") == 2, "5 is still there after 7, 6 is not"
    backend.close()
    assert not driver.graphs


def test_each_captured_shape_has_a_context_of_its_own(backend: TensorRtBackend) -> None:
    for tokens in (5, 5, 6, 6, 7):
        backend.run("decode", step(empty_past(tokens), 1, 0))
    contexts = recorded_engine(backend, "decode").contexts
    lengths = [list(context.shapes["past_keys"])[3] for context in contexts]
    assert lengths == [7, 5, 6]
    assert len({context.scratch for context in contexts}) == 1
    assert len({tuple(sorted(context.addresses.items())) for context in contexts}) == 1


def test_a_pass_of_several_tokens_takes_its_own_profile(
    backend: TensorRtBackend, reference: Backend
) -> None:
    for tokens in (1, 7, 1):
        inputs = step(empty_past(3), tokens, tokens)
        assert_same(backend.run("decode", inputs), reference.run("decode", inputs))
    profiles = {
        context.shapes["embeddings"][1]: context.active_optimization_profile
        for context in recorded_engine(backend, "decode").contexts
    }
    assert profiles == {1: 0, 7: 1}


def test_a_library_that_cannot_capture_runs_on_and_says_so(
    manifest: Manifest, driver: RecordedDriver, reference: Backend
) -> None:
    driver.capture_fails = True
    backend = open_recorded(manifest, driver)
    assert not backend.problems
    for seed in range(3):
        assert_same(backend.run("vision", image(seed)), reference.run("vision", image(seed)))
    assert "'vision' runs without CUDA graphs: cuStreamEndCapture failed" in backend.problems[0]
    assert driver.names().count("cuStreamBeginCapture_v2") == 1
    backend.close()


def test_a_tensor_dropped_while_its_stream_is_captured_is_freed_later(
    backend: TensorRtBackend, driver: RecordedDriver, reference: Backend
) -> None:
    """Another thread may drop it at any moment; the recorded GPU fails on a captured free."""
    held = [backend.run("prefill", prompt(3), resident=("keys", "values"))]
    inputs = step(empty_past(5), 1, 0)
    backend.run("decode", inputs)
    engine = recorded_engine(backend, "decode")
    begin = type(driver).do_cuStreamBeginCapture_v2

    def drop_inside(self: RecordedDriver, stream: int, mode: int) -> None:
        begin(self, stream, mode)
        held.clear()
        gc.collect()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(type(driver), "do_cuStreamBeginCapture_v2", drop_inside)
        backend.run("decode", inputs)
    assert not held
    assert_same(backend.run("decode", inputs), reference.run("decode", inputs))
    assert len(engine.contexts) == 2
