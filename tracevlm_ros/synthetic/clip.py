"""A moving world: objects on smooth paths under a camera that pans and shakes, with full truth.

A clip is a pure function of its config: any instant can be asked, in any order, and two clips of
the same config agree to the byte. World points are in short sides of the view, from the middle of
the world.
"""

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import cv2
import numpy as np

from tracevlm_ros.core.errors import ConfigError
from tracevlm_ros.core.settings import require_choice, require_range
from tracevlm_ros.core.types import FloatArray, Image
from tracevlm_ros.synthetic.background import paint_background
from tracevlm_ros.synthetic.motion import (
    CameraMotion,
    CameraPose,
    Wave,
    camera_from_world,
    sample_camera,
    sample_wave,
)
from tracevlm_ros.synthetic.render import render
from tracevlm_ros.synthetic.scene import (
    BACKGROUNDS,
    Light,
    Scene,
    SceneConfig,
    SceneObject,
    sample_background,
    sample_light,
    sample_object,
    world_size,
)
from tracevlm_ros.synthetic.vocabulary import SIZES

_SAMPLE_TRIES = 4000
_STILL_SHARE = 0.3


@dataclass(frozen=True, kw_only=True, slots=True)
class ClipConfig:
    """What a clip is made of.

    ``start_ns`` is the stamp of the first frame. ``objects`` lie over a world of ``world_scale``
    views in each direction. ``motion``, ``pan`` and ``shake`` are the greatest excursions of the
    objects and of the camera, in short sides of the view. ``noise`` in grey levels.
    """

    seed: int = 7
    seconds: float = 12.0
    rate_hz: float = 15.0
    height: int = 480
    width: int = 640
    start_ns: int = 1_700_000_000_000_000_000
    objects: int = 8
    world_scale: float = 1.35
    motion: float = 0.22
    pan: float = 0.16
    shake: float = 0.004
    noise: float = 2.0
    background: str = "wood"

    def __post_init__(self) -> None:
        require_range("seed", self.seed, 0, 2**63 - 1)
        require_range("seconds", self.seconds, 0.1, 36_000)
        require_range("rate_hz", self.rate_hz, 0.1, 1000)
        require_range("height", self.height, 32, 8192)
        require_range("width", self.width, 32, 8192)
        require_range("start_ns", self.start_ns, 0, 2**62)
        require_range("objects", self.objects, 1, 40)
        require_range("world_scale", self.world_scale, 1.0, 10.0)
        require_range("motion", self.motion, 0.0, 2.0)
        require_range("pan", self.pan, 0.0, 2.0)
        require_range("shake", self.shake, 0.0, 0.1)
        require_range("noise", self.noise, 0.0, 50.0)
        require_choice("background", self.background, BACKGROUNDS)

    @property
    def size_hw(self) -> tuple[int, int]:
        return self.height, self.width

    @property
    def frame_count(self) -> int:
        return max(1, round(self.seconds * self.rate_hz))


class MovingObject(NamedTuple):
    """``item`` as it looks at rest; ``home_xy`` in the world; waves about home, angle and size."""

    item: SceneObject
    home_xy: tuple[float, float]
    x: Wave
    y: Wave
    turn: Wave
    growth: Wave

    def place_at(self, t_s: float) -> FloatArray:
        """Centre in the world at ``t_s``."""
        return np.array([self.home_xy[0] + self.x.at(t_s), self.home_xy[1] + self.y.at(t_s)])


class ClipFrame(NamedTuple):
    """``labels`` uint8 (H, W): object index + 1; ``scene`` holds the objects as drawn."""

    stamp_ns: int
    image_rgb: Image
    labels: Image
    pose: CameraPose
    scene: Scene


