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
def test_goals_and_peers_of_the_big_model_are_rehearsed_without_a_gpu(tmp_path: Path) -> None:
    pytest.importorskip("transformers")
    words = ("--device", "cpu", "--steps", "qwen,transformers", "--rounds", "5")
    done = run(*words, "--out", str(tmp_path))
    assert done.returncode == 0, done.stdout + done.stderr
    peers = json.loads((tmp_path / "qwen2.5-vl-tiny-transformers.json").read_text())
    assert peers["static"]["decode"]["median_ms"] > 0
    assert peers["static"]["compiled_graphs"] > 0 == peers["eager"]["compiled_graphs"]
    assert peers["vision_compiled"]["compiled_graphs"] > 0
    goals = json.loads((tmp_path / "qwen2.5-vl-tiny-fp32-goals.json").read_text())
    assert goals["image_size_hw"] == [448, 448]
    assert goals["prompt_tokens"] == 300 <= goals["first_token"]["prompt_tokens"]
    said = (tmp_path / "summary.txt").read_text()
    assert all(name in said for name in goals["goals"])
    assert "engine in fp32 over static: first token" in said
    assert "--steps qwen,transformers" in (tmp_path / "environment.txt").read_text()
    commands = (tmp_path / "commands.txt").read_text().splitlines()
    assert [line.split(":")[0] for line in commands] == [
        "environment",
        "qwen2.5-vl-tiny-fp32-export",
        "qwen2.5-vl-tiny-fp32-goals",
        "qwen2.5-vl-tiny-transformers",
        "summary",
    ]
    assert all(": status 0, " in line for line in commands)
