"""Does the face of a burst move as a body in space does, or as a picture on a flat surface?

Corners of the face and of what surrounds it are followed through the burst (Lucas and Kanade's optical flow, as in
Bouguet's pyramidal form, forward and back). A plane moves by one homography (Hartley and Zisserman, "Multiple View
Geometry", 2nd ed., 13.1), so two things betray a picture that is held to a camera which itself stands still:

- *surroundings*: the homography of the face also carries the surroundings, although the face moved;
- *relief*: the face bends more than a turn and a zoom explain, and a homography explains all of it.

Measured, with false alarms: docs/liveness.md. Neither tells a picture that only shifts a little before a background of
its own, a bent or cut-out mask, or a video of a living head on a display that stands still.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from biometrics.types import Face, FloatArray, Pixels
from liveness.cue import Cue

Mask = NDArray[np.bool_]
Points = FloatArray
"""n x 2, (x, y) in pixels of the working image."""

WINDOW: Final = 256
"""Side of the working image in pixels. All distances here are in it; the face box takes half of its side."""

CONTEXT: Final = 2.0
LEAST_MOTION: Final = 0.06
"""A head that moves less through a whole burst stands still as only a picture does."""

SURROUNDINGS_MOTION: Final = 3.0
SURROUNDINGS_ERROR: Final = 0.15
"""The face moves by at least so much, and its homography misses the surroundings by less than this part of it."""

RELIEF_BEND: Final = 0.15
RELIEF_ERROR: Final = 0.35
"""The face bends by at least so much, and its homography leaves less than this part of it."""

_MOST_CORNERS: Final = 80
_FEWEST_FACE: Final = 10
_FEWEST_AROUND: Final = 12
_FLOW_WINDOW: Final = (17, 17)
_FLOW_LEVELS: Final = 4
_THERE_AND_BACK: Final = 0.5
_HOMOGRAPHY_TOLERANCE: Final = 1.5
_SIMILARITY_TOLERANCE: Final = 3.0


@dataclass(frozen=True, slots=True)
class Motion:
    """What happened between the first frame and a later one; medians over corners, in pixels of the working image.

    `face`: how far the face moved; `bend`: what the best similarity leaves of that, `flat_rest` and `flat_rest_80`:
    what the best homography leaves (median, 80th percentile); `around`: by how much that homography misses the
    surroundings, None where too few corners of theirs were followed.
    """

    face: float
    bend: float
    flat_rest: float
    flat_rest_80: float
    around: float | None


def motion_cue(motions: Sequence[Motion]) -> Cue | None:
    """Return what betrays a flat surface or a still picture, or None; no motion at all means nothing was followed."""
    if not motions:
        return None
    if max(motion.face for motion in motions) < LEAST_MOTION:
        return Cue.NO_MOTION
    farthest = max(motions, key=lambda motion: motion.face if motion.around is not None else -1.0)
    moved = farthest.around is not None and farthest.face >= SURROUNDINGS_MOTION
    if moved and farthest.around is not None and farthest.around < SURROUNDINGS_ERROR * farthest.face:
        return Cue.FLAT_SURFACE
    most_bent = max(motions, key=lambda motion: motion.bend)
    flat = most_bent.flat_rest < RELIEF_ERROR * most_bent.bend
    flat = flat and most_bent.flat_rest_80 < 2 * RELIEF_ERROR * most_bent.bend
    return Cue.FLAT_SURFACE if flat and most_bent.bend >= RELIEF_BEND else None


def follow(frames: Sequence[Pixels], face: Face) -> list[Motion]:
    """Follow the face of the first frame through the others, all of one size, in the order of capture.

    Ends where the face is lost: fewer motions than frames - 1 mean that nobody can say what happened in between.
    """
    place = _placing(face)
    lumas = [_working_image(frame, place) for frame in frames]
    on_face, around = _corners(lumas[0], _FACE), _corners(lumas[0], _AROUND)
    start = np.concatenate((on_face, around))
    of_face = np.arange(len(start)) < len(on_face)
    points, followed, motions = start, np.ones(len(start), bool), []
    for before, after in pairwise(lumas):
        if np.count_nonzero(followed & of_face) < _FEWEST_FACE:
            break
        points, found = _flow(before, after, points)
        followed &= found
        motion = _motion(start[followed], points[followed], of_face[followed])
        if motion is None:
            break
        motions.append(motion)
    return motions


def _motion(start: Points, end: Points, of_face: Mask) -> Motion | None:
    a, b = start[of_face], end[of_face]
    if len(a) < _FEWEST_FACE:
        return None
    homography, _ = cv2.findHomography(a, b, cv2.RANSAC, _HOMOGRAPHY_TOLERANCE)
    similarity, _ = cv2.estimateAffinePartial2D(a, b, ransacReprojThreshold=_SIMILARITY_TOLERANCE)
    if homography is None or similarity is None:
        return None
    plane = np.asarray(homography, np.float64)
    rest = _lengths(_carried(a, plane) - b)
    bend = _lengths(a @ similarity[:, :2].T + similarity[:, 2] - b)
    around = None
    if np.count_nonzero(~of_face) >= _FEWEST_AROUND:
        around = float(np.median(_lengths(_carried(start[~of_face], plane) - end[~of_face])))
    return Motion(
        face=float(np.median(_lengths(b - a))),
        bend=float(np.median(bend)),
        flat_rest=float(np.median(rest)),
        flat_rest_80=float(np.percentile(rest, 80)),
        around=around,
    )


def _placing(face: Face) -> FloatArray:
    """Return the 2 x 3 matrix from a frame to the working image: the face box in its middle, not turned."""
    scale = WINDOW / (CONTEXT * max(float(np.sqrt(max(face.box.area, 1.0))), 1.0))
    x, y = face.box.center
    return np.array([[scale, 0, WINDOW / 2 - scale * x], [0, scale, WINDOW / 2 - scale * y]], np.float32)


def _working_image(frame: Pixels, place: FloatArray) -> Pixels:
    scale = float(place[0, 0])
    inverse = cv2.invertAffineTransform(place)
    left, top = (int(v) for v in np.floor(inverse[:, 2]).clip(0))
    right, bottom = (int(v) for v in np.ceil(inverse @ np.array([WINDOW, WINDOW, 1.0])).clip(1))
    luma = cv2.cvtColor(np.ascontiguousarray(frame[top : bottom + 1, left : right + 1]), cv2.COLOR_RGB2GRAY)
    if scale < 0.7:  # linear sampling would skip pixels and make corners of its own
        luma = cv2.GaussianBlur(luma, (0, 0), 0.5 / scale)
    shifted = place.copy()
    shifted[:, 2] += scale * np.array([left, top], np.float32)
    return np.asarray(cv2.warpAffine(luma, shifted, (WINDOW, WINDOW), flags=cv2.INTER_LINEAR), np.uint8)


def _corners(luma: Pixels, mask: Pixels) -> Points:
    found = cv2.goodFeaturesToTrack(luma, _MOST_CORNERS, 0.01, 4, mask=mask)
    return np.zeros((0, 2), np.float32) if found is None else np.asarray(found, np.float32).reshape(-1, 2)


def _flow(before: Pixels, after: Pixels, points: Points) -> tuple[Points, Mask]:
    """Follow points from one image to the next, and say which of them come back to where they were."""
    there, seen = _one_way(before, after, points)
    back, seen_again = _one_way(after, before, there)
    return there, seen & seen_again & (_lengths(back - points) < _THERE_AND_BACK)


def _one_way(before: Pixels, after: Pixels, points: Points) -> tuple[Points, Mask]:
    start = np.ascontiguousarray(points, np.float32).reshape(-1, 1, 2)
    options = {"winSize": _FLOW_WINDOW, "maxLevel": _FLOW_LEVELS}
    there, seen, _ = cv2.calcOpticalFlowPyrLK(before, after, start, start.copy(), **options)  # type: ignore[call-overload]
    return np.asarray(there, np.float32).reshape(-1, 2), np.asarray(seen).ravel() == 1


def _carried(points: Points, plane: NDArray[np.float64]) -> Points:
    moved = cv2.perspectiveTransform(points[None].astype(np.float64), plane)[0]
    return np.asarray(moved, np.float32)


def _lengths(vectors: FloatArray) -> FloatArray:
    return np.asarray(np.linalg.norm(vectors, axis=1), np.float32)


def _masks() -> tuple[Pixels, Pixels]:
    """Return where corners of the face and of its surroundings are looked for; between the two lies a gap."""
    face = np.zeros((WINDOW, WINDOW), np.uint8)
    middle, axes = (WINDOW // 2, WINDOW // 2), (int(WINDOW / CONTEXT * 0.38), int(WINDOW / CONTEXT * 0.48))
    cv2.ellipse(face, middle, axes, 0, 0, 360, 255, -1)
    return face, np.asarray(255 - cv2.dilate(face, np.ones((25, 25), np.uint8)), np.uint8)


_FACE, _AROUND = _masks()
