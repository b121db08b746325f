"""Smooth motion as a pure function of time: sums of a few sine waves."""

from typing import NamedTuple

import numpy as np

from tracevlm_ros.core.types import FloatArray


class Wave(NamedTuple):
    """``amplitude`` (N,), ``angular`` speed in rad/s (N,) and ``phase`` in rad (N,), summed."""

    amplitude: FloatArray
    angular: FloatArray
    phase: FloatArray

    def at(self, t_s: float) -> float:
        return float(np.dot(self.amplitude, np.sin(self.angular * t_s + self.phase)))


def sample_wave(
    rng: np.random.Generator, peak: float, period_s: tuple[float, float], count: int = 2
) -> Wave:
    """A wave of ``count`` sines that never exceeds ``peak``, with periods from ``period_s``."""
    shares = rng.uniform(0.5, 1.0, count)
    return Wave(
        amplitude=peak * shares / shares.sum(),
        angular=2 * np.pi / rng.uniform(*period_s, count),
        phase=rng.uniform(0, 2 * np.pi, count),
    )


class CameraPose(NamedTuple):
    """Where the camera looks: ``centre_xy`` in short sides of the view from the world's middle,
    ``roll_rad`` (the world turns by it, clockwise on the screen) and ``zoom``."""

    centre_xy: tuple[float, float]
    roll_rad: float
    zoom: float


class CameraMotion(NamedTuple):
    """Pan and shake: slow waves plus fast small ones, in short sides of the view."""

    x: tuple[Wave, Wave]
    y: tuple[Wave, Wave]
    roll: Wave
    zoom: Wave

    def at(self, t_s: float) -> CameraPose:
        x, y = (sum(wave.at(t_s) for wave in waves) for waves in (self.x, self.y))
        return CameraPose((x, y), self.roll.at(t_s), 1.0 + self.zoom.at(t_s))


def sample_camera(rng: np.random.Generator, pan: float, shake: float) -> CameraMotion:
    """Pan by up to ``pan`` and shake by up to ``shake`` short sides to each side."""
    return CameraMotion(
        x=(sample_wave(rng, pan, (7.0, 16.0)), sample_wave(rng, shake, (0.2, 0.7), 3)),
        y=(sample_wave(rng, 0.6 * pan, (7.0, 16.0)), sample_wave(rng, shake, (0.2, 0.7), 3)),
        roll=sample_wave(rng, 0.05 * min(1.0, pan / 0.25), (5.0, 12.0)),
        zoom=sample_wave(rng, 0.03 * min(1.0, pan / 0.25), (6.0, 14.0)),
    )


def camera_from_world(pose: CameraPose, size_hw: tuple[int, int]) -> FloatArray:
    """Affine (2, 3) from world points, in short sides of the view, to pixels."""
    height, width = size_hw
    scale = pose.zoom * min(height, width)
    cos, sin = np.cos(pose.roll_rad), np.sin(pose.roll_rad)
    linear = scale * np.array([[cos, -sin], [sin, cos]])
    middle = np.array([(width - 1) / 2, (height - 1) / 2])
    return np.column_stack([linear, middle - linear @ np.array(pose.centre_xy)])
