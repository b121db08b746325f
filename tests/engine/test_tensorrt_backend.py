"""The host side of the TensorRT back end over a recorded GPU (``recorded_gpu``).

What a plan computes is ONNX Runtime's here, so results must be equal bit for bit; what is tested
is everything round it: addresses, copies, waiting, streams, captured graphs, errors.
"""

import gc
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("onnx", reason="the tiny model is built with the package `onnx`")

from engine.contract import GRAPHS
from engine.runtime.backend import Backend
from engine.runtime.building import Plan
from engine.runtime.cuda_driver import Cuda
from engine.runtime.manifest import Manifest, read_manifest
from engine.runtime.model_engine import ModelEngine
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
    traces,
)
from tests.engine.recorded_gpu import (
    GREATEST_PRIORITY,
    LEAST_PRIORITY,
    RecordedDriver,
    recorded_tensorrt,
)
from tests.engine.tiny_model import LIMITS
from tracevlm_ros.core.engine import TracePrompt
from tracevlm_ros.core.errors import BackendError


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


def answer(backend: Backend, manifest: Manifest) -> list[Any]:
    """Everything that an engine says about two frames with two traces each."""
    engine = ModelEngine(manifest, backend)
    said: list[Any] = []
    for seed in range(2):
        random = np.random.default_rng(seed)
        frame = random.integers(0, 256, (20, 30, 3), dtype=np.uint8)
        prompts = [
            TracePrompt(random.random((count, 2)), np.zeros(count), np.zeros(count, np.bool_))
            for count in (2, 4)
        ]
        grounded = engine.ground(engine.encode(frame), prompts)
        parts = [list(engine.describe(grounded, i, "what is it") or ()) for i in (0, 1, 0)]
        said += [[(part.text, part.is_final, part.score) for part in found] for found in parts]
        said += engine.segment(grounded, [found[-1].seg_embeddings for found in parts[:2]])
    return said


def test_a_whole_engine_answers_as_on_onnxruntime(
    backend: TensorRtBackend, reference: Backend, manifest: Manifest
) -> None:
    found, wanted = answer(backend, manifest), answer(reference, manifest)
    assert len(found) == len(wanted)
    for one, other in zip(found, wanted, strict=True):
        if isinstance(other, np.ndarray):
            np.testing.assert_array_equal(one, other)
        else:
            assert one == other


def test_the_name_is_that_of_the_library(backend: TensorRtBackend) -> None:
    assert backend.name == "recorded"


def test_the_fast_path_has_the_highest_priority(
    backend: TensorRtBackend, driver: RecordedDriver
) -> None:
    priority = {graph: driver.priorities[runner(backend, graph)._stream.handle] for graph in GRAPHS}
    assert {priority[graph] for graph in ("vision", "tvp", "mask")} == {GREATEST_PRIORITY}
    assert {priority[graph] for graph in ("prefill", "decode")} == {LEAST_PRIORITY}


def test_what_stays_on_the_gpu_is_not_waited_for(
    backend: TensorRtBackend, driver: RecordedDriver
) -> None:
    inputs = traces(backend, 1)
    del inputs["tokens"]
    before = len(driver.calls)
    made = backend.run("vision", image(0), resident=("tokens", "deep", "shallow"))
    inputs["tokens"] = made["tokens"]
    backend.run("tvp", inputs, resident=("enhanced", "trace_tokens"))
    assert "cuStreamSynchronize" not in driver.names()[before:]
    backend.run("tvp", inputs)
    assert driver.names()[-1] == "cuStreamSynchronize"


def test_calls_in_a_row_do_not_write_over_inputs_still_in_use(
    backend: TensorRtBackend, reference: Backend
) -> None:
    """No call here waits for its results; every frame must still be its own."""
    kept = [
        backend.run("vision", image(seed), resident=("tokens", "deep", "shallow"))
        for seed in range(4)
    ]
    for seed, found in enumerate(kept):
        wanted = reference.run("vision", image(seed))
        assert_same({name: found[name].numpy() for name in found}, wanted)


def test_inputs_may_change_after_the_call(backend: TensorRtBackend, reference: Backend) -> None:
    inputs = image(0)
    wanted = reference.run("vision", image(0))["tokens"]
    found = backend.run("vision", inputs, resident=("tokens", "deep", "shallow"))
    inputs["image"][:] = 0
    np.testing.assert_array_equal(found["tokens"].numpy(), wanted)


def test_outputs_belong_to_the_caller(backend: TensorRtBackend) -> None:
    first = backend.run("vision", image(0))["tokens"]
    kept = first.copy()
    backend.run("vision", image(1))
    np.testing.assert_array_equal(first, kept)
    first[:] = 0


def test_a_tensor_written_on_the_other_stream_is_waited_for(
    backend: TensorRtBackend, reference: Backend
) -> None:
    """Read by another stream while nothing has waited for its own, then dropped at once."""
    everything = tuple(GRAPHS["prefill"].outputs)
    runner(backend, "decode")._stream = runner(backend, "vision")._stream
    ready = backend.run("prefill", prompt(4), resident=everything)
    past = {"past_keys": ready["keys"], "past_values": ready["values"]}
    found = backend.run("decode", step(past, 1, 0), resident=everything)
    del past, ready
    gc.collect()
    backend.run("prefill", prompt(5), resident=everything)["logits"].numpy()
    cached = reference.run("prefill", prompt(4))
    wanted = {"past_keys": cached["keys"], "past_values": cached["values"]}
    assert_same(
        {name: tensor.numpy() for name, tensor in found.items()},
        reference.run("decode", step(wanted, 1, 0)),
    )


