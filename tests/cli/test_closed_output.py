"""A command whose output nobody reads any more."""

import os
import subprocess
import sys

import pytest


@pytest.mark.parametrize("unbuffered", ["", "1"], ids=["buffered", "unbuffered"])
@pytest.mark.parametrize("words", [["--help"], ["--version"], ["doctor", "--no-ros"]])
def test_a_reader_that_stops_reading_ends_a_command_quietly(
    words: list[str], unbuffered: str
) -> None:
    read, write = os.pipe()
    os.close(read)
    done = subprocess.run(
        [sys.executable, "-m", "tracevlm_ros.cli.main", *words],
        stdout=write,
        stderr=subprocess.PIPE,
        env={**os.environ, "PYTHONUNBUFFERED": unbuffered},
        check=False,
    )
    os.close(write)
    assert done.stderr == b""
    assert done.returncode == 141
