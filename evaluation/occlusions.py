"""Things before a face, drawn into the photograph where the aligned 112 x 112 face has them."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from biometrics.alignment import ARCFACE_TEMPLATE, umeyama
from biometrics.types import FloatArray, Pixels

Color = tuple[int, int, int]
Outline = tuple[tuple[float, float], ...]
"""Corners (x, y) in pixels of the aligned face, which may lie outside of it."""

FINER = 8
"""Parts of a pixel in which corners are given to the drawing routine; a power of two."""


@dataclass(frozen=True, slots=True)
class Occlusion:
    """Outlines filled with one of some colors, covering `opacity` of what lies behind them."""

    description: str
    parts: tuple[tuple[Outline, float], ...]
    colors: tuple[Color, ...]


def _oval(x: float, y: float, width: float, height: float) -> Outline:
    angles = np.linspace(0, 2 * np.pi, 32, endpoint=False)
    return tuple((float(x + width * np.cos(a)), float(y + height * np.sin(a))) for a in angles)


_LEFT_EYE, _RIGHT_EYE = (tuple(map(float, point)) for point in ARCFACE_TEMPLATE[:2])
_BRIDGE_AND_ARMS: tuple[Outline, ...] = (
    ((50, 48), (62, 48), (62, 51), (50, 51)),
    ((-4, 47), (24, 48), (24, 51), (-4, 50)),
    ((88, 48), (116, 47), (116, 50), (88, 51)),
)
_RIMS = tuple(_oval(x, y, 15, 12) for x, y in (_LEFT_EYE, _RIGHT_EYE))
_BLACKS: tuple[Color, ...] = ((20, 20, 22), (60, 40, 28))

OCCLUSIONS: dict[str, Occlusion] = {
    "mask": Occlusion(
        "mask from the bridge of the nose to below the chin",
        (
            (
                ((18, 70), (40, 64), (56, 58), (72, 64), (94, 70), (92, 96), (80, 114), (56, 122), (32, 114), (20, 96)),
                1.0,
            ),
        ),
        ((150, 190, 215), (235, 235, 235), (25, 25, 28)),
    ),
    "glasses": Occlusion(
        "dark spectacles with rims, lenses that take 40 % of the light",
        tuple((outline, 0.4) for outline in _RIMS) + tuple((outline, 1.0) for outline in _BRIDGE_AND_ARMS),
        _BLACKS,
    ),
    "sunglasses": Occlusion(
        "sunglasses that nothing is seen through",
        tuple((_oval(x, y, 18, 14), 1.0) for x, y in (_LEFT_EYE, _RIGHT_EYE))
        + tuple((outline, 1.0) for outline in _BRIDGE_AND_ARMS),
        _BLACKS,
    ),
    "turban": Occlusion(
        "turban-like band over the forehead down to the brows, and what is above it",
        (
            (
                (
                    (-10, 44),
                    (14, 36),
                    (56, 30),
                    (98, 36),
                    (122, 44),
                    (120, -20),
                    (90, -48),
                    (56, -54),
                    (22, -48),
                    (-8, -20),
                ),
                1.0,
            ),
        ),
        ((225, 130, 30), (235, 232, 225), (110, 25, 40), (25, 35, 80)),
    ),
    "bottom-third": Occlusion(
        "everything in the lower third of the aligned face, as by a scarf",
        ((((-12, 75), (124, 75), (124, 136), (-12, 136)), 1.0),),
        ((128, 128, 128), (70, 60, 55), (200, 195, 185)),
    ),
}


def occlude(image: Pixels, landmarks: FloatArray, occlusion: Occlusion, rng: np.random.Generator) -> Pixels:
    """Return a copy of the photograph with the thing before the face of these 5 x 2 landmarks."""
    to_image = umeyama(ARCFACE_TEMPLATE, landmarks)
    color = np.array(occlusion.colors[rng.integers(len(occlusion.colors))], np.float32)
    covered = image.astype(np.float32)
    for outline, opacity in occlusion.parts:
        points = np.array(outline, np.float32) @ to_image[:, :2].T + to_image[:, 2]
        cover = opacity * _filled(points, image.shape[:2])[..., None]
        covered = covered * (1 - cover) + color * cover
    return np.rint(covered).astype(np.uint8)


def _filled(points: FloatArray, shape: tuple[int, ...]) -> NDArray[np.float32]:
    """Return how much of each pixel an outline covers, 0-1."""
    cover = np.zeros(shape[:2], np.uint8)
    fixed = np.rint(points * FINER).astype(np.int32)
    cv2.fillPoly(cover, [fixed], 255, lineType=cv2.LINE_AA, shift=FINER.bit_length() - 1)
    return np.asarray(cover.astype(np.float32) / 255.0, np.float32)