def test_memory_of_dropped_tensors_is_used_again(backend: TensorRtBackend) -> None:
    arena = backend._arena
    kept: list[Any] = []
    counts = []
    for seed in range(6):
        kept = [backend.run("vision", image(seed), resident=("tokens", "deep", "shallow"))]
        gc.collect()
        counts.append(arena.live)
    assert counts[2:] == [counts[2]] * 4
    assert kept


def test_closing_frees_everything_and_tensors_may_die_later(
    manifest: Manifest, driver: RecordedDriver
) -> None:
    backend = open_recorded(manifest, driver)
    for seed in range(2):
        held = backend.run("vision", image(seed), resident=("tokens",))
    backend.close()
    frees = driver.names().count("cuMemFreeAsync")
    assert frees == driver.names().count("cuMemAllocAsync")
    assert not driver.pinned
    assert not driver.priorities
    assert driver.names()[-1] == "cuDevicePrimaryCtxRelease_v2"
    calls = len(driver.calls)
    del held
    gc.collect()
    assert len(driver.calls) == calls


def test_two_threads_may_run_the_two_paths(backend: TensorRtBackend, reference: Backend) -> None:
    errors: list[BaseException] = []

    def decode() -> None:
        try:
            for seed in range(20):
                inputs = step(empty_past(3 + seed % 4), 1, seed)
                assert_same(backend.run("decode", inputs), reference.run("decode", inputs))
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=decode)
    thread.start()
    for seed in range(20):
        assert_same(backend.run("vision", image(seed)), reference.run("vision", image(seed)))
    thread.join()
    assert not errors


def test_a_cache_beyond_the_limit_names_limit_and_remedy(backend: TensorRtBackend) -> None:
    limit = LIMITS["max_prompt_tokens"] + LIMITS["max_new_tokens"] + 6
    backend.run("decode", step(empty_past(limit), 1, 0))
    with pytest.raises(BackendError, match=rf"'P': {limit + 1}.*admits .*1\.\.{limit}.*manifest"):
        backend.run("decode", step(empty_past(limit + 1), 1, 0))


def test_more_traces_than_the_model_takes_are_refused(backend: TensorRtBackend) -> None:
    with pytest.raises(BackendError, match=r"'T': 4.*1\.\.3"):
        backend.run("tvp", traces(backend, 4))


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (np.zeros((1, 8, 8, 3), np.uint8), r"'image' is \(1, 8, 8, 3\), the model takes \(1, 16"),
        (np.zeros((1, 16, 16), np.uint8), r"'image' is \(1, 16, 16\)"),
        (np.zeros((1, 16, 16, 3), np.float32), "'image' of graph 'vision' is float32, .*uint8"),
    ],
)
def test_inputs_of_another_shape_or_type_are_named(
    backend: TensorRtBackend, given: Any, said: str
) -> None:
    with pytest.raises(BackendError, match=said):
        backend.run("vision", {"image": given})


def test_inputs_that_disagree_are_refused(backend: TensorRtBackend) -> None:
    inputs = step(empty_past(4), 1, 0)
    inputs["past_values"] = inputs["past_values"][..., :3, :]
    with pytest.raises(BackendError, match="'past_values' is"):
        backend.run("decode", inputs)


def test_a_tensor_of_another_back_end_is_refused(
    backend: TensorRtBackend, reference: Backend
) -> None:
    foreign = reference.run("vision", image(0), resident=("tokens",))["tokens"]
    inputs = {**traces(backend, 1), "tokens": foreign}
    with pytest.raises(BackendError, match="'tokens' of graph 'tvp' is a OrtResident of another"):
        backend.run("tvp", inputs)


def test_a_graph_that_fails_is_named_and_the_next_call_works(
    backend: TensorRtBackend, reference: Backend
) -> None:
    engine = recorded_engine(backend, "vision")
    engine.refuses = True
    with pytest.raises(BackendError, match="graph 'vision' failed in TensorRT"):
        backend.run("vision", image(0))
    engine.refuses = False
    assert_same(backend.run("vision", image(1)), reference.run("vision", image(1)))


def test_a_gpu_out_of_memory_is_told_and_the_other_path_goes_on(
    backend: TensorRtBackend, driver: RecordedDriver, reference: Backend
) -> None:
    used = sum(len(block) for block in driver.device.values())
    driver.memory_limit = used + 100
    with pytest.raises(BackendError, match="the GPU is out of memory in cuMemAllocAsync; close"):
        backend.run("prefill", prompt(20), resident=("keys", "values"))
    assert_same(backend.run("vision", image(1)), reference.run("vision", image(1)))
    driver.memory_limit = None
    found = backend.run("prefill", prompt(20), resident=("keys", "values"))
    np.testing.assert_array_equal(
        found["keys"].numpy(), reference.run("prefill", prompt(20))["keys"]
    )


def test_a_plan_that_the_library_does_not_take_frees_the_gpu(
    manifest: Manifest, driver: RecordedDriver
) -> None:
    plans = [Plan("vision", b"", Path("vision.plan"), 0.0, "")]
    with pytest.raises(BackendError, match=r"does not take vision\.plan: magic tag.*--rebuild"):
        TensorRtBackend(manifest, recorded_tensorrt(driver), Cuda(driver), plans)
    assert not driver.priorities
