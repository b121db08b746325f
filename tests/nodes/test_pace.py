from tracevlm_ros.nodes.pace import Pace

BAG_NS = 5_000_000_000_000


def paced() -> tuple[Pace, list[float]]:
    now_s = [100.0]
    pace = Pace(lambda: now_s[0])
    pace.begin(BAG_NS)
    return pace, now_s


def test_bag_time_runs_at_the_rate() -> None:
    pace, now_s = paced()
    pace.now_ns(2.0)
    now_s[0] += 1.5
    assert pace.now_ns(2.0) == BAG_NS + 3_000_000_000
    assert pace.seconds_until(BAG_NS + 5_000_000_000) == 1.0


def test_a_change_of_rate_does_not_move_bag_time() -> None:
    pace, now_s = paced()
    pace.now_ns(1.0)
    now_s[0] += 1.0
    assert pace.now_ns(4.0) == BAG_NS + 1_000_000_000
    now_s[0] += 1.0
    assert pace.now_ns(4.0) == BAG_NS + 5_000_000_000


def test_bag_time_stands_still_while_paused() -> None:
    pace, now_s = paced()
    pace.now_ns(1.0)
    pace.pause(True)
    now_s[0] += 60.0
    assert pace.now_ns(1.0) == BAG_NS
    assert pace.seconds_until(BAG_NS + 1) == float("inf")
    pace.pause(False)
    now_s[0] += 1.0
    assert pace.now_ns(1.0) == BAG_NS + 1_000_000_000


def test_toggling_pauses_and_goes_on_and_says_which() -> None:
    pace, now_s = paced()
    assert pace.toggle()
    now_s[0] += 60.0
    assert pace.now_ns(1.0) == BAG_NS
    assert not pace.toggle()
    now_s[0] += 1.0
    assert pace.now_ns(1.0) == BAG_NS + 1_000_000_000


def test_ticks_come_at_most_as_often_as_asked() -> None:
    pace, now_s = paced()
    ticks = 0
    for _ in range(1000):
        now_s[0] += 0.001
        ticks += pace.tick_is_due(10.0)
    assert ticks in (10, 11)
