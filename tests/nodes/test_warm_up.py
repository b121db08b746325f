"""Kernels are compiled beside the node, and the node ends without waiting for that."""

import subprocess
import sys
import threading

import pytest

pytest.importorskip("rclpy", reason="the ROS 2 wheels are not installed")

from tracevlm_ros.core import simplify
from tracevlm_ros.nodes import warm_up
from tracevlm_ros.nodes.warm_up import Compilation

LONG_S = 600
WAIT_S = 20.0


@pytest.fixture
def loaded(monkeypatch: pytest.MonkeyPatch) -> threading.Event:
    """Set when compiled kernels are loaded."""
    event = threading.Event()
    monkeypatch.setattr(simplify, "warm_up", event.set)
    return event


def test_a_compilation_in_progress_is_given_up_at_once(
    monkeypatch: pytest.MonkeyPatch, loaded: threading.Event
) -> None:
    monkeypatch.setattr(warm_up, "_COMPILE", f"import time; time.sleep({LONG_S})")
    compilation = Compilation()
    ending = threading.Thread(target=compilation.end, daemon=True)
    ending.start()
    ending.join(WAIT_S)
    assert not ending.is_alive(), "the compilation did not end"
    assert "compile" not in {thread.name for thread in threading.enumerate()}
    assert not loaded.is_set()


def test_what_was_compiled_is_loaded_and_ending_afterwards_is_harmless(
    monkeypatch: pytest.MonkeyPatch, loaded: threading.Event
) -> None:
    monkeypatch.setattr(warm_up, "_COMPILE", "pass")
    compilation = Compilation()
    assert loaded.wait(WAIT_S)
    compilation.end()


def test_a_compiler_that_fails_leaves_numpy_to_serve(
    monkeypatch: pytest.MonkeyPatch, loaded: threading.Event
) -> None:
    monkeypatch.setattr(warm_up, "_COMPILE", "raise SystemExit(3)")
    compilation = Compilation()
    compilation._thread.join(WAIT_S)
    assert not loaded.is_set()
    compilation.end()


def test_the_process_really_compiles() -> None:
    pytest.importorskip("numba", reason="numba is not installed")
    said = f"{warm_up._COMPILE}; assert simplify.is_warm()"
    assert subprocess.run([sys.executable, "-c", said], check=False).returncode == 0
