"""Two processes on the CPU give the run that one process gives."""

import json
import subprocess
import sys

import pytest
import torch

from tests.training.stages.runs import tiny_stage, train, weights_in
from tracevlm_ros.core.errors import ConfigError
from training.stages.building import build
from training.stages.parallel import Processes
from training.stages.progress import LOG_NAME
from training.stages.trainer import _require_shares

_PROGRAM = """
import json, sys
from pathlib import Path
from training.stages import parallel
from training.stages.settings import StageConfig
from training.stages.trainer import StageTrainer
folder, settings, until = sys.argv[1:]
trainer = StageTrainer(StageConfig.of_mapping(json.loads(settings)), Path(folder))
trainer.run(int(until))
parallel.leave(trainer.processes)
"""


def two_processes(folder, config, until: int) -> str:
    program = folder.parent / "program.py"
    program.write_text(_PROGRAM)
    arguments = [str(folder), json.dumps(config.as_mapping()), str(until)]
    launch = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    done = subprocess.run(
        [sys.executable, *launch, str(program), *arguments],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


@pytest.mark.slow
@pytest.mark.parametrize(
    ("model", "stage", "length"), [("tiny", "1.5", 160), ("tiny-qwen", "1", 256)]
)
def test_two_processes_equal_one_and_one_resumes_what_two_wrote(
    tmp_path, model, stage, length
) -> None:
    config = tiny_stage(model=model, stage=stage, validation={"every": 2, "rows": 3, "answers": 0})
    values = {**config.as_mapping(), "packing": {"length": length, "open_rows": 2}}
    config = type(config).of_mapping(values)
    train(config, tmp_path / "one")
    output = two_processes(tmp_path / "two", config, until=3)
    assert output.count("step 1/4") == 1
    train(config, tmp_path / "two")
    begun = build(config).stage.network.state_dict()
    one, two = (weights_in(tmp_path / name, config) for name in ("one", "two"))
    moved = sum(float((one[name] - begun[name]).abs().sum()) for name in one)
    apart = sum(float((one[name] - two[name]).abs().sum()) for name in one)
    assert apart < 5e-3 * moved
    logs = [
        [json.loads(line) for line in (tmp_path / name / LOG_NAME).read_text().splitlines()]
        for name in ("one", "two")
    ]
    for expected, found in zip(*logs, strict=True):
        # Before the first update all is the same but for rounding; then AdamW makes much of it
        # where a gradient is near 0.
        limit = 1e-5 if expected["step"] == 1 and "norm" in expected else 1e-2
        for key in {"text", "ref", "dice", "norm", "samples", "tokens", "masks"} & set(expected):
            assert found[key] == pytest.approx(expected[key], rel=limit), key


def test_streams_that_cannot_be_shared_evenly_are_refused() -> None:
    three = Processes(0, 3, torch.device("cpu"))
    with pytest.raises(ConfigError, match="micro_batches is 2, processes are 3"):
        _require_shares(tiny_stage(), three)
