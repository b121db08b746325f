from training.prefetch import Batches


def _draw(step: int) -> tuple[int, str]:
    return step, f"batch {step}"


def test_batches_drawn_ahead_are_those_drawn_at_the_step() -> None:
    ahead, here = Batches(_draw, 12, loaders=1), Batches(_draw, 12, loaders=0)
    try:
        assert [ahead.of_step(step) for step in range(3, 12)] == [
            here.of_step(step) for step in range(3, 12)
        ]
    finally:
        ahead.close()


def test_a_step_out_of_order_is_still_answered() -> None:
    batches = Batches(_draw, 9, loaders=1)
    try:
        assert [batches.of_step(step)[0] for step in (0, 1, 7, 8, 2)] == [0, 1, 7, 8, 2]
    finally:
        batches.close()
