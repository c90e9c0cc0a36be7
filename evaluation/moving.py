"""Short bursts of a moving head and of a moved photograph, rendered from one portrait, to measure motion cues with.

The head is half an ellipsoid with a nose on it, painted with the portrait and turned under a pinhole camera; what is
around it stays where it is. The photograph is the same portrait as a plane that is turned and shifted as a whole. Both
are simulations: no hair, no jaw, no expression, no light that changes with the turn.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from biometrics.types import FloatArray, Pixels

Grid = NDArray[np.float64]

CAMERA_DISTANCE = 20.0
"""From the lens to the face, in distances between the eyes: about 1.3 m."""

_SOLVING_STEPS = 12


@dataclass(frozen=True, slots=True)
class Pose:
    """Where a head or a sheet is: degrees of `yaw` and `pitch`, and a shift in distances between the eyes."""

    yaw: float = 0.0
    pitch: float = 0.0
    right: float = 0.0
    down: float = 0.0


def sway(frames: int, *, yaw: float, pitch: float = 0.0, right: float = 0.0, down: float = 0.0) -> list[Pose]:
    """Return the poses of a burst in which somebody turns and shifts evenly by so much in all."""
    steps = np.linspace(-0.5, 0.5, frames)
    return [Pose(float(yaw * t), float(pitch * t), float(right * t), float(down * t)) for t in steps]


def moved_head(portrait: Pixels, landmarks: FloatArray, pose: Pose) -> Pixels:
    """Render a portrait (its five landmarks: 5 x 2) with its head moved as a solid body: of the portrait's size."""
    eye, middle = _scale(landmarks)
    y, x = np.mgrid[0 : portrait.shape[0], 0 : portrait.shape[1]].astype(np.float64)
    wanted = np.stack(((x - middle[0]) / eye, (y - middle[1]) / eye))
    source = wanted.copy()
    for _ in range(_SOLVING_STEPS):  # which point of the portrait comes to lie here: a fixed point of the shift
        source = wanted - _shift(source, pose)
    return _drawn(portrait, source[0] * eye + middle[0], source[1] * eye + middle[1])


def moved_sheet(portrait: Pixels, landmarks: FloatArray, pose: Pose) -> Pixels:
    """Render a portrait as a flat photograph that is moved as a whole: of the portrait's size."""
    eye, middle = _scale(landmarks)
    corners = np.array([[-1.0, -1.0], [1.0, -1.0], [1.0, 1.0], [-1.0, 1.0]])
    there = _projected(corners[:, 0], corners[:, 1], np.zeros(4), pose)
    matrix = cv2.getPerspectiveTransform(
        (corners * eye + middle).astype(np.float32), (np.stack(there, axis=1) * eye + middle).astype(np.float32)
    )
    size = (portrait.shape[1], portrait.shape[0])
    moved = cv2.warpPerspective(portrait, matrix, size, flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT_101)
    return np.asarray(moved, dtype=np.uint8)


def _scale(landmarks: FloatArray) -> tuple[float, Grid]:
    points = landmarks.astype(np.float64)
    return float(np.linalg.norm(points[1] - points[0])), points.mean(axis=0)


def _shift(points: Grid, pose: Pose) -> Grid:
    """Return how far the head's motion takes points of the portrait, in distances between the eyes."""
    x, y = points
    inside = (x / 1.35) ** 2 + ((y + 0.05) / 1.75) ** 2
    depth = 1.1 * np.sqrt(np.clip(1 - inside, 0.0, None) + 0.02)
    depth += 0.35 * np.exp(-((x / 0.22) ** 2) - ((y - 0.05) / 0.35) ** 2)  # the nose
    moved = np.stack(_projected(x, y, depth - 0.9, pose)) - points
    fade = np.clip((1.35 - inside) / 0.5, 0.0, 1.0)  # the head's outline hands over to what stands still
    shift: Grid = moved * fade
    return shift


def _projected(x: Grid, y: Grid, z: Grid, pose: Pose) -> tuple[Grid, Grid]:
    """Turn points about the head's middle and project them; z points to the lens."""
    yaw, pitch = np.radians(pose.yaw), np.radians(pose.pitch)
    turned_x, turned_z = x * np.cos(yaw) + z * np.sin(yaw), z * np.cos(yaw) - x * np.sin(yaw)
    turned_y, turned_z = y * np.cos(pitch) + turned_z * np.sin(pitch), turned_z * np.cos(pitch) - y * np.sin(pitch)
    nearer, before = (CAMERA_DISTANCE / (CAMERA_DISTANCE - depth) for depth in (turned_z, z))
    # only the change counts: unmoved, the portrait is its own picture
    return x + (turned_x * nearer - x * before) + pose.right, y + (turned_y * nearer - y * before) + pose.down


def _drawn(portrait: Pixels, x: Grid, y: Grid) -> Pixels:
    drawn = cv2.remap(
        portrait, x.astype(np.float32), y.astype(np.float32), cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT_101
    )
    return np.asarray(drawn, dtype=np.uint8)
