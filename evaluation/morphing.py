"""Morphs: one face made of two people's, which both of them may pass with.

Landmark-based, as in Scherhag et al., "Biometric Systems under Morphing Attacks: Assessment of Morphing Techniques and
Vulnerability Reporting", BIOSIG 2017: both faces are bent, triangle by triangle, so that their landmarks lie halfway,
and averaged. That paper also gives the rate: a morph has succeeded when every contributor matches it (MMPMR).
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from biometrics.alignment import ALIGNED_SIZE, ARCFACE_TEMPLATE, align, umeyama
from biometrics.types import FloatArray, Pixels

LAST = ALIGNED_SIZE - 1
BORDER: FloatArray = np.array([[x, y] for x in (0, LAST / 2, LAST) for y in (0, LAST / 2, LAST)], np.float32)[
    [0, 1, 2, 3, 5, 6, 7, 8]
]
"""Eight points around the aligned face, which stay where they are."""

Rows = NDArray[np.intp]


def morph(first: tuple[Pixels, FloatArray], second: tuple[Pixels, FloatArray]) -> Pixels:
    """Return the aligned morph, 112 x 112 RGB, of two photographs, each with its 5 x 2 landmarks."""
    faces, points = zip(*(_aligned(*contributor) for contributor in (first, second)), strict=True)
    middle = np.stack(points).mean(axis=0)
    bent = np.stack([_bent(face, own, middle) for face, own in zip(faces, points, strict=True)])
    return np.asarray(bent.mean(axis=0).round(), np.uint8)


def _aligned(image: Pixels, landmarks: FloatArray) -> tuple[Pixels, FloatArray]:
    """Return the aligned face and its 13 control points in it."""
    transform = umeyama(landmarks, ARCFACE_TEMPLATE)
    moved = landmarks @ transform[:, :2].T + transform[:, 2]
    return align(image, landmarks), np.concatenate((moved.clip(1, LAST - 1), BORDER)).astype(np.float32)


def _bent(face: Pixels, own: FloatArray, wanted: FloatArray) -> Pixels:
    """Bend a face so that its control points come to lie where they are wanted; linear within each triangle."""
    result = face.copy()
    for corners in _triangles(wanted):
        transform = cv2.getAffineTransform(own[corners], wanted[corners])
        moved = cv2.warpAffine(face, transform, face.shape[1::-1], borderMode=cv2.BORDER_REPLICATE)
        mask = np.zeros(face.shape[:2], np.uint8)
        cv2.fillConvexPoly(mask, wanted[corners].round().astype(np.int32), 1)
        result[mask > 0] = moved[mask > 0]
    return result


def _triangles(points: FloatArray) -> list[Rows]:
    """Return the Delaunay triangles of n x 2 points as rows of three."""
    division = cv2.Subdiv2D((0, 0, ALIGNED_SIZE, ALIGNED_SIZE))
    division.insert([(float(x), float(y)) for x, y in points])
    corners = np.array(division.getTriangleList(), np.float32).reshape(-1, 3, 2)
    inside = corners[((corners >= 0) & (corners <= LAST)).all(axis=(1, 2))]
    distances = np.linalg.norm(inside[:, :, None] - points[None, None], axis=3)
    return list(distances.argmin(axis=2))


def look_alikes(embeddings: FloatArray, people: Sequence[str], pairs: int) -> list[tuple[int, int]]:
    """Return the rows of the `pairs` most similar pairs of two people, nobody in more than one of them.

    `embeddings` n x 512 unit vectors, one for each of the n people.
    """
    cosines = embeddings @ embeddings.T
    first, second = np.triu_indices(len(people), k=1)
    taken: set[str] = set()
    found: list[tuple[int, int]] = []
    for at in np.argsort(-cosines[first, second], kind="stable"):
        a, b = int(first[at]), int(second[at])
        if people[a] != people[b] and not {people[a], people[b]} & taken:
            taken |= {people[a], people[b]}
            found.append((a, b))
            if len(found) == pairs:
                break
    return found
