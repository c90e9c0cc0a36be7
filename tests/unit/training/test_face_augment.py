"""Changed faces stay faces: shape, type, repeatable, input untouched, on a real portrait."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest
import skimage.data
from hypothesis import given
from hypothesis import strategies as st

from training.face_augment import Strengths, changed, mixed, motion_kernel

ALL = replace(Strengths(*([1.0] * 11)), clean=0.0)
NONE = Strengths(*([0.0] * 11))


@pytest.fixture(scope="module")
def face() -> np.ndarray:
    return cv2.resize(skimage.data.astronaut()[20:210, 130:320], (112, 112), interpolation=cv2.INTER_AREA)


@pytest.mark.parametrize("seed", range(25))
def test_every_change_keeps_shape_type_and_input(face: np.ndarray, seed: int) -> None:
    before = face.copy()
    first = changed(face, np.random.default_rng(seed), ALL)
    again = changed(face, np.random.default_rng(seed), ALL)
    assert first.shape == (112, 112, 3)
    assert first.dtype == np.uint8
    assert np.array_equal(first, again)
    assert np.array_equal(face, before)
    assert not np.array_equal(first, face)


def test_without_any_change_a_face_is_at_most_mirrored(face: np.ndarray) -> None:
    seen = [changed(face, np.random.default_rng(seed), NONE) for seed in range(20)]
    plain = [np.array_equal(view, face) for view in seen]
    mirrored = [np.array_equal(view, face[:, ::-1]) for view in seen]
    assert all(a or b for a, b in zip(plain, mirrored, strict=True))
    assert any(plain)
    assert any(mirrored)


def test_a_mixed_face_holds_both(face: np.ndarray) -> None:
    other = np.full_like(face, 255) - face
    for seed in range(12):
        blend = mixed(face, other, np.random.default_rng(seed)).astype(int)
        low, high = np.minimum(face, other).astype(int) - 1, np.maximum(face, other).astype(int) + 1
        assert ((blend >= low) & (blend <= high)).all()
        assert not np.array_equal(blend, face)
        assert not np.array_equal(blend, other)


@given(length=st.floats(1.0, 15.0), angle=st.floats(0.0, 3.2))
def test_a_movement_loses_no_light_and_is_as_long_as_asked(length: float, angle: float) -> None:
    kernel = motion_kernel(length, angle)
    assert kernel.sum() == pytest.approx(1.0, abs=1e-5)
    rows, columns = np.nonzero(kernel)
    reach = np.hypot(np.ptp(rows), np.ptp(columns))
    assert abs(reach - (length - 1)) <= 1.5


def test_a_share_of_faces_stays_clean(face: np.ndarray) -> None:
    strengths = replace(ALL, clean=0.5)
    kept = [changed(face, np.random.default_rng(seed), strengths) for seed in range(60)]
    clean = sum(np.array_equal(one, face) or np.array_equal(one, face[:, ::-1]) for one in kept)
    assert 15 <= clean <= 45
