"""Scene -> picture and label image. Pure: the same scene gives the same bytes at the same size."""

from functools import cache
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from tracevlm_ros.core.errors import ConfigError
from tracevlm_ros.core.types import Image
from tracevlm_ros.synthetic.background import paint_background
from tracevlm_ros.synthetic.scene import Light, Scene, SceneObject, world_size
from tracevlm_ros.synthetic.shapes import outline

_MAX_OBJECTS = 255
_NOISE_TILE = 512
_FRACTION_BITS = 4


class Rendered(NamedTuple):
    """``image_rgb`` uint8 (H, W, 3). ``labels`` uint8 (H, W): index of the topmost object that
    covers at least half of the pixel, plus 1; 0 is background."""

    image_rgb: Image
    labels: Image


class Patch(NamedTuple):
    """Pixel rectangle [x0, x1) x [y0, y1) and the share of each pixel that is covered, 0..1."""

    x0: int
    y0: int
    x1: int
    y1: int
    alpha: NDArray[np.float32]


def render(scene: Scene, size_hw: tuple[int, int], background: Image | None = None) -> Rendered:
    """Draw ``scene`` at ``size_hw``, over ``background`` (uint8 RGB, any size, stretched) if given.

    Raises ConfigError for more than 255 objects, which uint8 labels cannot tell apart.
    """
    if len(scene.objects) > _MAX_OBJECTS:
        raise ConfigError(
            f"the scene has {len(scene.objects)} objects; uint8 labels tell {_MAX_OBJECTS} apart"
        )
    height, width = size_hw
    if background is None:
        image = paint_background(scene.background, size_hw)
    else:
        resized = cv2.resize(background, (width, height), interpolation=cv2.INTER_AREA)
        image = np.asarray(resized, np.uint8)
    labels = np.zeros((height, width), np.uint8)
    for index, item in enumerate(scene.objects):
        patch = cover(item, scene.aspect, size_hw)
        if patch is None:
            continue
        _paint(image, item, patch, scene.aspect)
        labels[patch.y0 : patch.y1, patch.x0 : patch.x1][patch.alpha >= 0.5] = index + 1
    return Rendered(expose(image, scene.light), labels)


def pixels_per_unit(aspect: float, size_hw: tuple[int, int]) -> tuple[float, float]:
    """Pixels per short side of the world, in x and in y; they differ when the picture stretches."""
    world_height, world_width = world_size(aspect)
    return size_hw[1] / world_width, size_hw[0] / world_height


def cover(item: SceneObject, aspect: float, size_hw: tuple[int, int]) -> Patch | None:
    """Antialiased coverage of ``item`` inside the picture; None when it lies outside.

    The outline is filled on a grid 2 to 4 times finer and averaged.
    """
    height, width = size_hw
    scale = np.array(pixels_per_unit(aspect, size_hw)) * item.radius
    cos, sin = np.cos(item.angle), np.sin(item.angle)
    turn = np.array([[cos, -sin], [sin, cos]])
    centre = np.array(item.centre_xy) * (width, height)
    polygons = [polygon @ turn.T * scale + centre for polygon in outline(item.shape)]
    low = np.floor(polygons[0].min(axis=0)).astype(int)
    high = np.ceil(polygons[0].max(axis=0)).astype(int)
    x0, y0 = max(0, int(low[0])), max(0, int(low[1]))
    x1, y1 = min(width, int(high[0]) + 1), min(height, int(high[1]) + 1)
    if x0 >= x1 or y0 >= y1:
        return None
    finer = 4 if max(x1 - x0, y1 - y0) <= 128 else 2
    fine = np.zeros(((y1 - y0) * finer, (x1 - x0) * finer), np.uint8)
    points = [
        np.round(((polygon - (x0, y0)) * finer - 0.5) * 2**_FRACTION_BITS).astype(np.int32)
        for polygon in polygons
    ]
    cv2.fillPoly(fine, points, 255, cv2.LINE_8, _FRACTION_BITS)
    coarse = cv2.resize(fine, (x1 - x0, y1 - y0), interpolation=cv2.INTER_AREA)
    return Patch(x0, y0, x1, y1, coarse.astype(np.float32) * np.float32(1 / 255))


def expose(image: Image, light: Light) -> Image:
    """Apply gain with its slope, blur and noise to a uint8 (H, W, 3) picture."""
    height, width = image.shape[:2]
    if light.blur > 0.0:
        sigma = light.blur * min(height, width) / 1000.0
        if sigma > 0.2:
            image = np.asarray(cv2.GaussianBlur(image, (0, 0), sigma), np.uint8)
    across = np.linspace(-0.5, 0.5, width, dtype=np.float32) * np.float32(light.slope_xy[0])
    down = np.linspace(-0.5, 0.5, height, dtype=np.float32) * np.float32(light.slope_xy[1])
    gain = np.float32(light.gain) * (1.0 + across[None, :] + down[:, None])
    lit = cv2.multiply(image, cv2.merge([gain, gain, gain]), dtype=cv2.CV_16S)
    rng = np.random.default_rng(light.seed)
    noise = _noise_crop(rng, height, width)
    return cv2.scaleAdd(noise, light.noise, lit.astype(np.float32)).clip(0, 255).astype(np.uint8)


