"""Guidance at the camera, on the two portraits and the real detector."""

from __future__ import annotations

import base64
from io import BytesIO

import cv2
import numpy as np
import pytest
from PIL import Image

from biometrics.quality import QualityPolicy
from biometrics.records import TravelToken
from biometrics.types import Pixels, QualityCode
from services.api.enrolling import token_qr_png
from services.bootstrap import Networks
from services.guidance import OF_QUALITY, Hint, look, read_token

WIDTH, HEIGHT = 480, 640


def framed(person: Pixels, scale: float, dx: float = 0, dy: float = 0) -> Pixels:
    """Show the astronaut's head in a phone's picture: `scale` 1 fills the oval."""
    factor = scale * 2.0
    place = np.array([[factor, 0, WIDTH / 2 - factor * 225 + dx], [0, factor, HEIGHT / 2 - factor * 120 + dy]])
    return cv2.warpAffine(person, place, (WIDTH, HEIGHT), borderMode=cv2.BORDER_REPLICATE)


@pytest.mark.parametrize(
    ("scale", "dx", "dy", "hint"),
    [
        (1.0, 0, 0, Hint.READY),
        (0.4, 0, 0, Hint.COME_CLOSER),
        (2.0, 0, 0, Hint.STEP_BACK),
        (0.9, 130, 0, Hint.CENTER),
        (0.9, 0, -140, Hint.CENTER),
    ],
)
def test_distance_and_place(
    astronaut: Pixels, networks: Networks, scale: float, dx: float, dy: float, hint: Hint
) -> None:
    seen = look(framed(astronaut, scale, dx, dy), networks.detector, QualityPolicy())
    assert seen.hint is hint
    assert seen.box is not None


def test_light_focus_and_nobody(astronaut: Pixels, networks: Networks) -> None:
    picture = framed(astronaut, 1.0)
    for changed, hint in (
        ((picture * 0.12).astype(np.uint8), Hint.MORE_LIGHT),
        (cv2.GaussianBlur(picture, (0, 0), 7), Hint.HOLD_STILL),
        (np.full((HEIGHT, WIDTH, 3), 120, np.uint8), Hint.FACE_NOT_FOUND),
        (np.hstack([framed(astronaut, 0.8)[:, 60:420]] * 2), Hint.MULTIPLE_FACES),
    ):
        assert look(changed, networks.detector, QualityPolicy()).hint is hint


def test_every_problem_of_quality_has_a_hint() -> None:
    assert set(OF_QUALITY) == set(QualityCode) - {QualityCode.ATTACK_SUSPECTED}


def test_a_token_is_read_from_a_screen_that_is_held_askew() -> None:
    token = TravelToken("0123456789abcdef" * 2, bytes(range(32)))
    code = np.asarray(Image.open(BytesIO(token_qr_png(token))).convert("RGB"))
    height, width = code.shape[:2]
    corners = np.array([[0, 0], [width, 0], [width, height], [0, height]], np.float32)
    held = np.array([[120, 150], [380, 130], [400, 410], [105, 400]], np.float32)
    picture = cv2.warpPerspective(
        code, cv2.getPerspectiveTransform(corners, held), (WIDTH, HEIGHT), borderValue=(90, 90, 90)
    )
    assert read_token(picture) == token


def test_other_codes_are_as_good_as_none(astronaut: Pixels) -> None:
    import segno

    png = BytesIO()
    segno.make("https://evil.example/" + base64.b64encode(bytes(24)).decode()).save(png, kind="png", scale=6)
    assert read_token(np.asarray(Image.open(png).convert("RGB"))) is None
    assert read_token(astronaut) is None
