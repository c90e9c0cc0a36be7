"""Parallax and planes."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from liveness.geometry import change, displacement, mean_shape, size
from tests.unit.liveness.test_challenge import SHEET, landmarks


@given(st.floats(-65, 65), st.floats(-40, 40), st.floats(-5, 6))
def test_a_plane_has_no_parallax(yaw: float, pitch: float, nearer: float) -> None:
    seen = change(landmarks(SHEET), landmarks(SHEET, yaw=yaw, pitch=pitch, nearer=nearer))
    assert seen is not None
    assert abs(seen.turn) < 1e-3


@given(st.floats(15, 50), st.floats(-10, 10))
def test_a_head_has_parallax_toward_where_it_turns(yaw: float, pitch: float) -> None:
    left, right = (change(landmarks(), landmarks(yaw=sign * yaw, pitch=pitch)) for sign in (1, -1))
    assert left is not None
    assert right is not None
    assert left.turn > 0.1
    assert right.turn < -0.1


def test_points_without_a_plane_say_nothing() -> None:
    line = np.array([[i, i] for i in range(5)], np.float32)
    assert change(landmarks(), line) is None
    assert change(line, landmarks()) is None
    assert change(np.zeros((5, 2), np.float32), np.zeros((5, 2), np.float32)) is None


def test_size_and_displacement_are_what_they_say() -> None:
    front = landmarks()
    assert size(front * 2) == pytest.approx(2 * size(front))
    assert displacement(front, front + np.float32(6)) == pytest.approx(6 * 2**0.5 / 60, rel=1e-3)
    assert displacement(front, front) == 0
    shape = mean_shape([front, front * 3 + 7])
    assert size(shape) == pytest.approx(1, rel=1e-5)
