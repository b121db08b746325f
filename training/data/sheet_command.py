"""A picture sheet of training data: pictures with regions, traces and words, as a PNG.

PATH is an annotation file or folder of a known form (docs/data.md), or ``synthetic[:SEED]``.
"""

import argparse
from pathlib import Path

import cv2

from tracevlm_ros.core.drops import Drops
from tracevlm_ros.core.errors import InputError
from training.data.opening import add_source_arguments, open_named
from training.data.sheet import SheetConfig, sheet


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("path", metavar="PATH")
    add_source_arguments(parser)
    parser.add_argument("--out", type=Path, required=True, help="PNG file to write")
    parser.add_argument("--count", type=int, default=12, help="records to show")
    parser.add_argument("--columns", type=int, default=4)
    parser.add_argument("--tile", type=int, default=320, help="width of a picture in pixels")


def run(arguments: argparse.Namespace) -> int:
    """Draw and write; what was left out is said."""
    config = SheetConfig(
        count=arguments.count, columns=arguments.columns, tile_px=arguments.tile
    )  # fmt: skip
    reader, drops = open_named(arguments.path, arguments), Drops()
    picture = sheet(reader, config, drops)
    encoded, data = cv2.imencode(".png", cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))
    if not encoded:
        raise InputError(f"a sheet of {picture.shape[1]}x{picture.shape[0]} pixels is too large")
    try:
        arguments.out.write_bytes(data.tobytes())
    except OSError as error:
        raise InputError(f"{arguments.out} cannot be written ({error}); choose another") from error
    left_out = +(reader.drops + drops)
    print(f"{arguments.out}: {picture.shape[1]}x{picture.shape[0]}, left out {dict(left_out)}")
    return 0
