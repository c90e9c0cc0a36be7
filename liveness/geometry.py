"""What five landmarks tell about a head in space: how far it turned, how near it came, and what a plane cannot do.

Eyes and mouth corners lie nearly in one plane, the nose tip stands before it. So when a head turns, the nose tip leaves
the place to which the homography of the other four carries it (Hartley and Zisserman, "Multiple View Geometry", 2nd
ed., 13.3, plane and parallax); on a flat picture all five points are in one plane, and however the picture is held, it
stays there. All lengths are in distances between the eyes as they stand in that frame, or ratios.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from biometrics.types import FloatArray

Points = NDArray[np.float64]
"""5 x 2, in the order of `Face.landmarks`."""

NOSE: Final = 2
_PLANE: Final = [0, 1, 3, 4]
_SMALLEST: Final = 1e-6


@dataclass(frozen=True, slots=True)
class Change:
    """How landmarks changed from a head that faced the camera.

    `turn` is the parallax of the nose tip along the eyes, positive toward the image's right (the person's left);
    `foreshortening` the ratio of width to height of the eyes-and-mouth plane, against then: 1 is unchanged.
    """

    turn: float
    foreshortening: float


def change(front: FloatArray, now: FloatArray) -> Change | None:
    """Compare landmarks with those of the same face from the front; None where four of them make no plane."""
    a, b = front.astype(np.float64), now.astype(np.float64)
    if min(abs(_cross(p)) for p in (a, b)) < _SMALLEST:
        return None
    homography = cv2.getPerspectiveTransform(a[_PLANE].astype(np.float32), b[_PLANE].astype(np.float32))
    expected = cv2.perspectiveTransform(a[NOSE].reshape(1, 1, 2), homography)[0, 0]
    eyes = b[1] - b[0]
    turn = float((b[NOSE] - expected) @ eyes / max(float(eyes @ eyes), _SMALLEST))
    foreshortening = _slenderness(b) / max(_slenderness(a), _SMALLEST)
    return Change(turn, foreshortening) if np.isfinite([turn, foreshortening]).all() else None


def size(landmarks: FloatArray) -> float:
    """Return how large the face is: the landmarks' root mean square distance from their middle, in pixels."""
    points = landmarks.astype(np.float64)
    return float(np.sqrt(((points - points.mean(axis=0)) ** 2).sum(axis=1).mean()))


def displacement(before: FloatArray, now: FloatArray) -> float:
    """Return how far the landmark that moved most has moved, in distances between the eyes."""
    apart = np.linalg.norm(now.astype(np.float64) - before.astype(np.float64), axis=1)
    return float(apart.max()) / max(float(np.linalg.norm(before[1] - before[0])), _SMALLEST)


def mean_shape(faces: list[FloatArray]) -> FloatArray:
    """Return the mean of several landmarks of a face after shift and size were taken out: middle 0, size 1."""
    shapes = [(face - face.mean(axis=0)) / max(size(face), _SMALLEST) for face in faces]
    return np.asarray(np.mean(shapes, axis=0), np.float32)


def _slenderness(points: Points) -> float:
    """Return the distance between the eyes over that from eyes to mouth."""
    across, down = points[1] - points[0], points[3:].mean(axis=0) - points[:2].mean(axis=0)
    return float(np.linalg.norm(across) / max(float(np.linalg.norm(down)), _SMALLEST))


def _cross(points: Points) -> float:
    """Return the smallest area that three of the four points span, in relation to the face: 0 if they make no plane."""
    areas = []
    for left_out in range(4):
        a, b, c = points[[_PLANE[i] for i in range(4) if i != left_out]]
        areas.append(abs((b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0])))
    return float(min(areas) / max(float(np.ptp(points, axis=0).max()) ** 2, _SMALLEST))
