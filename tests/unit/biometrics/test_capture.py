from __future__ import annotations

import numpy as np
import pytest

from biometrics.capture import acquire, center_face, largest_face, only_face, zero_pixels
from biometrics.errors import UnusableFace
from biometrics.mtcnn import MtcnnDetector
from biometrics.quality import QualityPolicy
from biometrics.types import Box, Face, Pixels
from tests.fakes import FakeFaceDetector

LANDMARKS = np.array([[38, 52], [74, 52], [56, 72], [42, 92], [71, 92]], np.float32)


def face(x: float, side: float, score: float = 0.999) -> Face:
    return Face(Box(x, 0, side, side), score, LANDMARKS * (side / 112) + np.array([x, 0], np.float32))


def test_one_face_is_the_face() -> None:
    one = face(10, 100)
    assert only_face([one]) is one


@pytest.mark.parametrize("companion", [face(200, 100), face(200, 50), face(200, 99, 0.9), face(200, 180)])
def test_a_companion_of_comparable_size_is_refused(companion: Face) -> None:
    for faces in ([face(10, 100), companion], [companion, face(10, 100)]):
        with pytest.raises(UnusableFace) as raised:
            only_face(faces)
        assert raised.value.code == "multiple_faces"


@pytest.mark.parametrize("other", [face(200, 49), face(200, 90, 0.89)])
def test_a_face_far_behind_or_doubtful_never_takes_the_place_of_the_main_one(other: Face) -> None:
    main = face(10, 100)
    assert only_face([other, main]) is main


def test_a_doubtful_but_largest_find_does_not_hide_the_sure_face() -> None:
    with pytest.raises(UnusableFace) as raised:
        only_face([face(0, 150, 0.75), face(200, 100)])
    assert raised.value.code == "multiple_faces"


@pytest.mark.parametrize("choose", [only_face, largest_face, lambda faces: center_face(faces, (100, 100, 3))])
def test_no_face_is_said_so(choose) -> None:
    with pytest.raises(UnusableFace) as raised:
        choose([])
    assert raised.value.code == "face_not_found"


def test_center_and_largest() -> None:
    left, middle = face(0, 60), face(140, 30)
    assert largest_face([middle, left]) is left
    assert center_face([left, middle], (30, 310, 3)) is middle


def test_the_portraits_side_by_side_are_two_faces(detector: MtcnnDetector, astronaut: Pixels, hopper: Pixels) -> None:
    with pytest.raises(UnusableFace) as raised:
        acquire(np.concatenate((astronaut, hopper[:512]), axis=1), detector, QualityPolicy())
    assert raised.value.code == "multiple_faces"


def test_a_sample_has_its_face_its_pixels_and_its_quality(detector: MtcnnDetector, astronaut: Pixels) -> None:
    sample = acquire(astronaut, detector, QualityPolicy())
    assert sample.aligned.shape == (112, 112, 3)
    assert sample.aligned.dtype == np.uint8
    assert sample.quality
    assert "aligned" not in repr(sample)


def test_a_black_frame_with_a_face_in_it_is_too_dark() -> None:
    black = np.zeros((300, 300, 3), np.uint8)
    sample = acquire(black, FakeFaceDetector(face(50, 150)), QualityPolicy())
    assert "too_dark" in sample.quality.problems


def test_pixels_are_overwritten() -> None:
    pixels = np.full((4, 4, 3), 7, np.uint8)
    zero_pixels(pixels)
    assert not pixels.any()
    pixels.setflags(write=False)
    zero_pixels(pixels)
