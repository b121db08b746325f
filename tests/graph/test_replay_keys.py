"""Keys pressed in a terminal while ``tracevlm replay`` plays: a real terminal, a real player."""

import os
import pty
import signal
import subprocess
import sys
import termios
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("rclpy", reason="the ROS 2 wheels are not installed")
pytest.importorskip("tracevlm_msgs", reason="the message package is not installed")

from tests.graph.tiny_bag import write_tiny_bag
from tracevlm_ros.cli.dds import own_domain
from tracevlm_ros.nodes.keyboard import is_ours

pytestmark = pytest.mark.graph

WAIT_S = 40.0


# What a shell runs in the background ignores interrupts, and so do its children: heed them again.
COMMAND = """
import signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)
from tracevlm_ros.cli.main import main
sys.exit(main(sys.argv[1:]))
"""


class Replay:
    """A bag that is played again and again by a command whose standard input is a terminal."""

    def __init__(self, bag: Path, domain_id: int, log: Path) -> None:
        self.keys, self.terminal = pty.openpty()
        self.log = log
        command = [sys.executable, "-c", COMMAND, "replay", str(bag), "--loop"]
        with log.open("w") as out:
            self.process = subprocess.Popen(
                [*command, "--wait", "0", "--domain", str(domain_id)],
                stdin=self.terminal,
                stdout=out,
                stderr=out,
            )

    def shows_keys(self) -> bool:
        """Whether the terminal works as it does for a shell: by lines, each key shown."""
        local = termios.tcgetattr(self.terminal)[3]
        return bool(local & termios.ICANON and local & termios.ECHO)

    def until_said(self, text: str, count: int = 1) -> None:
        limit_s = time.monotonic() + WAIT_S
        while self.log.read_text().count(text) < count:
            assert time.monotonic() < limit_s, f"{text!r} was not said: {self.log.read_text()}"
            assert self.process.poll() is None, self.log.read_text()
            time.sleep(0.02)

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
            self.process.wait(WAIT_S)
        for end in (self.keys, self.terminal):
            os.close(end)


@pytest.fixture
def replay(tmp_path: Path) -> Iterator[Replay]:
    bag = write_tiny_bag(tmp_path / "bag", frames=10)
    with own_domain() as domain_id:
        made = Replay(bag.path, domain_id, tmp_path / "said.txt")
        yield made
        made.close()


def test_space_pauses_and_goes_on_and_the_terminal_is_left_as_it_was(replay: Replay) -> None:
    replay.until_said("nobody listens")
    assert not replay.shows_keys()
    os.write(replay.keys, b"x ")
    replay.until_said("paused")
    os.write(replay.keys, b" ")
    replay.until_said("playing\n")
    os.write(replay.keys, b" ")
    replay.until_said("paused", 2)
    replay.process.send_signal(signal.SIGINT)
    replay.process.wait(WAIT_S)
    assert replay.shows_keys()


def test_what_is_no_terminal_gives_no_keys(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with (tmp_path / "file").open() as file:
        assert not is_ours(file)
    assert not is_ours(None)
