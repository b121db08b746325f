"""Gaps between the numbers of messages, as rclpy tells them."""

from types import SimpleNamespace
from typing import Any

from tracevlm_ros.nodes.losses import Losses


def info(number: int | None, publisher: bytes = b"a") -> dict[str, Any]:
    return {"publication_sequence_number": number, "publisher_gid": {"data": publisher}}


def test_a_gap_is_counted_for_each_publisher_by_itself() -> None:
    counted: list[int] = []
    losses = Losses(counted.append)
    for number, publisher in ((7, b"a"), (8, b"a"), (900, b"b"), (11, b"a"), (901, b"b")):
        losses.message(info(number, publisher))
    assert counted == [2]
    losses.message(info(1, b"c"))
    losses.message(info(3, b"c"))
    assert counted == [2, 1]


def test_the_event_counts_only_where_there_are_no_numbers() -> None:
    counted: list[int] = []
    losses = Losses(counted.append)
    event = SimpleNamespace(total_count_change=4)
    losses.event(event)
    losses.message(info(1))
    losses.event(event)
    assert counted == []
    losses.message({"publication_sequence_number": 5})
    losses.event(event)
    losses.message(info(None))
    losses.event(event)
    assert counted == [4, 4]
