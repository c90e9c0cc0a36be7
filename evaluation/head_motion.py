"""A photograph lifted to a simple head, and rendered as it turns and comes closer; and the same photograph as a sheet.

The head is half an ellipsoid with a nose on it, painted with the photograph. Each pixel looks along its ray for the
first point of that surface (ray marching through a height field), so that the nose hides what lies behind it and a
cheek turns away as it should; unmoved, the picture is the photograph again. What is around the head stands still.
A simulation: no hair in space, no jaw, no expression, no blinking, no light that changes with the turn.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from biometrics.types import FloatArray, Pixels

Grid = NDArray[np.float32]

CAMERA_DISTANCE: Final = 14.0
"""From the lens to the head, in distances between the eyes: about 90 cm."""

HEAD_WIDTH, HEAD_HEIGHT, HEAD_DEPTH = 1.35, 1.9, 1.2
"""Semi-axes of the ellipsoid, in distances between the eyes."""

NOSE_DEPTH: Final = 0.35
SIDE: Final = 0.3
"""The outer part of the head, by the square of its half width, that a photograph from the front sees from aside."""

CANVAS: Final = 5.0
"""Side of the rendered picture, in distances between the eyes."""

_STEPS: Final = 28
_CELLS: Final = 64
"""Resolution of the table of heights: cells for each distance between the eyes."""


@dataclass(frozen=True, slots=True)
class Pose:
    """Degrees of `yaw` (positive: toward the image's right) and `pitch`; shifts in distances between the eyes.

    `nearer` is how far toward the lens.
    """

    yaw: float = 0.0
    pitch: float = 0.0
    right: float = 0.0
    down: float = 0.0
    nearer: float = 0.0


@dataclass(frozen=True)
class Head:
    """One photograph, scaled so that `eye` pixels lie between the eyes, cut out around the face; `side` x `side`."""

    texture: Pixels
    eye: float

    @classmethod
    def lifted(cls, photograph: Pixels, landmarks: FloatArray, *, eye: float = 48.0) -> Head:
        """Lift a photograph by its five landmarks (5 x 2); what lies past its border is its border's color."""
        points = landmarks.astype(np.float64)
        middle = (points[:2].mean(axis=0) + points[3:].mean(axis=0)) / 2
        height = float(np.linalg.norm(points[3:].mean(axis=0) - points[:2].mean(axis=0)))
        unit = max(float(np.linalg.norm(points[1] - points[0])), 0.9 * height, 1.0)
        scale, side = eye / unit, round(CANVAS * eye)
        source = photograph
        if scale < 0.7:  # linear sampling would skip pixels
            source = np.asarray(cv2.GaussianBlur(photograph, (0, 0), 0.5 / scale), np.uint8)
        place = np.array([[scale, 0, side / 2 - scale * middle[0]], [0, scale, side / 2 - scale * middle[1]]])
        cut = cv2.warpAffine(source, place, (side, side), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        return cls(np.asarray(cut, np.uint8), eye)

    @property
    def side(self) -> int:
        """Width and height of what is rendered, in pixels."""
        return int(self.texture.shape[0])

    def turned(self, pose: Pose) -> Pixels:
        """Render the head as a body in space, before what stands still around it."""
        origin, rays = self._rays(pose)
        x, y, z, on_head = _first_hit(origin, rays)
        before = CAMERA_DISTANCE / (CAMERA_DISTANCE - z)
        map_x, map_y = (x * before * self.eye + self.side / 2, y * before * self.eye + self.side / 2)
        painted, smooth = (
            cv2.remap(texture, map_x, map_y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101)
            for texture in (self.texture, self._smooth)
        )
        # What the photograph saw only from aside would be drawn out to stripes, in which a detector may find faces.
        aside = np.clip(1 - (1 - (x / HEAD_WIDTH) ** 2 - (y / HEAD_HEIGHT) ** 2) / SIDE, 0, 1)[:, :, None]
        turned = np.float32(min(abs(pose.yaw) / 10, 1.0))  # unmoved, the picture is the photograph
        painted = painted * (1 - turned * aside) + smooth * (turned * aside)
        alpha = cv2.GaussianBlur(on_head, (0, 0), 0.03 * self.eye)[:, :, None]
        return np.asarray(painted * alpha + self._background * (1 - alpha) + 0.5, np.uint8)

    def sheet(self, pose: Pose) -> Pixels:
        """Render the photograph as a flat sheet that is held in the same pose."""
        corners = np.array([[-2, -2, 0], [2, -2, 0], [2, 2, 0], [-2, 2, 0]], np.float64)
        there = corners @ _rotation(pose).T + np.array([pose.right, pose.down, pose.nearer])
        there = there[:, :2] * (CAMERA_DISTANCE / (CAMERA_DISTANCE - there[:, 2:]))
        half = self.side / 2
        matrix = cv2.getPerspectiveTransform(
            (corners[:, :2] * self.eye + half).astype(np.float32), (there * self.eye + half).astype(np.float32)
        )
        moved = cv2.warpPerspective(self.texture, matrix, (self.side, self.side), borderValue=(110, 110, 110))
        return np.asarray(moved, np.uint8)

    def _rays(self, pose: Pose) -> tuple[NDArray[np.float64], Grid]:
        """Return the lens and each pixel's direction in the head's own axes; a ray leaves the lens with z = -1."""
        turn = _rotation(pose)
        lens = turn.T @ (np.array([0.0, 0.0, CAMERA_DISTANCE]) - [pose.right, pose.down, pose.nearer])
        axis = ((np.arange(self.side, dtype=np.float32) - self.side / 2) / self.eye).astype(np.float32)
        u, v = np.meshgrid(axis, axis)
        world = np.stack((u, v, np.full_like(u, -CAMERA_DISTANCE)), axis=-1)
        rays = world @ turn.astype(np.float32)
        return lens, np.asarray(rays / -rays[..., 2:], np.float32)

    @cached_property
    def _smooth(self) -> Pixels:
        return np.asarray(cv2.GaussianBlur(self.texture, (0, 0), 0.3 * self.eye), np.uint8)

    @cached_property
    def _background(self) -> Grid:
        """What is behind the head: around it as it was, within it its surroundings, blurred."""
        axis = (np.arange(self.side) - self.side / 2) / self.eye
        outside = ((axis[None] / HEAD_WIDTH) ** 2 + (axis[:, None] / HEAD_HEIGHT) ** 2 >= 1.05).astype(np.float32)
        weight = cv2.GaussianBlur(outside, (0, 0), 0.5 * self.eye)[:, :, None] + 1e-4
        spread = cv2.GaussianBlur(self.texture * outside[:, :, None], (0, 0), 0.5 * self.eye) / weight
        soft = cv2.GaussianBlur(outside, (0, 0), 0.05 * self.eye)[:, :, None]
        return np.asarray(self.texture * soft + spread * (1 - soft), np.float32)


def _rotation(pose: Pose) -> NDArray[np.float64]:
    """Return the matrix that turns the head's axes (right, down, toward the lens): pitch first, then yaw."""
    yaw, pitch = np.radians(pose.yaw), np.radians(pose.pitch)
    about_y = np.array([[np.cos(yaw), 0, np.sin(yaw)], [0, 1, 0], [-np.sin(yaw), 0, np.cos(yaw)]])
    about_x = np.array([[1, 0, 0], [0, np.cos(pitch), np.sin(pitch)], [0, -np.sin(pitch), np.cos(pitch)]])
    return np.asarray(about_y @ about_x, np.float64)


def _first_hit(origin: NDArray[np.float64], rays: Grid) -> tuple[Grid, Grid, Grid, Grid]:
    """Return x, y, z of the first point of the head on each ray, and where there is one (1) or none (0)."""
    top, bottom = float(_HEIGHTS.max()) + 0.02, 0.0
    step = (top - bottom) / _STEPS
    x0, y0 = (np.float32(origin[i]) + rays[..., i] * np.float32(origin[2] - top) for i in (0, 1))
    depth = np.full(x0.shape, top - bottom, np.float32)
    found = np.zeros(x0.shape, bool)
    for number in range(1, _STEPS + 1):
        down = np.float32(number * step)
        under = ~found & (_height(x0 + rays[..., 0] * down, y0 + rays[..., 1] * down) >= top - down)
        depth[under] = down
        found |= under
    low, high = depth - np.float32(step), depth
    for _ in range(4):  # between two steps, by bisection
        middle = np.asarray((low + high) / 2, np.float32)
        under = _height(x0 + rays[..., 0] * middle, y0 + rays[..., 1] * middle) >= top - middle
        high, low = np.where(under, middle, high), np.where(under, low, middle)
    return x0 + rays[..., 0] * high, y0 + rays[..., 1] * high, top - high, found.astype(np.float32)


def _height(x: Grid, y: Grid) -> Grid:
    middle = _HEIGHTS.shape[0] / 2
    column, row = x * _CELLS + np.float32(middle), y * _CELLS + np.float32(middle)
    return np.asarray(cv2.remap(_HEIGHTS, column, row, cv2.INTER_LINEAR, borderValue=-1.0), np.float32)


def _heights() -> Grid:
    """Return how far the head stands out over each point of the picture; -1 beside it."""
    axis = np.linspace(-CANVAS / 2, CANVAS / 2, round(CANVAS * _CELLS), endpoint=False)
    x, y = np.meshgrid(axis, axis)
    rest = 1 - (x / HEAD_WIDTH) ** 2 - (y / HEAD_HEIGHT) ** 2
    height = HEAD_DEPTH * np.sqrt(np.clip(rest, 0, None))
    height += NOSE_DEPTH * np.exp(-((x / 0.25) ** 2) - ((y - 0.12) / 0.35) ** 2)
    # what is measured from is the plane of eyes and mouth, about which the head turns well behind
    return np.asarray(np.where(rest > 0, height, -1.0), np.float32)


_HEIGHTS: Final = _heights()