@cache
def _noise_tile() -> NDArray[np.float32]:
    """Unit Gaussian noise, drawn once: drawing it per picture would cost more than the picture."""
    rng = np.random.default_rng(20240229)
    return rng.standard_normal((_NOISE_TILE, _NOISE_TILE, 3), np.float32)


def _noise_crop(rng: np.random.Generator, height: int, width: int) -> NDArray[np.float32]:
    """A window of the tile at a drawn place, repeated where the picture is larger than a tile."""
    top, left = (int(value) for value in rng.integers(_NOISE_TILE // 2, size=2))
    window = _noise_tile()[top : top + height, left : left + width]
    below, right = height - window.shape[0], width - window.shape[1]
    if below <= 0 and right <= 0:
        return window
    wrapped = cv2.copyMakeBorder(window, 0, max(0, below), 0, max(0, right), cv2.BORDER_WRAP)
    return np.asarray(wrapped, np.float32)


def _paint(image: Image, item: SceneObject, patch: Patch, aspect: float) -> None:
    """Blend the textured object into ``image`` in place."""
    region = image[patch.y0 : patch.y1, patch.x0 : patch.x1]
    first = np.array(item.colour_rgb, np.float32)
    if item.texture == "plain":
        colour = np.broadcast_to(first, region.shape)
    else:
        share = texture_share(item, patch, aspect, (image.shape[0], image.shape[1]))
        second = np.array(item.texture_rgb, np.float32)
        colour = first + share[:, :, None] * (second - first)
    blended = region + patch.alpha[:, :, None] * (colour - region)
    region[:] = np.rint(blended)


def texture_share(
    item: SceneObject, patch: Patch, aspect: float, size_hw: tuple[int, int]
) -> NDArray[np.float32]:
    """Share of the second colour per pixel of the patch, 0..1, with soft edges one pixel wide.

    Stripes, dots and checks are level sets of plane waves. A plane wave is the outer product of a
    row and a column of complex numbers, which spares a sine per pixel.
    """
    wave_u, wave_v, period_px = _waves(item, patch, aspect, size_hw)
    edge = np.float32(max(1.0, period_px / (2 * np.pi)))
    if item.texture == "striped":
        level = wave_u.imag
    elif item.texture == "checkered":
        level = wave_u.imag * wave_v.imag
    elif item.texture == "dotted":
        level = wave_u.real + wave_v.real - np.float32(0.85)
    else:
        return _roughness(wave_u, wave_v)
    share: NDArray[np.float32] = np.clip(np.float32(0.5) + level * edge, 0.0, 1.0)
    return share


def _waves(
    item: SceneObject, patch: Patch, aspect: float, size_hw: tuple[int, int]
) -> tuple[NDArray[np.complex64], NDArray[np.complex64], float]:
    """exp(i 2 pi u / period), the same for v, and the period in pixels (the smaller one)."""
    scale_x, scale_y = pixels_per_unit(aspect, size_hw)
    period = item.texture_period * item.radius * (1.3 if item.texture == "checkered" else 1.0)
    x = (np.arange(patch.x0, patch.x1) + 0.5 - item.centre_xy[0] * size_hw[1]) / scale_x / period
    y = (np.arange(patch.y0, patch.y1) + 0.5 - item.centre_xy[1] * size_hw[0]) / scale_y / period
    angle = item.angle + item.texture_angle
    cos, sin = np.cos(angle), np.sin(angle)
    turns = 2j * np.pi
    row_u, column_u = turns * cos * x, turns * (sin * y + item.texture_phase[0])
    row_v, column_v = -turns * sin * x, turns * (cos * y + item.texture_phase[1])
    wave_u = np.outer(np.exp(column_u), np.exp(row_u)).astype(np.complex64)
    wave_v = np.outer(np.exp(column_v), np.exp(row_v)).astype(np.complex64)
    return wave_u, wave_v, period * min(scale_x, scale_y)


def _roughness(wave_u: NDArray[np.complex64], wave_v: NDArray[np.complex64]) -> NDArray[np.float32]:
    """Irregular grain that moves with the object: waves of incommensurate directions, folded."""
    one = wave_u * wave_v
    two = wave_u * np.conj(wave_v)
    grain = (one * one * wave_u).imag * two.real + (two * two * wave_v).imag * one.real
    grain += (one * wave_u * wave_u * wave_u).imag * wave_v.real
    share: NDArray[np.float32] = np.clip(np.float32(0.42) + np.float32(0.38) * grain, 0.0, 1.0)
    return share
