"""The engine's benchmark measures what it says it measures."""

import json
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("onnx", reason="the tiny model is built with the package `onnx`")

from tests.engine.tiny_model import LIMITS, write_tiny_model
from tracevlm_ros.cli.bench_engine import open_subject
from tracevlm_ros.cli.main import main


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_model(tmp_path_factory.mktemp("bench") / "tiny")


@pytest.mark.parametrize("tokens", [1, 4])
def test_a_caption_has_the_chosen_number_of_words_and_segmentation_embeddings(
    model: Path, tokens: int
) -> None:
    subject = open_subject(model, "onnxruntime-cpu", traces=2, tokens=tokens)
    for _ in range(2):
        grounded = subject.engine.ground(subject.engine.encode(subject.image_rgb), subject.prompts)
        subject.forced.begin()
        parts = list(subject.engine.describe(grounded, 1))
        assert parts[-1].text == " ".join(["a"] * tokens)
        assert len(parts) == tokens + 1
        assert parts[-1].seg_embeddings is not None
        assert np.isfinite(parts[-1].seg_embeddings).all()
    subject.engine.close()


def test_the_results_are_printed_as_json_with_spread(
    model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["bench", "engine", "--model", str(model), "--frames", "4", "--tokens", "3", "--json"]
    assert main(words) == 0
    results = json.loads(capsys.readouterr().out)
    assert results["model"] == "tiny"
    for name in ("fast_path", "fast_path_describing", "caption"):
        row = results[name]
        assert 0 < row["p10_ms"] <= row["median_ms"] <= row["p90_ms"]
    assert results["rss_mb"] > 0
    assert 0 < results["load_s"] < results["first_result_s"]


def test_more_words_than_the_model_says_are_refused(
    model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    limit = LIMITS["max_new_tokens"]
    words = ["bench", "engine", "--model", str(model), "--tokens", str(limit), "--json"]
    assert main(words) == 1
    assert f"--tokens is {limit}; this model says at most {limit - 1}" in capsys.readouterr().err