class Clip:
    """Objects and camera of one config; ``objects[i]`` has label ``i + 1`` in every frame."""

    def __init__(self, config: ClipConfig) -> None:
        self.config = config
        rng = np.random.default_rng(config.seed)
        self._scenery = SceneConfig(
            aspect=config.width / config.height,
            max_noise=config.noise,
            max_blur=0.0,
            backgrounds=(config.background,),
        )
        self.camera: CameraMotion = sample_camera(rng, config.pan, config.shake)
        self._light: Light = sample_light(rng, self._scenery)
        self._gain = sample_wave(rng, 0.04, (4.0, 9.0))
        self._world_background = sample_background(rng, self._scenery)
        self.objects: tuple[MovingObject, ...] = _sample_objects(rng, config, self._scenery)
        self._world_image: Image | None = None

    def stamp_ns_of(self, index: int) -> int:
        return self.config.start_ns + round(index * 1e9 / self.config.rate_hz)

    def scene_at(self, t_s: float) -> Scene:
        """What the camera sees ``t_s`` seconds after the start, ready to render."""
        pose = self.camera.at(t_s)
        gain = 1.0 + self._gain.at(t_s)
        return Scene(
            objects=tuple(self._seen(item, pose, t_s) for item in self.objects),
            background=self._world_background,
            light=self._light._replace(gain=gain, noise=self.config.noise),
            aspect=self._scenery.aspect,
        )

    def frame_at(self, index: int) -> ClipFrame:
        """Frame ``index`` (0 .. frame_count - 1), its noise unlike that of the others."""
        t_s = index / self.config.rate_hz
        scene = self.scene_at(t_s)
        scene = scene._replace(light=scene.light._replace(seed=self._light.seed + index))
        pose = self.camera.at(t_s)
        rendered = render(scene, self.config.size_hw, self._background_at(pose))
        return ClipFrame(self.stamp_ns_of(index), rendered.image_rgb, rendered.labels, pose, scene)

    def frames(self) -> Iterator[ClipFrame]:
        return (self.frame_at(index) for index in range(self.config.frame_count))

    def object_px(self, index: int, t_s: float, local_xy: tuple[float, float]) -> FloatArray:
        """Pixel at ``t_s`` of a point fixed to object ``index``, given in its radii (unturned)."""
        moving, pose = self.objects[index], self.camera.at(t_s)
        angle = moving.item.angle + moving.turn.at(t_s)
        radius = moving.item.radius * (1.0 + moving.growth.at(t_s))
        cos, sin = np.cos(angle), np.sin(angle)
        offset = radius * np.array([[cos, -sin], [sin, cos]]) @ np.array(local_xy)
        affine = camera_from_world(pose, self.config.size_hw)
        return np.asarray(affine[:, :2] @ (moving.place_at(t_s) + offset) + affine[:, 2])

    def _seen(self, moving: MovingObject, pose: CameraPose, t_s: float) -> SceneObject:
        height, width = self.config.size_hw
        affine = camera_from_world(pose, self.config.size_hw)
        x, y = affine[:, :2] @ moving.place_at(t_s) + affine[:, 2]
        return moving.item._replace(
            centre_xy=(float((x + 0.5) / width), float((y + 0.5) / height)),
            radius=moving.item.radius * (1.0 + moving.growth.at(t_s)) * pose.zoom,
            angle=moving.item.angle + moving.turn.at(t_s) + pose.roll_rad,
        )

    def _background_at(self, pose: CameraPose) -> Image:
        """The part of the world picture under the camera; painted once, larger than any pan."""
        height, width = self.config.size_hw
        short = min(height, width)
        if self._world_image is None:
            edge = 2 * round(short * (self.config.pan + 0.12))
            size = (height + edge, width + edge)
            self._world_image = paint_background(self._world_background, size)
        tall, wide = self._world_image.shape[:2]
        world_from_picture = (
            np.array([[1, 0, -(wide - 1) / 2], [0, 1, -(tall - 1) / 2], [0, 0, short]]) / short
        )
        affine = camera_from_world(pose, self.config.size_hw) @ world_from_picture
        warped = cv2.warpAffine(
            self._world_image,
            affine,
            (width, height),
            flags=cv2.INTER_LINEAR,
            borderMode=cv2.BORDER_REFLECT_101,
        )
        return np.asarray(warped, np.uint8)


def _sample_objects(
    rng: np.random.Generator, config: ClipConfig, scenery: SceneConfig
) -> tuple[MovingObject, ...]:
    """Objects of every size, homes apart, the largest at the back, unique in colour and shape."""
    chosen: list[MovingObject] = []
    height, width = world_size(scenery.aspect)
    spread = np.array([width, height]) * config.world_scale / 2
    for _ in range(_SAMPLE_TRIES):
        if len(chosen) == config.objects:
            break
        size = SIZES[len(chosen) % len(SIZES)]
        item = sample_object(rng, dataclasses.replace(scenery, sizes=(size,)))
        home = rng.uniform(-1, 1, 2) * np.maximum(spread - item.radius, 0.0)
        if all(_apart(item, home, other) for other in chosen):
            chosen.append(_set_moving(rng, item, home, config.motion))
    else:
        raise ConfigError(
            f"objects is {config.objects}, but only {len(chosen)} find room in a world of "
            f"{config.world_scale} views; lower objects or raise world_scale"
        )
    return tuple(sorted(chosen, key=lambda moving: -moving.item.radius))


def _apart(item: SceneObject, home: FloatArray, other: MovingObject) -> bool:
    if (item.colour, item.shape) == (other.item.colour, other.item.shape):
        return False
    gap = float(np.linalg.norm(home - np.array(other.home_xy)))
    return gap > 0.95 * (item.radius + other.item.radius)


def _set_moving(
    rng: np.random.Generator, item: SceneObject, home: FloatArray, motion: float
) -> MovingObject:
    """Some objects rest; the others wander. Growth keeps the size within its class."""
    reach = 0.0 if rng.random() < _STILL_SHARE else motion * float(rng.uniform(0.4, 1.0))
    share = min(1.0, reach / max(motion, 1e-9))
    return MovingObject(
        item=item._replace(angle=0.5 * item.angle),
        home_xy=(float(home[0]), float(home[1])),
        x=sample_wave(rng, reach, (5.0, 11.0)),
        y=sample_wave(rng, 0.8 * reach, (5.0, 11.0)),
        turn=sample_wave(rng, 0.3 * share, (4.0, 9.0)),
        growth=sample_wave(rng, 0.05 * share, (4.0, 9.0)),
    )
