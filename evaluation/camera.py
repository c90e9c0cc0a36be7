"""A simulated gate camera, and simulated attacks for it to see.

`photograph` does to a scene what a camera does, in the order in which it happens: the view (crop, turn), the light,
the lens (blur), the sensor (shot and read noise, after Foi et al., "Practical Poissonian-Gaussian noise modeling",
2008), and JPEG. `print_attack` and `replay_attack` build the scene that an impostor would hold up: a printed sheet,
or a display. They are simulations: they show that the machinery works and vary the training data, they do not replace
measured attacks. Everything is repeatable from the random generator, nothing touches a disk.
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

SCENE_PIXELS = 640
"""Default height and width of the scene that an attack makes."""


@dataclass(frozen=True, slots=True)
class CameraSettings:
    """How a camera looks at a scene.

    `zoom`: part of the scene that is left out, as a factor >= 1; `turn`: degrees of rotation; `yaw`: degrees by which
    the scene is turned away (perspective); `gain`: factor on the light; `slope`: how much brighter (+) or darker (-)
    the right side is than the left, -1 to 1; `blur`: sigma in pixels; `shot_noise` and `read_noise`: standard deviation
    at full light and in the dark, as parts of the range; `jpeg_quality`: 1-95.
    """

    zoom: float = 1.0
    turn: float = 0.0
    yaw: float = 0.0
    gain: float = 1.0
    slope: float = 0.0
    blur: float = 0.5
    shot_noise: float = 0.01
    read_noise: float = 0.003
    jpeg_quality: int = 92


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


def print_attack(portrait: Pixels, rng: np.random.Generator, *, pixels: int = SCENE_PIXELS) -> Pixels:
    """Print a portrait on paper and hold it up in front of a background: pixels x pixels x 3."""
    return print_attack_placed(portrait, rng, pixels=pixels).pixels


def replay_attack(portrait: Pixels, rng: np.random.Generator, *, pixels: int = SCENE_PIXELS) -> Pixels:
    """Show a portrait on a display and hold it up in front of a background: pixels x pixels x 3."""
    return replay_attack_placed(portrait, rng, pixels=pixels).pixels


def print_attack_placed(portrait: Pixels, rng: np.random.Generator, *, pixels: int = SCENE_PIXELS) -> Placed:
    """Do `print_attack` and say where the portrait's points went.

    Ink is weaker than light: black is gray, white is paper, colors fade. The ink lies in screens of dots at three
    angles. The sheet bends, which shades it, may have a white margin, and shines where a lamp is mirrored.
    """
    matrix = _held_up(portrait, rng, pixels)
    ink = _warped(portrait, matrix, pixels) / 255.0
    gray = ink.mean(axis=2, keepdims=True)
    ink = gray + (ink - gray) * rng.uniform(0.55, 0.95)
    black, white = rng.uniform(0.10, 0.28), rng.uniform(0.70, 0.95)
    ink = black + (white - black) * ink ** rng.uniform(0.8, 1.3)
    u, v = _source_grid(matrix, pixels)
    ink = _halftone(ink, u, v, rng, period=rng.uniform(2.0, 5.5) / _held_scale(matrix))
    ink = ink * (np.array([1.0, 0.98, 0.94]) + rng.uniform(-0.05, 0.05, 3)).astype(np.float32)
    margin = rng.choice([0.0, rng.uniform(0.01, 0.12)])
    scene, inside = _on_background(ink, u, v, portrait.shape, rng, margin=margin, rim=rng.uniform(0.85, 1.0))
    bend = 1 + rng.uniform(0.0, 0.25) * np.sin(
        u / portrait.shape[1] * np.pi * rng.uniform(0.5, 2.0) + rng.uniform(0, 6)
    )
    scene = np.where(inside[..., None], scene * bend[..., None].astype(np.float32), scene)
    scene = scene + np.where(inside[..., None], _glare(rng, pixels, strength=rng.uniform(0.0, 0.25)), 0)
    return Placed(_to_pixels(scene), matrix)


def replay_attack_placed(portrait: Pixels, rng: np.random.Generator, *, pixels: int = SCENE_PIXELS) -> Placed:
    """Do `replay_attack` and say where the portrait's points went.

    A display is a grid of red, green and blue stripes. Sampled by a camera's own grid at an angle they beat: moire.
    The glass has a dark rim and mirrors the room; black is never black; a band runs where the display refreshes.
    """
    matrix = _held_up(portrait, rng, pixels)
    light = _warped(portrait, matrix, pixels) / 255.0
    light = light ** rng.uniform(0.75, 1.35)
    gray = light.mean(axis=2, keepdims=True)
    light = gray + (light - gray) * rng.uniform(0.8, 1.35)
    tint = (np.array([0.95, 0.99, 1.05]) + rng.uniform(-0.06, 0.06, 3)) * rng.uniform(0.75, 1.1)
    light = light * tint.astype(np.float32)
    u, v = _source_grid(matrix, pixels)
    # Near the camera's own grid the stripes beat, further apart they are seen themselves; in between they vanish.
    pitch = rng.choice([rng.uniform(0.85, 1.18), rng.uniform(1.7, 3.5)])
    light = _subpixels(light, u, v, rng, pitch=pitch / _held_scale(matrix))
    light = light + rng.uniform(0.02, 0.12)
    scene, inside = _on_background(
        light, u, v, portrait.shape, rng, margin=rng.uniform(0.0, 0.08), rim=rng.uniform(0.01, 0.12)
    )
    rows = np.arange(pixels)[:, None, None] / pixels
    band = 1 + rng.uniform(0.0, 0.12) * np.sin(2 * np.pi * (rows * rng.uniform(0.5, 4.0) + rng.uniform()))
    scene = np.where(inside[..., None], scene * band.astype(np.float32), scene)
    scene = scene + np.where(inside[..., None], _glare(rng, pixels, strength=rng.uniform(0.0, 0.30)), 0)
    return Placed(_to_pixels(scene), matrix)


def _expose(scene: Pixels, settings: CameraSettings, rng: np.random.Generator) -> Placed:
    """Do everything that a camera does before it encodes."""
    height, width = scene.shape[:2]
    view = _view(height, width, settings)
    seen = cv2.warpPerspective(scene, view, (width, height), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101)
    light = (seen.astype(np.float32) / 255.0) ** GAMMA
    falloff = 1 + settings.slope * np.linspace(-1, 1, width, dtype=np.float32)[None, :, None]
    light = light * (settings.gain**GAMMA) * falloff
    if settings.blur > 0:
        light = cv2.GaussianBlur(light, (0, 0), settings.blur)
    spread = np.sqrt(settings.shot_noise**2 * np.clip(light, 0, 1) + settings.read_noise**2)
    light = light + spread * rng.standard_normal(light.shape, dtype=np.float32)
    return Placed(_to_pixels(np.clip(light, 0, 1) ** (1 / GAMMA)), view)


def _view(height: int, width: int, settings: CameraSettings) -> Matrix:
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


def _held_up(portrait: Pixels, rng: np.random.Generator, pixels: int) -> Matrix:
    """Return the matrix from the portrait into the scene: nearly filling it, a little askew."""
    height, width = portrait.shape[:2]
    scale = pixels / max(height, width) * rng.uniform(0.8, 1.0)
    askew = CameraSettings(turn=rng.uniform(-5, 5), yaw=rng.uniform(-10, 10))
    shift = rng.uniform(-0.04, 0.04, 2) * pixels
    place = np.array(
        [
            [scale, 0, (pixels - scale * width) / 2 + shift[0]],
            [0, scale, (pixels - scale * height) / 2 + shift[1]],
            [0, 0, 1],
        ]
    )
    matrix: Matrix = _view(pixels, pixels, askew) @ place
    return matrix


def _held_scale(matrix: Matrix) -> float:
    """Return about how many scene pixels one portrait pixel takes."""
    return float(np.sqrt(abs(np.linalg.det(matrix[:2, :2]))))


def _warped(portrait: Pixels, matrix: Matrix, pixels: int) -> FloatArray:
    """Draw the portrait into a scene, its edge drawn out over the rest: pixels x pixels x 3, 0-255."""
    shrink = _held_scale(matrix)
    if shrink < 1:
        portrait = np.asarray(cv2.GaussianBlur(portrait, (0, 0), 0.5 / shrink), dtype=np.uint8)
    drawn = cv2.warpPerspective(
        portrait, matrix, (pixels, pixels), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
    )
    return np.asarray(drawn, dtype=np.float32)


def _source_grid(matrix: Matrix, pixels: int) -> tuple[FloatArray, FloatArray]:
    """Return for every pixel of the scene which point (u, v) of the portrait it shows."""
    back = np.linalg.inv(matrix)
    y, x = np.mgrid[0:pixels, 0:pixels].astype(np.float32)
    depth = back[2, 0] * x + back[2, 1] * y + back[2, 2]
    u = (back[0, 0] * x + back[0, 1] * y + back[0, 2]) / depth
    v = (back[1, 0] * x + back[1, 1] * y + back[1, 2]) / depth
    return u.astype(np.float32), v.astype(np.float32)


def _halftone(ink: FloatArray, u: FloatArray, v: FloatArray, rng: np.random.Generator, *, period: float) -> FloatArray:
    """Break an image (0-1) into dots, `period` portrait pixels apart, mixed with the smooth image."""
    strength = rng.uniform(0.12, 0.50)
    out = np.empty_like(ink)
    for channel, degrees in enumerate((15.0, 75.0, 0.0)):
        angle = np.radians(degrees + rng.uniform(-3, 3))
        along = (u * np.cos(angle) + v * np.sin(angle)) * (2 * np.pi / period)
        across = (v * np.cos(angle) - u * np.sin(angle)) * (2 * np.pi / period)
        screen = 0.5 + 0.25 * (np.cos(along) + np.cos(across))
        printed = 1 / (1 + np.exp(-8 * (ink[..., channel] - screen)))
        out[..., channel] = (1 - strength) * ink[..., channel] + strength * printed
    return out


def _subpixels(
    light: FloatArray, u: FloatArray, v: FloatArray, rng: np.random.Generator, *, pitch: float
) -> FloatArray:
    """Show an image (0-1) on a grid of colored stripes, `pitch` portrait pixels apart, seen at a small angle."""
    depth = rng.uniform(0.25, 0.65)
    angle = np.radians(rng.uniform(-8, 8))
    column = (u * np.cos(angle) + v * np.sin(angle)) / pitch
    row = (v * np.cos(angle) - u * np.sin(angle)) / pitch
    gaps = 1 - depth * 0.5 * (1 + np.cos(2 * np.pi * row)) * rng.uniform(0.2, 0.8)
    out = np.empty_like(light)
    for channel in range(3):
        stripes = 1 - depth * (0.5 - 0.5 * np.cos(2 * np.pi * (column - channel / 3)))
        out[..., channel] = light[..., channel] * stripes * gaps
    return out


def _on_background(
    held: FloatArray,
    u: FloatArray,
    v: FloatArray,
    shape: tuple[int, ...],
    rng: np.random.Generator,
    *,
    margin: float,
    rim: float,
) -> tuple[FloatArray, NDArray[np.bool_]]:
    """Put what is held up, with a margin of brightness `rim`, before a soft background; say where the thing is."""
    height, width = shape[:2]
    printed = (u >= 0) & (u < width) & (v >= 0) & (v < height)
    reach = margin * max(height, width)
    inside = (u >= -reach) & (u < width + reach) & (v >= -reach) & (v < height + reach)
    pixels = held.shape[0]
    room = rng.uniform(0.05, 0.9, (5, 5, 3)) * 0.5 + rng.uniform(0.05, 0.9, 3) * 0.5
    background = cv2.resize(room.astype(np.float32), (pixels, pixels), interpolation=cv2.INTER_CUBIC)
    scene = np.where(inside[..., None], np.float32(rim), background)
    scene = np.where(printed[..., None], held, scene)
    return scene.astype(np.float32), inside


def _glare(rng: np.random.Generator, pixels: int, *, strength: float) -> FloatArray:
    """Return the mirror image of a lamp: a soft bright ellipse, pixels x pixels x 1."""
    y, x = np.mgrid[0:pixels, 0:pixels].astype(np.float32) / pixels
    center, size = rng.uniform(0.1, 0.9, 2), rng.uniform(0.05, 0.5, 2)
    blob = strength * np.exp(-(((x - center[0]) / size[0]) ** 2) - ((y - center[1]) / size[1]) ** 2)
    return np.asarray(blob[..., None], dtype=np.float32)


def _to_pixels(scene: FloatArray) -> Pixels:
    """Turn 0-1 into RGB 0-255."""
    return np.asarray(np.clip(np.rint(scene * 255.0), 0, 255), dtype=np.uint8)
