from tracevlm_ros.core.stamp_gate import StampGate


def admit_all(gate: StampGate[int], stamps: list[int]) -> tuple[list[int], int, int, int]:
    accepted: list[int] = []
    refused = back = forward = 0
    for stamp in stamps:
        verdict = gate.admit(stamp, stamp)
        accepted += verdict.accepted
        refused += verdict.refused
        back += verdict.jumped_back
        forward += verdict.jumped_forward
    return accepted, refused, back, forward


def test_plausible_stamps_pass_at_once_in_any_order_within_the_bound():
    stamps = [100, 101, 95, 103, 103, 110]
    assert admit_all(StampGate(10, 50, 3), stamps) == (stamps, 0, 0, 0)


def test_a_lone_stray_is_refused_by_the_next_plausible_stamp():
    assert admit_all(StampGate(10, 50, 3), [100, 5, 101]) == ([100, 101], 1, 0, 0)
    assert admit_all(StampGate(10, 50, 3), [100, 900, 101]) == ([100, 101], 1, 0, 0)


def test_strays_on_opposite_sides_do_not_confirm_each_other():
    assert admit_all(StampGate(10, 50, 2), [100, 5, 900, 5, 900]) == ([100], 3, 0, 0)


def test_enough_strays_confirm_a_jump_back_and_none_is_lost():
    accepted, refused, back, forward = admit_all(StampGate(10, 50, 3), [100, 5, 8, 6, 9])
    assert (accepted, refused, back, forward) == ([100, 5, 6, 8, 9], 0, 1, 0)


def test_enough_strays_confirm_a_jump_forward():
    accepted, refused, back, forward = admit_all(StampGate(10, 50, 2), [100, 200, 208, 216])
    assert (accepted, refused, back, forward) == ([100, 200, 208, 216], 0, 0, 1)


def test_a_slow_stream_passes_although_every_step_looks_like_a_jump():
    stamps = list(range(0, 1000, 100))
    accepted, refused, _, _ = admit_all(StampGate(10, 50, 2), stamps)
    assert accepted == [0, 100, 200, 300, 400, 500, 600, 700, 800]
    assert refused == 0


def test_strays_far_above_the_last_one_are_refused_when_the_jump_is_confirmed():
    accepted, refused, _, forward = admit_all(StampGate(10, 50, 3), [100, 9000, 300, 308])
    assert (accepted, refused, forward) == ([100, 300, 308], 1, 1)
