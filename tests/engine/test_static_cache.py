"""The static-cache flavour: written in place, shared by questions, swapped between traces."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("onnx", reason="the tiny model is built with the package `onnx`")

from engine.contract import STATIC_CACHE
from engine.runtime import load_engine
from engine.runtime.backend import Backend
from engine.runtime.building import Plan
from engine.runtime.cuda_driver import Cuda
from engine.runtime.manifest import Manifest, read_manifest
from engine.runtime.ort_backend import OrtBackend
from engine.runtime.passes import StaticPasses, causal_places, open_passes
from engine.runtime.plan_profiles import admits, graph_profiles
from engine.runtime.tensorrt_backend import TensorRtBackend
from tests.engine.recorded_calls import runner
from tests.engine.recorded_gpu import RecordedDriver, recorded_tensorrt
from tests.engine.tiny_model import WIDTH
from tests.engine.tiny_static_model import summed, write_tiny_static_model
from tracevlm_ros.core.engine import TracePrompt
from tracevlm_ros.core.errors import BackendError, EngineError, EngineMismatch
from tracevlm_ros.core.prompt import answer_positions


@pytest.fixture(scope="module")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> Manifest:
    return read_manifest(write_tiny_static_model(tmp_path_factory.mktemp("static") / "tiny"))


def on_recorded_gpu(manifest: Manifest) -> TensorRtBackend:
    driver = RecordedDriver()
    plans = [
        Plan(graph, path.read_bytes(), Path(graph), 0.0, "")
        for graph, path in manifest.graph_paths.items()
    ]
    return TensorRtBackend(manifest, recorded_tensorrt(driver), Cuda(driver), plans)


@pytest.fixture(params=["onnxruntime", "recorded gpu"])
def backend(request: pytest.FixtureRequest, manifest: Manifest) -> Iterator[Backend]:
    opened: Backend
    if request.param == "onnxruntime":
        opened = OrtBackend(manifest, "cpu")
    else:
        opened = on_recorded_gpu(manifest)
    yield opened
    opened.close()


def tokens(count: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((1, count, WIDTH)).astype(np.float32)


def positions(count: int) -> np.ndarray:
    return answer_positions(0, count)


def test_passes_read_on_where_the_last_one_ended(backend: Backend, manifest: Manifest) -> None:
    passes = open_passes(backend, manifest)
    assert isinstance(passes, StaticPasses)
    parts = [tokens(count, count) for count in (5, 3, 1, 1, 1, 7)]
    cache = passes.prefill(parts[0], positions(5))
    read_so_far = parts[0][0]
    for part in parts[1:]:
        read = passes.decode(cache, part, positions(part.shape[1]))
        cache, read_so_far = read.cache, np.concatenate([read_so_far, part[0]])
        wanted = summed(read_so_far)[-part.shape[1] :]
        np.testing.assert_allclose(read.hidden, wanted, atol=1e-4)
        assert read.logits.shape == (1, WIDTH)


def test_a_second_question_reads_the_same_prompt(backend: Backend, manifest: Manifest) -> None:
    passes = open_passes(backend, manifest)
    prompt = tokens(4, 0)
    cache = passes.prefill(prompt, positions(4))
    first = passes.decode(cache, tokens(6, 1), positions(6))
    second = passes.decode(cache, tokens(2, 2), positions(2))
    wanted = summed(np.concatenate([prompt[0], tokens(2, 2)[0]]))[-2:]
    np.testing.assert_allclose(second.hidden, wanted, atol=1e-4)
    with pytest.raises(EngineError, match="overtaken"):
        passes.decode(first.cache, tokens(1, 3), positions(1))
    passes.decode(second.cache, tokens(1, 3), positions(1))


def test_traces_do_not_mix_their_caches(backend: Backend, manifest: Manifest) -> None:
    passes = open_passes(backend, manifest)
    prompts = [tokens(3 + number, 10 + number) for number in range(3)]
    caches = [passes.prefill(prompt, positions(prompt.shape[1])) for prompt in prompts]
    heard = [prompt[0] for prompt in prompts]
    for turn in (0, 1, 2, 1, 0, 0, 2):
        said = tokens(1, 100 + turn)
        read = passes.decode(caches[turn], said, positions(1))
        caches[turn], heard[turn] = read.cache, np.concatenate([heard[turn], said[0]])
        np.testing.assert_allclose(read.hidden[-1], summed(heard[turn])[-1], atol=1e-4)


def test_the_capacity_is_a_limit_with_a_remedy(backend: Backend, manifest: Manifest) -> None:
    passes = open_passes(backend, manifest)
    cache = passes.prefill(tokens(20, 0), positions(20))
    cache = passes.decode(cache, tokens(19, 0), positions(19)).cache
    with pytest.raises(EngineMismatch, match=r"39 \+ 2 tokens.*holds 40; re-export"):
        passes.decode(cache, tokens(2, 1), positions(2))


def test_one_captured_graph_serves_every_length_and_nothing_is_copied(manifest: Manifest) -> None:
    backend = on_recorded_gpu(manifest)
    passes = open_passes(backend, manifest)
    cache = passes.prefill(tokens(5, 0), positions(5))
    for seed in range(6):
        cache = passes.decode(cache, tokens(1, seed), positions(1)).cache
    assert runner(backend, "decode").captured == 1
    working = runner(backend, "decode")._setup.cache
    assert working is not None
    assert working.swaps == 1
    backend.close()


def test_an_array_in_place_of_a_cache_is_refused(manifest: Manifest) -> None:
    backend = on_recorded_gpu(manifest)
    spec = manifest.graphs["decode"].inputs["keys_0"]
    array = np.zeros([int(size) for size in spec.shape], np.float32)
    inputs = {
        "embeddings": tokens(1, 0),
        "position_ids": positions(1),
        "mask": causal_places(0, 1, 40),
        "write_index": np.zeros(1, np.int64),
        "keys_0": array,
        "values_0": array,
    }
    with pytest.raises(BackendError, match=r"'keys_0'.*`zeros` made"):
        backend.run("decode", inputs)
    backend.close()


def test_profiles_serve_a_token_a_codebook_and_a_prompt(manifest: Manifest) -> None:
    single, short, long = graph_profiles("decode", manifest)
    assert admits(single, {"S": 1})
    assert admits(short, {"S": 7})
    assert not admits(short, {"S": 8})
    assert admits(long, {"S": manifest.max_prompt_tokens})


def test_an_engine_answers_with_a_static_cache(manifest: Manifest) -> None:
    engine = load_engine(manifest.directory, backend="onnxruntime-cpu")
    trace = TracePrompt(np.full((2, 2), 0.5), np.zeros(2), np.zeros(2, np.bool_))
    grounded = engine.ground(engine.encode(np.zeros((16, 16, 3), np.uint8)), [trace])
    parts = list(engine.describe(grounded, 0))
    assert parts[-1].text == "a red ball"
    assert parts[-1].seg_embeddings is not None
    assert [part.text for part in engine.describe(grounded, 0)] == [part.text for part in parts]
    engine.close()


def test_a_flavour_that_is_unknown_is_refused(tmp_path: Path) -> None:
    directory = write_tiny_static_model(tmp_path / "tiny")
    path = directory / "manifest.json"
    path.write_text(path.read_text().replace(STATIC_CACHE, "paged-cache"))
    with pytest.raises(EngineMismatch, match=r"'flavour'.*'paged-cache'.*primitive, static-cache"):
        read_manifest(directory)
