"""The ROS message types that bags are read and written with, custom ones included.

The definitions of tracevlm_msgs have one source: the ``.msg`` files of that package, read at run
time from an installation (``share/tracevlm_msgs/msg`` under AMENT_PREFIX_PATH or the Python
prefix), else from the checkout beside this package.
"""

import os
import sys
from functools import cache
from pathlib import Path

from rosbags.typesys import Stores, get_types_from_msg, get_typestore
from rosbags.typesys.store import Typestore

from tracevlm_ros.core.errors import InputError

_PACKAGE = "tracevlm_msgs"


def message_folders() -> tuple[Path, ...]:
    """Where the ``.msg`` files of tracevlm_msgs are looked for, the first that exists wins."""
    prefixes = [part for part in os.environ.get("AMENT_PREFIX_PATH", "").split(os.pathsep) if part]
    installed = [Path(prefix) / "share" / _PACKAGE / "msg" for prefix in (*prefixes, sys.prefix)]
    return (*installed, Path(__file__).parents[2] / _PACKAGE / "msg")


def new_typestore() -> Typestore:
    """A fresh store with the common types of ROS 2 and, where they are found, tracevlm_msgs."""
    store = get_typestore(Stores.ROS2_KILTED)
    folder = next((path for path in message_folders() if path.is_dir()), None)
    if folder is not None:
        for path in sorted(folder.glob("*.msg")):
            store.register(get_types_from_msg(path.read_text(), f"{_PACKAGE}/msg/{path.stem}"))
    return store


@cache
def typestore() -> Typestore:
    """The shared store, for whoever builds messages to write."""
    return new_typestore()


def message_class(msgtype: str, store: Typestore | None = None) -> type:
    """The class of ``msgtype`` (``package/msg/Name``). Raises InputError when it is unknown."""
    types = (store or typestore()).types
    if msgtype not in types:
        places = ", ".join(str(path) for path in message_folders())
        hint = f"; its .msg files were looked for in {places}" if _PACKAGE in msgtype else ""
        raise InputError(
            f"message type {msgtype} is unknown{hint}; install its package or check the spelling "
            "(package/msg/Name)"
        )
    return types[msgtype]
