"""Single keys of a terminal, as they are pressed."""

import os
import select
import termios
import threading
import tty
from collections.abc import Callable, Mapping
from typing import TextIO

_LOOK_S = 0.1


def is_ours(terminal: TextIO | None) -> bool:
    """Whether keys pressed in ``terminal`` are meant for this process.

    False for what is no terminal, and for a job in the background: it would be stopped.
    """
    if terminal is None or not terminal.isatty():
        return False
    try:
        return os.tcgetpgrp(terminal.fileno()) == os.getpgrp()
    except OSError:  # given to this process by one that the terminal belongs to
        return True


class Keyboard:
    """Calls ``actions[key]`` in a thread of its own, from construction to ``close``.

    The terminal gives keys without Enter and without showing them meanwhile; Ctrl-C works as ever.
    A terminal that is closed ends the thread.
    """

    def __init__(self, terminal: TextIO, actions: Mapping[str, Callable[[], None]]) -> None:
        self._fd = terminal.fileno()
        self._actions = actions
        self._before = termios.tcgetattr(self._fd)
        self._closing = threading.Event()
        tty.setcbreak(self._fd)
        self._thread = threading.Thread(target=self._run, name="keyboard", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Leave the terminal as it was."""
        self._closing.set()
        self._thread.join()
        termios.tcsetattr(self._fd, termios.TCSADRAIN, self._before)

    def _run(self) -> None:
        while not self._closing.is_set():
            ready, _, _ = select.select([self._fd], [], [], _LOOK_S)
            if not ready:
                continue
            try:
                key = os.read(self._fd, 1).decode("utf-8", errors="replace")
            except OSError:
                return
            if not key:
                return
            self._actions.get(key, lambda: None)()
