"""A simulated gate camera.

`photograph` does to a scene what a camera does, in the order in which it happens: the view (crop, turn), the light,
the lens (blur), the shutter (bands, where lamps flicker), the sensor (shot and read noise, after Foi et al.,
"Practical Poissonian-Gaussian noise modeling", 2008), white balance, and JPEG, once or twice. What impostors show it is
in `evaluation/attacks.py` and `evaluation/masks.py`. Everything is repeatable from the random generator, nothing
touches a disk.
"""

from __future__ import annotations

import io
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from biometrics.types import FloatArray, Pixels

Matrix = NDArray[np.float64]

GAMMA = 2.2
"""Light grows with this power of a pixel's value."""


@dataclass(frozen=True, slots=True)
class CameraSettings:
    """How a camera looks at a scene.

    `zoom`: part of the scene that is left out, as a factor >= 1; `turn`: degrees of rotation; `yaw`: degrees by which
    the scene is turned away (perspective); `gain`: factor on the light; `slope`: how much brighter (+) or darker (-)
    the right side is than the left, -1 to 1; `blur`: sigma in pixels; `shot_noise` and `read_noise`: standard deviation
    at full light and in the dark, as parts of the range; `warmth`: how much more red and less blue (+) or less red and
    more blue (-) is seen, as a part; `bands`: depth of the bands that a shutter rolling under flickering lamps leaves,
    a part of the light; `jpeg_quality`: 1-95; `first_jpeg_quality`: of an earlier JPEG in the chain, 0 for none.
    """

    zoom: float = 1.0
    turn: float = 0.0
    yaw: float = 0.0
    gain: float = 1.0
    slope: float = 0.0
    blur: float = 0.5
    shot_noise: float = 0.01
    read_noise: float = 0.003
    warmth: float = 0.0
    bands: float = 0.0
    jpeg_quality: int = 92
    first_jpeg_quality: int = 0


PRESETS = {
    "entry": CameraSettings(zoom=1.05, turn=2.0, yaw=4.0, gain=1.05, slope=0.15, blur=0.6, jpeg_quality=90),
    "security": CameraSettings(
        zoom=1.10, turn=-3.0, yaw=-5.0, gain=0.85, slope=-0.20, blur=0.7, shot_noise=0.015, jpeg_quality=88
    ),
    "boarding": CameraSettings(
        zoom=1.00, turn=1.0, yaw=6.0, gain=1.15, slope=0.10, blur=0.8, shot_noise=0.02, jpeg_quality=85
    ),
}
"""The cameras of three gates, by purpose."""


@dataclass(frozen=True, slots=True, eq=False)
class Placed:
    """A picture of something, and the 3 x 3 matrix that takes a point of that thing to its place in the picture."""

    pixels: Pixels
    matrix: Matrix


def photograph(scene: Pixels, settings: CameraSettings, rng: np.random.Generator) -> Pixels:
    """Take a picture of a scene: as large as the scene."""
    return photograph_placed(scene, settings, rng).pixels


def photograph_jpeg(scene: Pixels, settings: CameraSettings, rng: np.random.Generator) -> bytes:
    """Take a picture of a scene and return it as a JPEG file in memory."""
    return jpeg_bytes(_expose(scene, settings, rng).pixels, settings.jpeg_quality)


def photograph_placed(scene: Pixels, settings: CameraSettings, rng: np.random.Generator) -> Placed:
    """Take a picture of a scene and say where its points went."""
    exposed = _expose(scene, settings, rng)
    return Placed(jpeg_roundtrip(exposed.pixels, settings.jpeg_quality), exposed.matrix)


def jpeg_bytes(image: Pixels, quality: int) -> bytes:
    """Encode RGB pixels as a JPEG file in memory, with the usual halved color."""
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, format="JPEG", quality=quality)
    return buffer.getvalue()


def jpeg_roundtrip(image: Pixels, quality: int) -> Pixels:
    """Return what is left of RGB pixels after JPEG."""
    with Image.open(io.BytesIO(jpeg_bytes(image, quality))) as decoded:
        return np.array(decoded.convert("RGB"))


def _expose(scene: Pixels, settings: CameraSettings, rng: np.random.Generator) -> Placed:
    """Do everything that a camera does before it encodes."""
    height, width = scene.shape[:2]
    view = view_matrix(height, width, settings)
    seen = cv2.warpPerspective(scene, view, (width, height), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101)
    light = (seen.astype(np.float32) / 255.0) ** GAMMA
    falloff = 1 + settings.slope * np.linspace(-1, 1, width, dtype=np.float32)[None, :, None]
    light = light * (settings.gain**GAMMA) * falloff
    if settings.blur > 0:
        light = cv2.GaussianBlur(light, (0, 0), settings.blur)
    if settings.bands > 0:
        rows = np.linspace(0, rng.uniform(2.0, 8.0), height, dtype=np.float32)[:, None, None]
        light = light * (1 + settings.bands * np.sin(2 * np.pi * (rows + np.float32(rng.uniform()))))
    spread = np.sqrt(settings.shot_noise**2 * np.clip(light, 0, 1) + settings.read_noise**2)
    light = light + spread * rng.standard_normal(light.shape, dtype=np.float32)
    light = light * np.array([1 + settings.warmth, 1.0, 1 - settings.warmth], np.float32)
    pixels = to_pixels(np.clip(light, 0, 1) ** (1 / GAMMA))
    if settings.first_jpeg_quality:
        pixels = jpeg_roundtrip(pixels, settings.first_jpeg_quality)
    return Placed(pixels, view)


def view_matrix(height: int, width: int, settings: CameraSettings) -> Matrix:
    """Return the 3 x 3 matrix of zoom, rotation and a turn about the vertical axis, about the picture's middle."""
    focal = 1.5 * max(height, width)
    yaw, turn = np.radians(settings.yaw), np.radians(settings.turn)
    to_middle = np.array([[1, 0, -width / 2], [0, 1, -height / 2], [0, 0, 1]], dtype=np.float64)
    away = np.array([[np.cos(yaw), 0, 0], [0, 1, 0], [-np.sin(yaw) / focal, 0, 1]])
    rotate = np.array([[np.cos(turn), -np.sin(turn), 0], [np.sin(turn), np.cos(turn), 0], [0, 0, 1]])
    enlarge = np.diag([settings.zoom, settings.zoom, 1.0])
    back = np.array([[1, 0, width / 2], [0, 1, height / 2], [0, 0, 1]], dtype=np.float64)
    matrix: Matrix = back @ enlarge @ rotate @ away @ to_middle
    return matrix


def to_pixels(scene: FloatArray) -> Pixels:
    """Turn 0-1 into RGB 0-255."""
    return np.asarray(np.clip(np.rint(scene * 255.0), 0, 255), dtype=np.uint8)
