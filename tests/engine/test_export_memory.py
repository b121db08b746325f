"""A big model is exported without its weights ever being in memory together."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

EXPORT = """
import dataclasses, json, sys
from pathlib import Path
import onnx, onnxscript, torch
from engine.export.directory import Form
from engine.export.onnx_file import trace
from engine.export.qwen_directory import _model, default_limits, write_qwen_directory
from engine.export.qwen_tokenizer import letters_tokenizer
from engine.export.qwen_weights import RandomBackbone, grafted_parts
from tests.training.tiny_qwen import tiny_config

def kilobytes(name):
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(name))

class Product(torch.nn.Module):
    def forward(self, x):
        return x @ x

from engine.contract import GraphSpec, TensorSpec
square = TensorSpec("float32", (2, 2))
trace(Product(), GraphSpec({"x": square}, {"y": square}), {"x": torch.ones(2, 2)})
small = tiny_config(fused=False)
language = dataclasses.replace(
    small.language, vocab=8192, width=1536, mlp_width=6144, depth=2, heads=12, kv_heads=2,
    rope_sections=(16, 24, 24))
vision = dataclasses.replace(small.vision, depth=2, full_attention_blocks=(1,), shallow_block=0)
config = dataclasses.replace(small, language=language, vision=vision,
                             tvp=dataclasses.replace(small.tvp, heads=12, mlp_width=64))
before = kilobytes("VmRSS")
grafted = grafted_parts(config, None)
model = _model(config, RandomBackbone(), grafted, letters_tokenizer(config.tokens))
limits = default_limits(config, (84, 84))._replace(max_new_tokens=4)
form = Form(precision=sys.argv[2])
write_qwen_directory(model, Path(sys.argv[1]), "big", (84, 84), form, limits)
print(json.dumps({"used": 1024 * (kilobytes("VmHWM") - before)}))
"""
MOST = 1.5


def used_bytes(code: str, *words: str) -> int:
    """What a process of its own says that it used, running ``code`` with ``words``."""
    done = subprocess.run(
        [sys.executable, "-c", code, *words],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(entry or "." for entry in sys.path)},
    )
    assert done.returncode == 0, done.stderr
    return int(json.loads(done.stdout.splitlines()[-1])["used"])


def weight_bytes(directory: Path) -> int:
    files = (*directory.glob("*.weights"), directory / "embeddings.npy")
    return sum(path.stat().st_size for path in files)


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="memory is read from /proc")
def test_exporting_takes_at_most_one_and_a_half_times_the_weights(tmp_path: Path) -> None:
    """Beyond what imports and a first trace take. The weights of prefill and decode are shared."""
    out = tmp_path / "big"
    used = used_bytes(EXPORT, str(out), "bf16")
    weights = weight_bytes(out)
    assert weights > 250e6
    assert used <= MOST * weights, f"{used / 1e6:.0f} MB for weights of {weights / 1e6:.0f} MB"
