"""Importing the package gives OpenBLAS one thread, unless the environment says otherwise."""

import os
import subprocess
import sys

import pytest

SCRIPT = """
import os, sys
import tracevlm_ros
assert "numpy" not in sys.modules
print(os.environ["OPENBLAS_NUM_THREADS"])
"""


@pytest.mark.parametrize(("given", "found"), [(None, "1"), ("3", "3")])
def test_openblas_gets_one_thread_unless_the_environment_says_otherwise(
    given: str | None, found: str
) -> None:
    environment = {key: v for key, v in os.environ.items() if key != "OPENBLAS_NUM_THREADS"}
    if given is not None:
        environment["OPENBLAS_NUM_THREADS"] = given
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT], env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == found
