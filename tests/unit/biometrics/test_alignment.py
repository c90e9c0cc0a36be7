from __future__ import annotations

import math

import cv2
import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from biometrics.alignment import ARCFACE_TEMPLATE, align, umeyama
from biometrics.comparison import cosine
from biometrics.embedding import ArcFaceEmbedder
from biometrics.mtcnn import MtcnnDetector
from biometrics.types import FloatArray, Pixels


def similarity(scale: float, angle: float, shift: tuple[float, float]) -> FloatArray:
    cos, sin = scale * math.cos(angle), scale * math.sin(angle)
    return np.array([[cos, -sin, shift[0]], [sin, cos, shift[1]]], np.float32)


def move(points: FloatArray, transform: FloatArray) -> FloatArray:
    return points @ transform[:, :2].T + transform[:, 2]


angles = st.floats(-math.pi, math.pi)
shifts = st.tuples(st.floats(-500, 500), st.floats(-500, 500))


@given(st.floats(0.05, 20), angles, shifts)
def test_a_known_similarity_is_recovered(scale: float, angle: float, shift: tuple[float, float]) -> None:
    known = similarity(scale, angle, shift)
    found = umeyama(ARCFACE_TEMPLATE, move(ARCFACE_TEMPLATE, known))
    np.testing.assert_allclose(found[:, :2], known[:, :2], atol=1e-4 * (1 + scale))
    np.testing.assert_allclose(move(ARCFACE_TEMPLATE, found), move(ARCFACE_TEMPLATE, known), atol=1e-2 * (1 + scale))


@given(
    st.lists(st.tuples(st.floats(-9, 9), st.floats(-9, 9)), min_size=5, max_size=5),
    st.floats(0.9, 1.1),
    st.floats(-0.1, 0.1),
)
def test_no_nearby_similarity_fits_better(points: list[tuple[float, float]], scale: float, angle: float) -> None:
    source = np.array(points, np.float32) + ARCFACE_TEMPLATE
    best = umeyama(source, ARCFACE_TEMPLATE)
    other = best.copy()
    other[:, :2] = similarity(scale, angle, (0, 0))[:, :2] @ best[:, :2]
    error = np.square(move(source, best) - ARCFACE_TEMPLATE).sum()
    assert error <= np.square(move(source, other) - ARCFACE_TEMPLATE).sum() + 1e-2


def test_mirrored_points_are_fitted_without_mirroring() -> None:
    transform = umeyama(ARCFACE_TEMPLATE * np.array([-1, 1], np.float32), ARCFACE_TEMPLATE)
    assert np.linalg.det(transform[:, :2]) > 0


def test_coinciding_points_do_no_harm(astronaut: Pixels) -> None:
    aligned = align(astronaut, np.full((5, 2), 100, np.float32))
    assert aligned.shape == (112, 112, 3)


def test_a_face_in_place_already_stays_as_it_is(astronaut: Pixels) -> None:
    cut = np.ascontiguousarray(astronaut[50:162, 160:272])
    np.testing.assert_array_equal(align(cut, ARCFACE_TEMPLATE), cut)


def test_landmarks_come_to_the_template(detector: MtcnnDetector, hopper: Pixels) -> None:
    (face,) = detector.detect(hopper)
    (again,) = detector.detect(cv2.copyMakeBorder(align(hopper, face.landmarks), *[30] * 4, cv2.BORDER_REFLECT))
    assert np.linalg.norm(again.landmarks - 30 - ARCFACE_TEMPLATE, axis=1).max() < 8


def test_shrinking_keeps_landmarks_on_the_template() -> None:
    """White dots at the landmarks of a large face land where the template says, for any block size."""
    for scale in (2.3, 3.0, 4.7, 6.5):
        landmarks = move(ARCFACE_TEMPLATE, similarity(scale, 0.2, (150, 40)))
        image = np.zeros((1000, 1000, 3), np.uint8)
        for x, y in landmarks:
            cv2.circle(image, (round(float(x)), round(float(y))), int(2 * scale), (255, 255, 255), -1)
        aligned = align(image, landmarks)[..., 0]
        for x, y in ARCFACE_TEMPLATE:
            left, top = int(x) - 8, int(y) - 8
            patch = aligned[top : top + 17, left : left + 17].astype(float)
            rows, columns = np.indices(patch.shape)
            found = (left + (patch * columns).sum() / patch.sum(), top + (patch * rows).sum() / patch.sum())
            assert math.dist(found, (x, y)) < 0.35


def test_a_face_at_the_edge_of_the_image_is_aligned(astronaut: Pixels) -> None:
    landmarks = ARCFACE_TEMPLATE * 5 - 260
    assert align(astronaut, landmarks).shape == (112, 112, 3)
    assert align(astronaut, landmarks - 5000).max() == 0


def test_averaging_brings_a_large_noisy_face_closer_to_the_original(
    detector: MtcnnDetector, embedder: ArcFaceEmbedder, astronaut: Pixels
) -> None:
    (face,) = detector.detect(astronaut)
    large = cv2.resize(astronaut, None, fx=4, fy=4, interpolation=cv2.INTER_CUBIC)
    noisy = np.clip(large + np.random.default_rng(0).normal(0, 25, large.shape), 0, 255).astype(np.uint8)
    landmarks = ((face.landmarks + 0.5) * 4 - 0.5).astype(np.float32)
    original = embedder.embed(align(astronaut, face.landmarks))
    plain = cv2.warpAffine(noisy, umeyama(landmarks, ARCFACE_TEMPLATE), (112, 112))
    ours = cosine(embedder.embed(align(noisy, landmarks)), original)
    assert ours > 0.97
    assert ours > cosine(embedder.embed(plain), original)
