"""A back end over the recorded GPU, and calls of the tiny model's graphs."""

from pathlib import Path
from typing import Any

import numpy as np

from engine.contract import GRAPHS
from engine.runtime.backend import Backend
from engine.runtime.building import Plan
from engine.runtime.cuda_driver import Cuda
from engine.runtime.manifest import Manifest
from engine.runtime.plan_runner import PlanRunner
from engine.runtime.tensorrt_backend import MAX_CAPTURED, TensorRtBackend
from tests.engine.recorded_gpu import (
    RecordedDriver,
    RecordedEngine,
    recorded_tensorrt,
)
from tests.engine.tiny_model import SIZES, WIDTH


def open_recorded(
    manifest: Manifest, driver: RecordedDriver, max_captured: Any = MAX_CAPTURED
) -> TensorRtBackend:
    plans = [
        Plan(graph, manifest.graph_paths[graph].read_bytes(), Path(graph), 0.0, "")
        for graph in GRAPHS
    ]
    return TensorRtBackend(manifest, recorded_tensorrt(driver), Cuda(driver), plans, max_captured)


def runner(backend: TensorRtBackend, graph: str) -> PlanRunner:
    return backend._runners[graph]


def recorded_engine(backend: TensorRtBackend, graph: str) -> RecordedEngine:
    found = runner(backend, graph)._engine
    assert isinstance(found, RecordedEngine)
    return found


def image(seed: int) -> dict[str, Any]:
    random = np.random.default_rng(seed)
    return {"image": random.integers(0, 256, (1, SIZES["H"], SIZES["W"], 3), dtype=np.uint8)}


def step(past: Any, tokens: int, seed: int) -> dict[str, Any]:
    random = np.random.default_rng(seed)
    return {
        "embeddings": random.standard_normal((1, tokens, WIDTH)).astype(np.float32),
        "position_ids": np.arange(3 * tokens).reshape(3, 1, tokens),
        **past,
    }


def empty_past(tokens: int) -> dict[str, Any]:
    random = np.random.default_rng(tokens)
    shape = (SIZES["layers"], 1, SIZES["kv_heads"], tokens, SIZES["head_dim"])
    return {
        name: random.standard_normal(shape).astype(np.float32)
        for name in ("past_keys", "past_values")
    }


def assert_same(found: dict[str, Any], wanted: dict[str, Any]) -> None:
    assert set(found) == set(wanted)
    for name, array in wanted.items():
        np.testing.assert_array_equal(found[name], array)


def traces(backend: Backend, count: int) -> dict[str, Any]:
    slots = SIZES["K"]
    return {
        "tokens": backend.run("vision", image(1))["tokens"],
        "points": np.full((count, slots, 2), 0.5, np.float32),
        "dt_s": np.zeros((count, slots), np.float32),
        "pen_up": np.zeros((count, slots), np.float32),
        "valid": np.ones((count, slots), np.float32),
    }


def prompt(tokens: int) -> dict[str, Any]:
    random = np.random.default_rng(tokens)
    return {
        "embeddings": random.standard_normal((1, tokens, WIDTH)).astype(np.float32),
        "position_ids": np.arange(3 * tokens).reshape(3, 1, tokens),
    }
