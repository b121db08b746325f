"""Names of ROS as arguments, refused before any process starts."""

import argparse
import re

_NAMESPACE = re.compile(r"/?([A-Za-z_]\w*(/[A-Za-z_]\w*)*)?/?", re.ASCII)


def namespace(text: str) -> str:
    """A namespace, with or without its first slash; ArgumentTypeError for what ROS would refuse."""
    if not _NAMESPACE.fullmatch(text) or "__" in text:
        raise argparse.ArgumentTypeError(
            f"{text!r} is no ROS namespace; its parts hold letters, digits and single underscores, "
            "begin with a letter or underscore, and are separated by '/', as in robot/left"
        )
    return text
