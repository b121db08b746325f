"""One tiny model directory and its engine for all tests of the run time."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from engine.runtime import load_engine
from tracevlm_ros.core.engine import Engine


@pytest.fixture(scope="session")
def tiny_directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Read-only: tests that damage a model write their own."""
    from tests.engine.tiny_model import write_tiny_model

    return write_tiny_model(tmp_path_factory.mktemp("models") / "tiny")


@pytest.fixture
def engine(tiny_directory: Path) -> Iterator[Engine]:
    loaded = load_engine(tiny_directory, backend="onnxruntime-cpu")
    yield loaded
    loaded.close()
