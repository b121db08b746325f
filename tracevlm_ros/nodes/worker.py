"""A thread that repeats one unit of work, survives its errors and ends when told."""

import threading
import traceback
from abc import ABC, abstractmethod
from collections.abc import Callable

from tracevlm_ros.core.errors import TraceVLMError
from tracevlm_ros.nodes.mailbox import Inbox
from tracevlm_ros.nodes.problems import Problems

_JOIN_S = 30.0


class Worker(ABC):
    """Subclasses take work from queues of ``inbox`` and do it in ``work``, in their own thread.

    ``prepare`` is called once in that thread, before any work.
    """

    def __init__(
        self,
        name: str,
        inbox: Inbox,
        problems: Problems,
        prepare: Callable[[], None] = lambda: None,
    ) -> None:
        self.name = name
        self.inbox = inbox
        self.problems = problems
        self._prepare = prepare
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None

    @property
    def is_stopping(self) -> bool:
        return self._stopping.is_set()

    def start(self) -> None:
        """Start the thread."""
        self._stopping.clear()
        self._thread = threading.Thread(target=self._run, name=self.name, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Ask the thread to end and wait for it; work in progress is finished or cancelled."""
        if self._thread is None:
            return
        self._stopping.set()
        self.inbox.wake()
        self._thread.join(_JOIN_S)
        if self._thread.is_alive():
            self.problems.say(f"{self.name}_stuck", f"{self.name} did not end in {_JOIN_S:.0f} s")
        self._thread = None

    @abstractmethod
    def work(self) -> None:
        """Do one unit, or wait for one; must return soon once ``is_stopping``."""

    def _run(self) -> None:
        self._prepare()
        while not self.is_stopping:
            try:
                self.work()
            except TraceVLMError as error:  # noqa: PERF203
                self.inbox.count_drop(f"{self.name}_failed")
                self.problems.say(f"{self.name}_failed", str(error))
            except Exception as error:  # a bug: the node stays up and says where it is
                self.inbox.count_drop(f"{self.name}_bug")
                self.problems.say(f"{self.name}_bug", f"{error!r}\n{traceback.format_exc()}")
