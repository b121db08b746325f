"""The script that takes every GPU figure: what it refuses, and one step of it without a GPU."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parents[2] / "benchmarks" / "gpu_run.sh"


def run(*words: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHON": sys.executable}
    return subprocess.run(
        ["bash", str(SCRIPT), *words], capture_output=True, text=True, check=False, env=environment
    )


def test_help_tells_the_steps() -> None:
    done = run("--help")
    assert done.returncode == 0
    assert "--steps" in done.stdout
    assert "nano,qwen,transformers,fp8,eager" in done.stdout


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--steps", "nano,soup"), "no step 'soup'"),
        (("--device", "tpu"), "--device is 'tpu'; cpu or cuda"),
        (("--rounds",), "--rounds needs a value"),
        (("--soup",), "unknown option --soup"),
    ],
)
def test_what_it_does_not_know_is_named(words: tuple[str, ...], said: str) -> None:
    done = run(*words)
    assert done.returncode == 2
    assert said in done.stderr


@pytest.mark.slow
def test_the_shipped_model_is_rehearsed_without_a_gpu(tmp_path: Path) -> None:
    words = ("--device", "cpu", "--steps", "nano,eager", "--rounds", "5", "--out", str(tmp_path))
    done = run(*words)
    assert done.returncode == 0, done.stdout + done.stderr
    engine = json.loads((tmp_path / "nano-engine-onnxruntime-cpu-4-traces.json").read_text())
    assert engine["captions_together"]["median_ms"] > 0
    graphs = json.loads((tmp_path / "nano-graphs-onnxruntime-cpu.json").read_text())["graphs"]
    assert set(graphs) == {"vision", "tvp", "prefill", "decode", "mask", "words"}
    beside = json.loads((tmp_path / "nano-vs-eager.json").read_text())
    assert beside["rounds"] == 5
    assert beside["fast_path_times_faster"] > 0


@pytest.mark.slow
def test_the_peers_are_rehearsed_without_a_gpu(tmp_path: Path) -> None:
    pytest.importorskip("transformers")
    done = run("--device", "cpu", "--steps", "transformers", "--out", str(tmp_path))
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads((tmp_path / "qwen2.5-vl-tiny-transformers.json").read_text())
    assert {"vision", "eager", "static"} <= set(found)
    assert found["static"]["decode"]["median_ms"] > 0
