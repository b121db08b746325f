"""Targets that were looked at, as the ``calibrate`` commands name them: markers, or a topic."""

import argparse
from collections.abc import Iterator
from typing import Any

from calibration.markers import FAMILIES, MarkerConfig, Sighting
from tracevlm_ros.core.errors import ConfigError
from tracevlm_ros.ingest.bag import BagReader
from tracevlm_ros.ingest.bag_messages import to_gaze_sample
from tracevlm_ros.ingest.topics import TopicKind

DEFAULT_FAMILY = "aruco_4x4_50"


def add_target_arguments(parser: argparse.ArgumentParser, family: str | None) -> Any:
    """``--marker`` (default ``family``), ``--target-topic`` and the board's. Returns the group that
    takes one kind of target only."""
    targets = parser.add_mutually_exclusive_group()
    targets.add_argument("--marker", default=family, metavar="FAMILY",
                         help=f"family of the markers: {', '.join(FAMILIES)}")  # fmt: skip
    targets.add_argument("--target-topic", help="PointStamped: where the target is, in the bag")
    parser.add_argument("--board", metavar="CxR",
                        help="the markers are a ChArUco board of that many squares")  # fmt: skip
    parser.add_argument("--board-marker-share", type=float, default=0.75,
                        help="side of a board's marker over that of a square")  # fmt: skip
    return targets


def marker_config(arguments: argparse.Namespace) -> MarkerConfig:
    return MarkerConfig(
        family=arguments.marker or DEFAULT_FAMILY,
        board=None if arguments.board is None else _board(arguments.board),
        marker_share=arguments.board_marker_share,
    )


def _board(text: str) -> tuple[int, int]:
    sides = text.lower().split("x")
    if len(sides) != 2 or not all(side.isdigit() for side in sides):
        raise ConfigError(f"--board is {text!r}; it takes columns x rows, for example 5x7")
    return int(sides[0]), int(sides[1])


def bag_of_targets(arguments: argparse.Namespace, bag: BagReader | None) -> BagReader | None:
    """The bag that ``--target-topic`` is in; None without that argument."""
    if arguments.target_topic is None:
        return None
    if bag is None:
        raise ConfigError("--target-topic is a topic of a bag; give --bag")
    return bag


def topic_targets(
    arguments: argparse.Namespace, bag: BagReader, size_hw: tuple[int, int]
) -> Iterator[Sighting]:
    """Where the target was, as ``--target-topic`` of ``bag`` says; places that are not finite are
    left out."""
    topic = bag.find(TopicKind.GAZE, arguments.target_topic)
    for record in bag.records({topic.name}):
        place = to_gaze_sample(record, size_hw, arguments.point_is_normalised)
        if place.confidence > 0:
            yield Sighting(place.stamp_ns, 0, place.x_px, place.y_px)
