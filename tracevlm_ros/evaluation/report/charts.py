"""Small SVG charts, drawn as text so that the page needs nothing from outside.

Colours come from the page's style sheet (classes ``bar``, ``band``, ``line``, ``axis``), so the
charts follow its light and dark themes. Every chart scales with its box.
"""

import math
from collections.abc import Sequence
from html import escape
from typing import NamedTuple

import numpy as np

_WIDTH, _HEIGHT = 420, 200
_LEFT, _RIGHT, _TOP, _BOTTOM = 44, 10, 12, 40


class Scale(NamedTuple):
    """Data ``low..high`` onto pixels ``start..stop``."""

    low: float
    high: float
    start: float
    stop: float

    def __call__(self, value: float) -> float:
        share = (value - self.low) / (self.high - self.low)
        return round(self.start + share * (self.stop - self.start), 2)


class CurvePoint(NamedTuple):
    """Mean and quartiles of the values near ``x``."""

    x: float
    mean: float
    low: float
    high: float


def histogram(
    values: Sequence[float], label: str, limits: tuple[float, float] | None = None, bins: int = 20
) -> str:
    """Bars of how many values fall where; values beyond ``limits`` join the last bar."""
    low, high = limits or nice_limits(values)
    counts, edges = np.histogram(np.clip(values, low, high), bins=bins, range=(low, high))
    across = Scale(low, high, _LEFT, _WIDTH - _RIGHT)
    up = Scale(0.0, 4.0 * math.ceil(max(1, counts.max()) / 4), _HEIGHT - _BOTTOM, _TOP)
    bars = []
    for count, left, right in zip(counts, edges[:-1], edges[1:], strict=True):
        x, top = across(left), up(float(count))
        bars.append(
            f'<rect class="bar" x="{x + 0.5}" y="{top}" width="{max(1.0, across(right) - x - 1):g}"'
            f' height="{up(0.0) - top:g}"><title>{left:.3g} to {right:.3g}: {count}</title></rect>'
        )
    return _svg([*_axes(across, up, label, "count"), *bars], f"Histogram of {label}")


def curve(points: Sequence[CurvePoint], x_label: str, y_label: str) -> str:
    """A line through the means with a band between the quartiles; y is 0..1."""
    across = Scale(*nice_limits([point.x for point in points]), _LEFT, _WIDTH - _RIGHT)
    up = Scale(0.0, 1.0, _HEIGHT - _BOTTOM, _TOP)
    upper = [f"{across(point.x)},{up(point.high)}" for point in points]
    lower = [f"{across(point.x)},{up(point.low)}" for point in reversed(points)]
    means = [f"{across(point.x)},{up(point.mean)}" for point in points]
    marks = [
        f'<circle class="mark" cx="{across(point.x)}" cy="{up(point.mean)}" r="2.5">'
        f"<title>{point.x:.2g}: {point.mean:.3f}</title></circle>"
        for point in points
    ]
    shapes = [
        f'<polygon class="band" points="{" ".join(upper + lower)}"/>',
        f'<polyline class="line" points="{" ".join(means)}"/>',
        *marks,
    ]
    axes = _axes(across, up, x_label, y_label)
    return _svg([*axes, *shapes], f"{y_label} over {x_label}")


def binned_curve(x: Sequence[float], y: Sequence[float], bins: int = 14) -> list[CurvePoint]:
    """Means and quartiles of ``y`` in equal bins of ``x`` from 0; empty bins are left out."""
    xs, ys = np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64)
    if xs.size == 0:
        return []
    width = max(float(xs.max()), 1e-9) / bins
    which = np.minimum((xs / width).astype(int), bins - 1)
    found = []
    for index in range(bins):
        inside = ys[which == index]
        if inside.size:
            low, high = np.percentile(inside, (25, 75))
            found.append(
                CurvePoint((index + 0.5) * width, float(inside.mean()), float(low), float(high))
            )
    return found


def nice_limits(values: Sequence[float]) -> tuple[float, float]:
    """From 0 to a round number just above the 99th percentile (1 without values)."""
    if len(values) == 0:
        return 0.0, 1.0
    high = max(float(np.percentile(values, 99)), 1e-6)
    power = 10.0 ** np.floor(np.log10(high))
    return 0.0, float(
        next(step * power for step in (1, 1.5, 2, 3, 5, 7.5, 10) if step * power >= high)
    )


def _axes(across: Scale, up: Scale, x_label: str, y_label: str) -> list[str]:
    shapes = []
    for value in np.linspace(up.low, up.high, 5):
        y = up(float(value))
        shapes += [
            f'<line class="grid" x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{y}" y2="{y}"/>',
            f'<text class="axis" x="{_LEFT - 6}" y="{y + 4}" text-anchor="end">'
            f"{_short(value)}</text>",
        ]
    for value in np.linspace(across.low, across.high, 6):
        x = across(float(value))
        shapes.append(
            f'<text class="axis" x="{x}" y="{_HEIGHT - _BOTTOM + 16}" text-anchor="middle">'
            f"{_short(value)}</text>"
        )
    middle = (_LEFT + _WIDTH - _RIGHT) / 2
    shapes += [
        f'<text class="axis" x="{middle}" y="{_HEIGHT - 6}" text-anchor="middle">'
        f"{escape(x_label)}</text>",
        f'<text class="axis" transform="translate(10 {(_HEIGHT - _BOTTOM) / 2}) rotate(-90)" '
        f'text-anchor="middle">{escape(y_label)}</text>',
    ]
    return shapes


def _short(value: float) -> str:
    return f"{value:.0f}" if abs(value) >= 10 or value == round(value) else f"{value:.2g}"


def _svg(shapes: Sequence[str], title: str) -> str:
    return (
        f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="{escape(title)}">'
        f"{''.join(shapes)}</svg>"
    )
