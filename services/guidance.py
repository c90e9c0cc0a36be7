"""What a person in front of a camera should do next, from one small picture of it that is forgotten at once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

import cv2

from biometrics.capture import acquire
from biometrics.errors import MalformedInput, UnusableFace
from biometrics.ports import FaceDetector
from biometrics.quality import QualityPolicy
from biometrics.records import TravelToken
from biometrics.types import Box, Face, Pixels, QualityCode
from liveness.challenge import is_frontal

NEAR: Final = 0.30
FAR: Final = 0.68
"""The face's height in the picture's height: between them it fills the oval that the page draws."""

ASIDE: Final = 0.20
"""How far the face's middle may be from the oval's, in the picture's shorter side."""


class Hint(StrEnum):
    """One instruction at a time, in the order in which a person should follow them."""

    READY = "ready"
    FACE_NOT_FOUND = "face_not_found"
    MULTIPLE_FACES = "multiple_faces"
    COME_CLOSER = "come_closer"
    STEP_BACK = "step_back"
    CENTER = "center"
    MORE_LIGHT = "more_light"
    LESS_LIGHT = "less_light"
    LOOK_STRAIGHT = "look_straight"
    HOLD_STILL = "hold_still"
    UNCOVER = "uncover"


OF_QUALITY: Final[dict[str, Hint]] = {
    QualityCode.FACE_NOT_FOUND: Hint.FACE_NOT_FOUND,
    QualityCode.MULTIPLE_FACES: Hint.MULTIPLE_FACES,
    QualityCode.FACE_TOO_SMALL: Hint.COME_CLOSER,
    QualityCode.TOO_DARK: Hint.MORE_LIGHT,
    QualityCode.TOO_BRIGHT: Hint.LESS_LIGHT,
    QualityCode.TOO_BLURRED: Hint.HOLD_STILL,
    QualityCode.EXTREME_POSE: Hint.LOOK_STRAIGHT,
    QualityCode.OCCLUDED: Hint.UNCOVER,
}


@dataclass(frozen=True, slots=True)
class Sighting:
    """What a look found: the hint, the face's box in pixels, and a travel token if its QR code is in the picture."""

    hint: Hint
    box: Box | None
    token: TravelToken | None = field(default=None, repr=False)


def look(image: Pixels, detector: FaceDetector, quality: QualityPolicy) -> Sighting:
    """Say what to do so that a capture will be good (height x width x 3, RGB)."""
    try:
        sample = acquire(image, detector, quality)
    except UnusableFace as error:
        return Sighting(OF_QUALITY[error.code], None)
    box = sample.face.box
    problems = [OF_QUALITY[problem] for problem in sample.quality.problems]
    checks: tuple[tuple[Hint, Callable[[], bool]], ...] = (
        (Hint.COME_CLOSER, lambda: Hint.COME_CLOSER in problems or box.height < NEAR * image.shape[0]),
        (Hint.STEP_BACK, lambda: box.height > FAR * image.shape[0]),
        (Hint.CENTER, lambda: _aside(sample.face, image) > ASIDE),
        *((problem, lambda: True) for problem in problems),
        (Hint.LOOK_STRAIGHT, lambda: not is_frontal(sample.face.landmarks)),
    )
    return Sighting(next((hint for hint, applies in checks if applies()), Hint.READY), box)


def read_token(image: Pixels) -> TravelToken | None:
    """Return the travel token whose QR code is in the picture; any other code is as good as none."""
    gray = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    for detector in (cv2.QRCodeDetector(), cv2.QRCodeDetectorAruco()):
        for sigma in (0.0, 1.2):  # one code in a hundred is read only when its edges are soft
            shown = cv2.GaussianBlur(gray, (0, 0), sigma) if sigma else gray
            try:
                return TravelToken.parse(detector.detectAndDecode(shown)[0])
            except MalformedInput:
                continue
    return None


def _aside(face: Face, image: Pixels) -> float:
    height, width = image.shape[:2]
    across, down = face.box.center
    return float(max(abs(across - width / 2), abs(down - height / 2)) / min(height, width))
