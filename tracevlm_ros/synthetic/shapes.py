"""Outlines of the shapes: closed polygons inside the unit circle, x to the right, y down."""

from functools import cache

import numpy as np

from tracevlm_ros.core.types import FloatArray

_ARC_POINTS = 48


@cache
def outline(shape: str) -> tuple[FloatArray, ...]:
    """Polygons (N, 2) of ``shape``; the second one of the ring is its hole (even-odd rule).

    The areas differ by less than a factor of about two, so that size words stay comparable.
    """
    polygons = _OUTLINES[shape]()
    for polygon in polygons:
        polygon.setflags(write=False)
    return polygons


def _arc(radius: float, start: float, stop: float, centre: tuple[float, float]) -> FloatArray:
    angles = np.linspace(start, stop, _ARC_POINTS)
    return np.asarray(np.stack([np.cos(angles), np.sin(angles)], axis=1) * radius + centre)


def _circle() -> tuple[FloatArray, ...]:
    return (_arc(0.92, 0.0, 2 * np.pi, (0.0, 0.0)),)


def _ring() -> tuple[FloatArray, ...]:
    return (
        _arc(1.0, 0.0, 2 * np.pi, (0.0, 0.0)),
        _arc(0.5, 0.0, 2 * np.pi, (0.0, 0.0)),
    )


def _regular(corners: int, start: float) -> FloatArray:
    angles = start + np.arange(corners) * (2 * np.pi / corners)
    return np.stack([np.cos(angles), np.sin(angles)], axis=1)


def _square() -> tuple[FloatArray, ...]:
    return (_regular(4, np.pi / 4) * 1.12,)


def _triangle() -> tuple[FloatArray, ...]:
    return (_regular(3, -np.pi / 2) * 1.12 + np.array([0.0, 0.12]),)


def _star() -> tuple[FloatArray, ...]:
    points = _regular(10, -np.pi / 2)
    points[1::2] *= 0.45
    return (points * 1.12,)


def _cross() -> tuple[FloatArray, ...]:
    arm, reach = 0.32, 1.0
    quarter = np.array([[arm, -reach], [arm, -arm], [reach, -arm]])
    turn = np.array([[0.0, -1.0], [1.0, 0.0]])
    corners = [quarter]
    for _ in range(3):
        corners.append(corners[-1] @ turn.T)
    return (np.concatenate(corners),)


def _heart() -> tuple[FloatArray, ...]:
    t = np.linspace(0.0, 2 * np.pi, _ARC_POINTS, endpoint=False)
    x = 16 * np.sin(t) ** 3
    y = -(13 * np.cos(t) - 5 * np.cos(2 * t) - 2 * np.cos(3 * t) - np.cos(4 * t))
    return (np.stack([x, y - 1.0], axis=1) / 15.5,)


def _crescent() -> tuple[FloatArray, ...]:
    """A disc less a disc of radius .72 that lies .55 to the right: the tips are where they meet."""
    inner_radius, offset = 0.72, 0.55
    tip_x = (1.0 - inner_radius**2 + offset**2) / (2 * offset)
    outer = np.arccos(tip_x)
    inner = np.arctan2(np.sqrt(1.0 - tip_x**2), tip_x - offset)
    around = _arc(1.0, outer, 2 * np.pi - outer, (0.0, 0.0))
    back = _arc(inner_radius, 2 * np.pi - inner, inner, (offset, 0.0))
    return (np.concatenate([around, back]) + np.array([0.12, 0.0]),)


_OUTLINES = {
    "circle": _circle,
    "square": _square,
    "triangle": _triangle,
    "star": _star,
    "cross": _cross,
    "ring": _ring,
    "heart": _heart,
    "crescent": _crescent,
}
