"""Changes aligned faces at random as gates do: light, blur, low resolution, JPEG, noise, things worn, pose.

The teacher sees the face before these changes, so what is learned is to give the same template after them.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from biometrics.types import FloatArray, Pixels

SIDE = 112

EYES_Y = 51.6
"""Height of the eyes in the ArcFace template, pixels."""


@dataclass(frozen=True)
class Strengths:
    """How often each change happens, 0 to 1; `clean` is how often a face is only mirrored or not."""

    clean: float = 0.0
    geometry: float = 0.7
    light: float = 0.6
    dark: float = 0.25
    resolution: float = 0.35
    blur: float = 0.3
    noise: float = 0.3
    jpeg: float = 0.45
    worn: float = 0.15
    gray: float = 0.05
    band: float = 0.15


def changed(face: Pixels, rng: np.random.Generator, strengths: Strengths) -> Pixels:
    """Return a changed copy of a 112 x 112 x 3 face; the order is that of world, lens, sensor and file."""
    face = np.ascontiguousarray(face[:, ::-1]) if rng.random() < 0.5 else face.copy()
    if strengths.clean and rng.random() < strengths.clean:
        return face
    if rng.random() < strengths.worn:
        _wear(face, rng)
    if rng.random() < strengths.geometry:
        face = _moved(face, rng)
    if rng.random() < strengths.light:
        face = _light(face, rng)
    if rng.random() < strengths.dark:
        face = _dark(face, rng)
    if rng.random() < strengths.blur:
        face = _blurred(face, rng)
    if rng.random() < strengths.resolution:
        face = _small(face, rng)
    if rng.random() < strengths.noise:
        face = _clipped(face + np.float32(rng.uniform(1, 12)) * rng.standard_normal(face.shape, dtype=np.float32))
    if rng.random() < strengths.jpeg:
        face = _jpeg(face, rng)
    if rng.random() < strengths.gray:
        face = np.repeat(cv2.cvtColor(face, cv2.COLOR_RGB2GRAY)[..., None], 3, axis=2)
    if rng.random() < strengths.band:
        face[: int(rng.integers(1, 24))] = 0  # tightly cropped photographs leave a black band
    return face


def mixed(face: Pixels, other: Pixels, rng: np.random.Generator) -> Pixels:
    """Return a face that nobody has: a blend, a patch of one on the other, or one's features in the other's frame."""
    kind = rng.integers(3)
    share = np.full((SIDE, SIDE, 1), rng.uniform(0.25, 0.75), np.float32)
    if kind == 1:
        height, width = rng.integers(30, 80, 2)
        top, left = rng.integers(0, SIDE - height + 1), rng.integers(0, SIDE - width + 1)
        share[:] = 0
        share[top : top + height, left : left + width] = 1
    elif kind == 2:
        mask = np.zeros((SIDE, SIDE), np.float32)
        axes = (int(rng.integers(24, 44)), int(rng.integers(28, 52)))
        cv2.ellipse(mask, (56, int(rng.integers(50, 85))), axes, 0, 0, 360, 1.0, -1)
        share = np.asarray(cv2.GaussianBlur(mask, (0, 0), rng.uniform(2, 8)), np.float32)[..., None]
    return _clipped(face * (1 - share) + other * share)


def _moved(face: Pixels, rng: np.random.Generator) -> Pixels:
    """Turn, scale, shift, and turn away a little (perspective): what is left of pose after alignment."""
    middle = (SIDE - 1) / 2
    matrix = np.vstack(
        [cv2.getRotationMatrix2D((middle, middle), rng.normal(0, 6), rng.uniform(0.92, 1.1)), [0.0, 0.0, 1.0]]
    )
    matrix[:2, 2] += rng.normal(0, 2.5, 2)
    away = np.eye(3)
    away[2, :2] = rng.normal(0, 0.0008, 2)
    away[0, 0] = rng.uniform(0.88, 1.02)
    center = np.array([[1, 0, middle], [0, 1, middle], [0, 0, 1]])
    matrix = center @ away @ np.linalg.inv(center) @ matrix
    border = cv2.BORDER_REPLICATE if rng.random() < 0.5 else cv2.BORDER_CONSTANT
    return np.asarray(cv2.warpPerspective(face, matrix, (SIDE, SIDE), borderMode=border), np.uint8)


def _light(face: Pixels, rng: np.random.Generator) -> Pixels:
    """Change exposure, contrast, saturation and color of light, and let it fall from one side."""
    pixels = face.astype(np.float32) / 255
    gray = pixels.mean(axis=2, keepdims=True)
    pixels = gray + (pixels - gray) * np.float32(rng.uniform(0.3, 1.5))
    mean = float(pixels.mean())
    pixels = mean + (pixels - mean) * np.float32(rng.uniform(0.6, 1.4))
    pixels = pixels * np.float32(rng.uniform(0.6, 1.4)) * rng.uniform(0.85, 1.15, 3).astype(np.float32)
    if rng.random() < 0.4:
        angle = rng.uniform(0, 2 * np.pi)
        y, x = np.mgrid[-1 : 1 : SIDE * 1j, -1 : 1 : SIDE * 1j].astype(np.float32)
        pixels = pixels * (1 + np.float32(rng.uniform(0.2, 0.8)) * (np.cos(angle) * x + np.sin(angle) * y))[..., None]
    return _clipped(np.clip(pixels, 0, 1) * 255)


def _dark(face: Pixels, rng: np.random.Generator) -> Pixels:
    """Darken by a gamma of up to 3.5, or brighten a little, with the noise that a dark sensor adds."""
    gamma = rng.uniform(1.2, 3.5) if rng.random() < 0.85 else rng.uniform(0.5, 0.9)
    dark = (face.astype(np.float32) / 255) ** np.float32(gamma) * 255
    return _clipped(dark + np.float32(rng.uniform(0, 4)) * rng.standard_normal(face.shape, dtype=np.float32))


def _blurred(face: Pixels, rng: np.random.Generator) -> Pixels:
    """Blur as a moving head or a lens out of focus does."""
    if rng.random() < 0.6:
        return np.asarray(cv2.filter2D(face, -1, motion_kernel(rng.uniform(2, 9), rng.uniform(0, np.pi))), np.uint8)
    return np.asarray(cv2.GaussianBlur(face, (0, 0), rng.uniform(0.4, 2.2)), np.uint8)


def motion_kernel(length: float, angle: float) -> FloatArray:
    """Return the kernel of a straight movement, `length` pixels long."""
    side = int(np.ceil(length)) // 2 * 2 + 3
    kernel = np.zeros((side, side), np.float32)
    reach = np.array([np.cos(angle), np.sin(angle)]) * (length - 1) / 2
    for step in np.linspace(-1, 1, 4 * side):
        x, y = np.rint(side // 2 + reach * step).astype(int)
        kernel[y, x] += 1
    return np.asarray(kernel / kernel.sum(), np.float32)


def _small(face: Pixels, rng: np.random.Generator) -> Pixels:
    """Lose detail as a far face does, then come back to 112 pixels."""
    side = int(np.exp(rng.uniform(np.log(18), np.log(100))))
    shrink = (cv2.INTER_AREA, cv2.INTER_LINEAR, cv2.INTER_CUBIC)[rng.integers(3)]
    small = cv2.resize(face, (side, side), interpolation=shrink)
    if rng.random() < 0.3:
        small = _jpeg(np.asarray(small, np.uint8), rng)
    grow = (cv2.INTER_LINEAR, cv2.INTER_CUBIC, cv2.INTER_NEAREST)[rng.choice(3, p=(0.6, 0.3, 0.1))]
    return np.asarray(cv2.resize(small, (SIDE, SIDE), interpolation=grow), np.uint8)


def _jpeg(face: Pixels, rng: np.random.Generator) -> Pixels:
    quality = int(rng.integers(12, 90))
    _, content = cv2.imencode(".jpg", face, [cv2.IMWRITE_JPEG_QUALITY, quality])
    return np.asarray(cv2.imdecode(content, cv2.IMREAD_COLOR), np.uint8)


def _wear(face: Pixels, rng: np.random.Generator) -> None:
    """Draw a mask, dark or clear glasses, a turban-like band, or a hand-like patch, in place."""
    color = tuple(int(value) for value in rng.integers(0, 256, 3))
    kind = rng.integers(4)
    if kind == 0:
        top = int(rng.integers(64, 80))
        points = np.array([[20, top], [56, top - 6], [92, top], [88, 112], [24, 112]], np.int32)
        cv2.fillPoly(face, [points + rng.integers(-3, 4, points.shape).astype(np.int32)], color)
    elif kind == 1:
        thickness = -1 if rng.random() < 0.5 else int(rng.integers(1, 4))
        dark = tuple(int(value) // 4 for value in color)
        size = (int(rng.integers(11, 17)), int(rng.integers(8, 14)))
        for x in (38, 74):
            cv2.ellipse(face, (x, round(EYES_Y)), size, 0, 0, 360, dark, thickness)
        cv2.line(face, (50, round(EYES_Y)), (62, round(EYES_Y)), dark, 2)
    elif kind == 2:
        low = int(rng.integers(18, 40))
        cv2.ellipse(face, (56, low - 40), (70, 40), 0, 0, 360, color, -1)
    else:
        height, width = (int(value) for value in rng.integers(16, 48, 2))
        top, left = (int(value) for value in rng.integers(0, SIDE - 16, 2))
        face[top : top + height, left : left + width] = color


def _clipped(values: FloatArray) -> Pixels:
    return np.asarray(np.clip(values, 0, 255), np.uint8)
