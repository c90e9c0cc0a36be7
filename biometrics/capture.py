"""From one photograph to one sample: exactly one face, aligned and judged."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from biometrics.alignment import align
from biometrics.errors import UnusableFace
from biometrics.ports import FaceDetector
from biometrics.quality import QualityPolicy, assess_quality
from biometrics.types import Face, Pixels, QualityCode, SampleQuality

COMPANION_SIZE: Final = 0.5
"""A second face counts when it is at least this high in relation to the largest one, ..."""

COMPANION_SCORE: Final = 0.9
"""... and the detector is at least this sure of it; below, its finds are often no faces."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One face out of one photograph; `aligned` is 112 x 112 x 3, `quality` says what is wrong with it."""

    face: Face
    aligned: Pixels = field(repr=False)
    quality: SampleQuality


def only_face(faces: Sequence[Face]) -> Face:
    """Return the one face in front of the camera: the largest.

    Raises `UnusableFace` (`face_not_found`) without faces, and (`multiple_faces`) if another one could be the
    person meant: at least half as high, and found with a score of 0.9 or more. Smaller ones stand well behind
    (twice the distance) or are no faces; they are ignored, so that they can neither open nor block the gate:
    only the largest face is ever compared.
    """
    main = largest_face(faces)
    for other in faces:
        companion = other.box.height >= COMPANION_SIZE * main.box.height and other.score >= COMPANION_SCORE
        if other is not main and companion:
            raise UnusableFace("There is more than one face.", code=QualityCode.MULTIPLE_FACES)
    return main


def largest_face(faces: Sequence[Face]) -> Face:
    """Return the face with the largest box; raise `UnusableFace` if there is none."""
    if not faces:
        raise UnusableFace("There is no face.", code=QualityCode.FACE_NOT_FOUND)
    return max(faces, key=lambda face: face.box.area)


def center_face(faces: Sequence[Face], shape: tuple[int, ...]) -> Face:
    """Return the face whose middle is nearest the middle of an image of this shape (height, width, ...).

    Raises `UnusableFace` if there is none.
    """
    if not faces:
        raise UnusableFace("There is no face.", code=QualityCode.FACE_NOT_FOUND)
    middle = (shape[1] / 2, shape[0] / 2)
    return min(faces, key=lambda face: math.dist(face.box.center, middle))


def acquire(image: Pixels, detector: FaceDetector, policy: QualityPolicy) -> Sample:
    """Detect the only face, align it and judge it.

    Raises `UnusableFace` if there is not exactly one face; other problems are in the sample's quality.
    """
    return sample_of(image, only_face(detector.detect(image)), policy)


def sample_of(image: Pixels, face: Face, policy: QualityPolicy) -> Sample:
    """Align and judge a face that was chosen already."""
    aligned = align(image, face.landmarks)
    return Sample(face, aligned, assess_quality(image, face, aligned, policy))


def zero_pixels(pixels: Pixels) -> None:
    """Overwrite an image in memory; does nothing if it is read-only."""
    if pixels.flags.writeable:
        pixels.fill(0)
