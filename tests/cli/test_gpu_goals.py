"""The harness for big models, at the size of a toy and on the CPU."""

import argparse
import json
from pathlib import Path

import pytest

pytest.importorskip("onnx", reason="the tiny model is built with the package `onnx`")

from benchmarks.gpu_goals import GOALS, as_text, measure
from benchmarks.gpu_summary import goal_lines
from engine.runtime.manifest import read_manifest
from tests.engine.tiny_model import WIDTH, write_tiny_model
from tests.engine.tiny_static_model import write_tiny_static_model
from tracevlm_ros.cli.device_limit import copy_bandwidth, decode_bytes
from tracevlm_ros.core.errors import ConfigError


@pytest.fixture(scope="module")
def static_directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_static_model(tmp_path_factory.mktemp("goals") / "tiny")


def asked(directory: Path, rounds: int = 5) -> argparse.Namespace:
    return argparse.Namespace(
        model=str(directory), backend="onnxruntime-cpu", rounds=rounds, tokens=3
    )


def test_every_goal_is_measured_and_judged(static_directory: Path) -> None:
    results = json.loads(json.dumps(measure(asked(static_directory))))
    assert set(results["goals"]) == set(GOALS)
    assert results["flavour"] == "static-cache"
    assert results["caption"]["tokens"] == 3
    share = results["decode_share"]
    wanted = sum(results["decode_bytes"].values()) / (results["decode"]["median_ms"] * 1e-3)
    assert share == pytest.approx(wanted / (results["copy"]["gb_per_s"] * 1e9), rel=0.05, abs=1e-3)
    assert all(isinstance(row["met"], bool) for row in results["goals"].values())
    assert "decode_share" in as_text(results)
    assert any("fast_path_loss" in line for line in goal_lines(results))


def test_bytes_of_a_token_are_its_weights_and_its_cache(
    static_directory: Path, tmp_path: Path
) -> None:
    static = decode_bytes(read_manifest(static_directory), 10)
    grown = decode_bytes(read_manifest(write_tiny_model(tmp_path / "grown")), 10)
    assert static.cache == grown.cache == 10 * 2 * WIDTH * 4
    assert static.weights == (static_directory / "decode.onnx").stat().st_size


def test_a_copy_has_a_bandwidth() -> None:
    device, bandwidth = copy_bandwidth()
    assert device
    assert bandwidth > 1e6


def test_too_few_rounds_are_refused(static_directory: Path) -> None:
    with pytest.raises(ConfigError, match="--rounds is 2"):
        measure(asked(static_directory, rounds=2))
