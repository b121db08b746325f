"""The farthest point of a short interval in plain Python: numpy's fixed price is higher there."""

from tracevlm_ros.core.simplify.distance import CLOSED_LENGTH2


def farthest_by_hand(
    x: list[float], y: list[float], start: int, end: int, is_line: bool
) -> tuple[int, float]:
    """As ``reference.farthest_interior``; ``squared_distance`` is written out, equal to the last
    bit, since calling it would cost more than its arithmetic."""
    ax, ay, bx, by = x[start], y[start], x[end], y[end]
    dx = bx - ax
    dy = by - ay
    length2 = dx * dx + dy * dy
    split, greatest = -1, -1.0
    index = start
    if length2 < CLOSED_LENGTH2:
        dx = dy = 0.0  # every point counts as before the start
    elif is_line:
        for px, py in zip(x[start + 1 : end], y[start + 1 : end], strict=True):
            index += 1
            cross = (px - ax) * dy - (py - ay) * dx
            distance2 = cross * cross / length2
            if distance2 > greatest:
                split, greatest = index, distance2
        return split, greatest
    for px, py in zip(x[start + 1 : end], y[start + 1 : end], strict=True):
        index += 1
        ux = px - ax
        uy = py - ay
        along = ux * dx + uy * dy
        if along <= 0.0:
            distance2 = ux * ux + uy * uy
        elif along >= length2:
            vx = px - bx
            vy = py - by
            distance2 = vx * vx + vy * vy
        else:
            cross = ux * dy - uy * dx
            distance2 = cross * cross / length2
        if distance2 > greatest:
            split, greatest = index, distance2
    return split, greatest
