from __future__ import annotations

import numpy as np
import pytest

from biometrics.mtcnn import MtcnnDetector
from biometrics.types import Box, Face, Pixels
from infra.models import build_detector
from infra.settings import Settings
from training.pad_augment import augmented
from training.pad_simulation import SIMULATED, Portrait, Species, capture, cut_portrait, moved_face


@pytest.fixture(scope="module")
def detector() -> MtcnnDetector:
    return build_detector(Settings())


@pytest.fixture
def living(detector: MtcnnDetector, astronaut: Pixels) -> Portrait:
    return Portrait(astronaut, detector.detect(astronaut)[0])


@pytest.fixture
def other(detector: MtcnnDetector, grace_hopper: Pixels) -> Portrait:
    return Portrait(grace_hopper, detector.detect(grace_hopper)[0])


def apart(one: Face, two: Face) -> float:
    """How far two faces' landmarks lie apart, in widths of the face."""
    return float(np.linalg.norm(one.landmarks - two.landmarks, axis=1).mean()) / one.box.width


@pytest.mark.parametrize("species", ["bona_fide", *SIMULATED])
def test_a_simulated_capture_shows_a_face_where_it_says(
    living: Portrait, other: Portrait, detector: MtcnnDetector, species: Species
) -> None:
    found = 0
    for seed in range(4):
        taken = capture(cut_portrait(living, np.random.default_rng(seed)), other, species, np.random.default_rng(seed))
        seen = detector.detect(taken.pixels)
        found += any(apart(taken.face, face) < 0.25 for face in seen)
    assert found >= 3


@pytest.mark.parametrize("seed", range(5))
def test_a_changed_picture_still_shows_the_face_where_it_says(
    living: Portrait, detector: MtcnnDetector, seed: int
) -> None:
    changed = augmented(living, 0.6, np.random.default_rng(seed))
    assert changed.pixels.dtype == np.uint8
    assert min(apart(changed.face, face) for face in detector.detect(changed.pixels)) < 0.15
    assert changed.face.landmarks[0, 0] < changed.face.landmarks[1, 0]  # also in the mirror the left eye is left


def test_a_moved_face_keeps_its_shape_and_goes_where_the_matrix_says() -> None:
    face = Face(Box(10, 20, 30, 40), 0.9, np.array([[15, 30], [35, 30], [25, 40], [18, 50], [32, 50]], np.float32))
    moved = moved_face(face, np.array([[2.0, 0, 5], [0, 2, -3], [0, 0, 1]]))
    assert (moved.box.x, moved.box.y, moved.box.width, moved.box.height) == pytest.approx((25, 37, 60, 80))
    np.testing.assert_allclose(moved.landmarks, face.landmarks * 2 + (5, -3))
