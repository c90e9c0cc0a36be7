"""Simulated attacks that are cut out of a print and worn: a cut-out with holes for the eyes, and a partial mask.

The wearer is alive, so that part of what the camera sees is bona fide. Simulations, as in `evaluation/attacks.py`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np

from biometrics.types import FloatArray, Pixels
from evaluation.attacks import SCENE_PIXELS, folds, printed, source_grid, warped
from evaluation.camera import Matrix, Placed, to_pixels

Cut = Literal["cutout", "partial_mask"]

PARTS = ("brow to nose", "nose to chin", "left", "right", "eyes")
"""What a partial mask covers."""


@dataclass(frozen=True, slots=True, eq=False)
class Sitter:
    """A picture of a living person with the five landmarks of the face, 5 x 2."""

    pixels: Pixels
    landmarks: FloatArray


def worn_attack_placed(
    cut: Cut, victim: Sitter, wearer: Sitter, rng: np.random.Generator, *, pixels: int = SCENE_PIXELS
) -> Placed:
    """Print the victim, cut the print, put it on the wearer's face; return where the wearer's points went, too."""
    height, width = wearer.pixels.shape[:2]
    scale = pixels / max(height, width)
    place: Matrix = np.array(
        [[scale, 0, (pixels - scale * width) / 2], [0, scale, (pixels - scale * height) / 2], [0, 0, 1]]
    )
    scene = warped(wearer.pixels, place, pixels) / 255.0
    onto = place @ _fit(victim.landmarks, wearer.landmarks, rng)
    ink = printed(victim.pixels, onto, pixels, rng)
    u, v = source_grid(onto, pixels)
    curve = np.cos((u - victim.landmarks[2, 0]) / (_eye_distance(victim.landmarks) * rng.uniform(1.2, 2.5)))
    ink = ink * (np.clip(curve, 0.4, 1.0) * folds(u, v, victim.pixels.shape, rng))[..., None]
    mask = _shape(cut, u, v, victim, rng)
    edge = np.asarray(cv2.GaussianBlur(mask, (0, 0), rng.uniform(0.6, 1.2)))[..., None]
    shift = rng.uniform(-0.02, 0.02, 2) * pixels
    moved = cv2.warpAffine(mask, np.array([[1, 0, shift[0]], [0, 1, shift[1]]], np.float32), (pixels, pixels))
    shadow = 1 - rng.uniform(0.1, 0.5) * np.asarray(cv2.GaussianBlur(moved, (0, 0), pixels / 80))[..., None]
    return Placed(to_pixels(edge * ink + (1 - edge) * scene * shadow), place)


def _fit(victim: FloatArray, wearer: FloatArray, rng: np.random.Generator) -> Matrix:
    """Return the 3 x 3 matrix that lays the victim's landmarks over the wearer's, as well as scissors and hands can."""
    found, _ = cv2.estimateAffinePartial2D(victim, wearer, method=cv2.LMEDS)
    if found is None:  # landmarks in one point: lay the faces' middles over each other
        found = np.column_stack((np.eye(2), wearer.mean(axis=0) - victim.mean(axis=0)))
    matrix: Matrix = np.vstack((found, [0, 0, 1]))
    slip = rng.normal(0, 0.06, 2) * _eye_distance(wearer)
    size, angle = rng.uniform(0.95, 1.2), np.radians(rng.normal(0, 2))
    x, y = wearer.mean(axis=0)
    cos, sin = size * np.cos(angle), size * np.sin(angle)
    askew = np.array(
        [[cos, -sin, x - cos * x + sin * y + slip[0]], [sin, cos, y - sin * x - cos * y + slip[1]], [0, 0, 1]]
    )
    fitted: Matrix = askew @ matrix
    return fitted


def _shape(cut: Cut, u: FloatArray, v: FloatArray, victim: Sitter, rng: np.random.Generator) -> FloatArray:
    """Return where paper is, 0 or 1, for every pixel that shows the print's point (u, v)."""
    left, right, nose = victim.landmarks[:3]
    mouth = victim.landmarks[3:].mean(axis=0)
    eye = _eye_distance(victim.landmarks)
    x, y = (u - (left[0] + right[0]) / 2) / eye, (v - (left[1] + right[1]) / 2) / eye
    chin = (mouth[1] - (left[1] + right[1]) / 2) / eye
    ripple = 1 + 0.04 * np.sin(np.arctan2(y - chin / 2, x) * rng.integers(3, 8) + rng.uniform(0, 6))
    face = (x / rng.uniform(1.0, 1.25)) ** 2 + ((y - 0.5 * chin) / rng.uniform(1.3, 1.7)) ** 2 < ripple
    height, width = victim.pixels.shape[:2]
    sheet = (u >= 0) & (v >= 0) & (u < width) & (v < height)
    if cut == "cutout":
        paper = sheet if rng.random() < 0.3 else face & sheet
        reach, rise = rng.uniform(0.2, 0.32), rng.uniform(0.1, 0.2)
        for hole in (left, right):
            paper = paper & (((u - hole[0]) / reach) ** 2 + ((v - hole[1]) / rise) ** 2 >= eye**2)
        if rng.random() < 0.3:
            paper = paper & (((u - mouth[0]) / 0.4) ** 2 + ((v - mouth[1]) / 0.2) ** 2 >= eye**2)
        return np.asarray(paper, dtype=np.float32)
    slant = rng.normal(0, 0.1) * x
    middle = (nose[1] - (left[1] + right[1]) / 2) / eye
    covered = {
        "brow to nose": (y + slant < middle + rng.uniform(-0.1, 0.2)) & (y > -0.9),
        "nose to chin": y + slant > middle + rng.uniform(-0.25, 0.1),
        "left": x + rng.normal(0, 0.1) * y < rng.uniform(-0.1, 0.2),
        "right": x + rng.normal(0, 0.1) * y > rng.uniform(-0.2, 0.1),
        "eyes": (np.abs(y + slant) < rng.uniform(0.3, 0.5)),
    }[str(rng.choice(PARTS))]
    return np.asarray(covered & face & sheet, dtype=np.float32)


def _eye_distance(landmarks: FloatArray) -> float:
    """Return the pixels between the eyes, at least one."""
    return max(1.0, float(np.linalg.norm(landmarks[1] - landmarks[0])))
