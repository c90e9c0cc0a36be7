"""Simulated attacks for a simulated camera to see: a printed sheet, or a display, that somebody holds up.

`print_attack` and `replay_attack` build the scene; `evaluation/masks.py` builds what is cut out and worn. They are
simulations: they show that the machinery works and vary the training data, they do not replace measured attacks.
Everything is repeatable from the random generator, nothing touches a disk.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from biometrics.types import FloatArray, Pixels
from evaluation.camera import CameraSettings, Matrix, Placed, to_pixels, view_matrix

SCENE_PIXELS = 640
"""Default height and width of the scene that an attack makes."""


def print_attack(portrait: Pixels, rng: np.random.Generator, *, pixels: int = SCENE_PIXELS) -> Pixels:
    """Print a portrait on paper and hold it up in front of a background: pixels x pixels x 3."""
    return print_attack_placed(portrait, rng, pixels=pixels).pixels


def replay_attack(portrait: Pixels, rng: np.random.Generator, *, pixels: int = SCENE_PIXELS) -> Pixels:
    """Show a portrait on a display and hold it up in front of a background: pixels x pixels x 3."""
    return replay_attack_placed(portrait, rng, pixels=pixels).pixels


def print_attack_placed(
    portrait: Pixels, rng: np.random.Generator, *, pixels: int = SCENE_PIXELS, room: Pixels | None = None
) -> Placed:
    """Do `print_attack`, before a picture of a room if there is one, and say where the portrait's points went.

    Ink on paper (`printed`); the sheet bends, which shades it, may be folded, may have a white margin and thumbs on
    it, and shines where a lamp is mirrored.
    """
    matrix = _held_up(portrait, rng, pixels)
    u, v = source_grid(matrix, pixels)
    ink = printed(portrait, matrix, pixels, rng)
    margin = rng.choice([0.0, rng.uniform(0.01, 0.12)])
    scene, inside = _on_background(ink, u, v, portrait.shape, rng, margin=margin, rim=rng.uniform(0.85, 1.0), room=room)
    bend = 1 + rng.uniform(0.0, 0.25) * np.sin(
        u / portrait.shape[1] * np.pi * rng.uniform(0.5, 2.0) + rng.uniform(0, 6)
    )
    shade = bend.astype(np.float32) * folds(u, v, portrait.shape, rng)
    scene = np.where(inside[..., None], scene * shade[..., None], scene)
    scene = scene + np.where(inside[..., None], _glare(rng, pixels, strength=rng.uniform(0.0, 0.25)), 0)
    if rng.random() < 0.5:
        scene = _with_thumbs(scene, inside, rng)
    return Placed(to_pixels(scene), matrix)


def printed(portrait: Pixels, matrix: Matrix, pixels: int, rng: np.random.Generator) -> FloatArray:
    """Return a portrait as ink on paper, drawn into a scene by a matrix: pixels x pixels x 3, 0-1.

    Ink is weaker than light: black is gray, white is paper, colors fade. It lies in screens of dots at three angles,
    on paper that has a grain.
    """
    ink = warped(portrait, matrix, pixels) / 255.0
    gray = ink.mean(axis=2, keepdims=True)
    ink = gray + (ink - gray) * rng.uniform(0.55, 0.95)
    black, white = rng.uniform(0.10, 0.28), rng.uniform(0.70, 0.95)
    ink = black + (white - black) * ink ** rng.uniform(0.8, 1.3)
    u, v = source_grid(matrix, pixels)
    ink = _halftone(ink, u, v, rng, period=rng.uniform(2.0, 5.5) / _held_scale(matrix))
    ink = ink * (np.array([1.0, 0.98, 0.94]) + rng.uniform(-0.05, 0.05, 3)).astype(np.float32)
    grain = cv2.GaussianBlur(rng.standard_normal((pixels, pixels), dtype=np.float32), (0, 0), rng.uniform(0.6, 1.5))
    return np.asarray(ink * (1 + rng.uniform(0.0, 0.06) * grain[..., None]), dtype=np.float32)


def folds(u: FloatArray, v: FloatArray, shape: tuple[int, ...], rng: np.random.Generator) -> FloatArray:
    """Return the light on a sheet with up to two folds, around 1, for every pixel that shows its point (u, v).

    Each half of a fold lies at another angle to the light; along the fold ink has come off.
    """
    light = np.ones_like(u)
    for _ in range(int(rng.integers(0, 3))):
        angle = rng.choice([0.0, np.pi / 2]) + rng.normal(0, 0.1)
        middle = rng.uniform(0.2, 0.8, 2) * (shape[1], shape[0])
        across = ((u - middle[0]) * np.cos(angle) + (v - middle[1]) * np.sin(angle)) / max(shape[:2])
        light = light * (1 + rng.uniform(-0.12, 0.12) * np.tanh(across * 12))
        light = light * (1 + rng.uniform(-0.25, 0.35) * np.exp(-((across * rng.uniform(80, 200)) ** 2)))
    return np.asarray(light, dtype=np.float32)


def replay_attack_placed(
    portrait: Pixels, rng: np.random.Generator, *, pixels: int = SCENE_PIXELS, room: Pixels | None = None
) -> Placed:
    """Do `replay_attack`, before a picture of a room if there is one, and say where the portrait's points went.

    A display is a grid of red, green and blue stripes. Sampled by a camera's own grid at an angle they beat: moire.
    The glass has a dark rim and mirrors the room; black is never black; a band runs where the display refreshes.
    """
    matrix = _held_up(portrait, rng, pixels)
    light = warped(portrait, matrix, pixels) / 255.0
    light = light ** rng.uniform(0.75, 1.35)
    gray = light.mean(axis=2, keepdims=True)
    light = gray + (light - gray) * rng.uniform(0.8, 1.35)
    tint = (np.array([0.95, 0.99, 1.05]) + rng.uniform(-0.06, 0.06, 3)) * rng.uniform(0.75, 1.1)
    light = light * tint.astype(np.float32)
    u, v = source_grid(matrix, pixels)
    if rng.random() < 0.65:  # else the display is so fine, or so out of focus, that no grid is seen
        # Near the camera's own grid the stripes beat, further apart they are seen themselves; in between they vanish.
        pitch = rng.choice([rng.uniform(0.85, 1.18), rng.uniform(1.7, 3.5)])
        light = _subpixels(light, u, v, rng, pitch=pitch / _held_scale(matrix))
    light = light + rng.uniform(0.02, 0.12)
    if rng.random() < 0.4:  # the camera focuses on what is behind, or the video was small
        light = np.asarray(cv2.GaussianBlur(light, (0, 0), rng.uniform(0.5, 2.0)), dtype=np.float32)
    scene, inside = _on_background(
        light, u, v, portrait.shape, rng, margin=rng.uniform(0.0, 0.08), rim=rng.uniform(0.01, 0.12), room=room
    )
    rows = np.arange(pixels)[:, None, None] / pixels
    band = 1 + rng.uniform(0.0, 0.12) * np.sin(2 * np.pi * (rows * rng.uniform(0.5, 4.0) + rng.uniform()))
    scene = np.where(inside[..., None], scene * band.astype(np.float32), scene)
    scene = scene + np.where(inside[..., None], _glare(rng, pixels, strength=rng.uniform(0.0, 0.30)), 0)
    return Placed(to_pixels(scene), matrix)


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
    matrix: Matrix = view_matrix(pixels, pixels, askew) @ place
    return matrix


def _held_scale(matrix: Matrix) -> float:
    """Return about how many scene pixels one portrait pixel takes."""
    return float(np.sqrt(abs(np.linalg.det(matrix[:2, :2]))))


def warped(portrait: Pixels, matrix: Matrix, pixels: int) -> FloatArray:
    """Draw the portrait into a scene, its edge drawn out over the rest: pixels x pixels x 3, 0-255."""
    shrink = _held_scale(matrix)
    if shrink < 1:
        portrait = np.asarray(cv2.GaussianBlur(portrait, (0, 0), 0.5 / shrink), dtype=np.uint8)
    drawn = cv2.warpPerspective(
        portrait, matrix, (pixels, pixels), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
    )
    return np.asarray(drawn, dtype=np.float32)


def source_grid(matrix: Matrix, pixels: int) -> tuple[FloatArray, FloatArray]:
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
    room: Pixels | None,
) -> tuple[FloatArray, NDArray[np.bool_]]:
    """Put what is held up, with a margin of brightness `rim`, before a room or soft light; say where the thing is."""
    height, width = shape[:2]
    printed = (u >= 0) & (u < width) & (v >= 0) & (v < height)
    reach = margin * max(height, width)
    inside = (u >= -reach) & (u < width + reach) & (v >= -reach) & (v < height + reach)
    pixels = held.shape[0]
    if room is None:
        light = rng.uniform(0.05, 0.9, (5, 5, 3)) * 0.5 + rng.uniform(0.05, 0.9, 3) * 0.5
        background = cv2.resize(light.astype(np.float32), (pixels, pixels), interpolation=cv2.INTER_CUBIC)
    else:
        background = cv2.resize(room, (pixels, pixels), interpolation=cv2.INTER_AREA).astype(np.float32) / 255.0
    scene = np.where(inside[..., None], np.float32(rim), background)
    scene = np.where(printed[..., None], held, scene)
    return scene.astype(np.float32), inside


def _with_thumbs(scene: FloatArray, inside: NDArray[np.bool_], rng: np.random.Generator) -> FloatArray:
    """Lay one to three thumbs over the edge of a sheet."""
    pixels = scene.shape[0]
    rows, columns = np.nonzero(inside)
    skin = (np.array([0.75, 0.55, 0.45]) * rng.uniform(0.5, 1.2)).astype(np.float32)
    mask = np.zeros((pixels, pixels), np.float32)
    for _ in range(int(rng.integers(1, 4))):
        side = rng.choice([columns.min(), columns.max()])
        center = (int(side), int(rng.uniform(rows.min(), rows.max())))
        size = (int(pixels * rng.uniform(0.06, 0.14)), int(pixels * rng.uniform(0.025, 0.05)))
        cv2.ellipse(mask, center, size, rng.uniform(-30, 30), 0, 360, 1.0, -1)
    shade = cv2.GaussianBlur(mask, (0, 0), pixels / 60)
    mask = np.asarray(cv2.GaussianBlur(mask, (0, 0), 1.0))
    return np.asarray(
        scene * (1 - mask[..., None]) + mask[..., None] * skin * (0.6 + 0.4 * shade[..., None]), np.float32
    )


def _glare(rng: np.random.Generator, pixels: int, *, strength: float) -> FloatArray:
    """Return the mirror image of a lamp: a soft bright ellipse, pixels x pixels x 1."""
    y, x = np.mgrid[0:pixels, 0:pixels].astype(np.float32) / pixels
    center, size = rng.uniform(0.1, 0.9, 2), rng.uniform(0.05, 0.5, 2)
    blob = strength * np.exp(-(((x - center[0]) / size[0]) ** 2) - ((y - center[1]) / size[1]) ** 2)
    return np.asarray(blob[..., None], dtype=np.float32)
