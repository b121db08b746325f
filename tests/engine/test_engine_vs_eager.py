"""The comparison with PyTorch takes every nano, with a word map or without, and nothing else."""

import dataclasses
from pathlib import Path

import pytest

pytest.importorskip("torch", reason="the extra [train] is not installed")
pytest.importorskip("onnx", reason="the tiny model is built with the package `onnx`")

from benchmarks import engine_vs_eager
from engine.contract import GRAPHS, WORDS, graph_specs, size_symbols
from engine.export.model_directory import model_sizes
from engine.runtime.loading import model_directory
from engine.runtime.manifest import read_manifest
from tracevlm_ros.core.errors import ConfigError
from training.model.config import nano


def test_the_shipped_nano_is_taken() -> None:
    engine_vs_eager.require_nano(model_directory("nano"))


def test_nano_without_a_word_map_is_taken(
    tiny_directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So is what the benchmark itself exports when no --model is given."""
    symbols = size_symbols(GRAPHS)
    assert set(size_symbols(graph_specs(words=True))) - set(symbols) == {"most_words"}
    assert WORDS not in GRAPHS
    sizes = {name: model_sizes(nano())[name] for name in symbols}
    without = dataclasses.replace(read_manifest(tiny_directory), sizes=sizes)
    monkeypatch.setattr(engine_vs_eager, "read_manifest", lambda _: without)
    engine_vs_eager.require_nano(tiny_directory)


def test_another_architecture_is_refused_with_the_sizes_that_differ(tiny_directory: Path) -> None:
    with pytest.raises(ConfigError, match=r"'H': 16.*nano has .*'H': 256.*export nano"):
        engine_vs_eager.require_nano(tiny_directory)
