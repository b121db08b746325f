"""The slow path gives way: on a busy machine masks come first, words after."""

import contextlib
import os
import threading

_NICENESS = 5


def give_way() -> None:
    """Lower the priority of the calling thread (Linux; nothing elsewhere or where not allowed).

    Decoding and prefilling use one thread, the caller's, so this reaches all work of the slow path.
    """
    if hasattr(os, "setpriority"):
        with contextlib.suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _NICENESS)
