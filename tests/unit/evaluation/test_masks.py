from __future__ import annotations

import numpy as np
import pytest

from biometrics.types import Pixels
from evaluation.attacks import folds
from evaluation.masks import Cut, Sitter, worn_attack_placed

LANDMARKS = np.array([[40, 50], [80, 50], [60, 75], [45, 95], [75, 95]], np.float32)


def sitter(color: tuple[int, int, int]) -> Sitter:
    """Somebody of one flat color, so that paper and skin are told apart by it."""
    return Sitter(np.broadcast_to(np.array(color, np.uint8), (120, 120, 3)).copy(), LANDMARKS)


VICTIM, WEARER = sitter((230, 40, 40)), sitter((40, 230, 40))


def paper(picture: Pixels) -> np.ndarray:
    """Where the victim's red outweighs the wearer's green."""
    return np.asarray(picture[..., 0].astype(int) > picture[..., 1])


@pytest.mark.parametrize("cut", ["cutout", "partial_mask"])
@pytest.mark.parametrize("seed", range(6))
def test_part_of_the_face_is_paper_and_the_rest_is_the_wearer(cut: Cut, seed: int) -> None:
    placed = worn_attack_placed(cut, VICTIM, WEARER, np.random.default_rng(seed), pixels=240)
    assert placed.pixels.shape == (240, 240, 3)
    where = paper(placed.pixels)
    assert 0.02 < where.mean() < 0.98
    again = worn_attack_placed(cut, VICTIM, WEARER, np.random.default_rng(seed), pixels=240)
    np.testing.assert_array_equal(again.pixels, placed.pixels)


@pytest.mark.parametrize("seed", range(6))
def test_a_cutout_leaves_the_wearers_eyes_free(seed: int) -> None:
    placed = worn_attack_placed("cutout", VICTIM, WEARER, np.random.default_rng(seed), pixels=240)
    free = ~paper(placed.pixels)
    for x, y in LANDMARKS[:2] * 2:  # the scene is twice as large as the picture
        near = free[int(y) - 20 : int(y) + 21, int(x) - 24 : int(x) + 25]
        assert near.mean() > 0.1


def test_the_wearers_points_are_where_the_matrix_says() -> None:
    placed = worn_attack_placed("partial_mask", VICTIM, WEARER, np.random.default_rng(0), pixels=240)
    np.testing.assert_allclose(placed.matrix @ (60, 75, 1), (120, 150, 1))


def test_landmarks_in_one_point_are_no_error() -> None:
    nobody = Sitter(VICTIM.pixels, np.full((5, 2), 60, np.float32))
    assert worn_attack_placed("cutout", nobody, WEARER, np.random.default_rng(0), pixels=64).pixels.shape == (64, 64, 3)


def test_folds_change_the_light_and_never_turn_it_off() -> None:
    y, x = np.mgrid[0:50, 0:50].astype(np.float32)
    lights = [folds(x, y, (50, 50), np.random.default_rng(seed)) for seed in range(20)]
    assert any(np.ptp(light) > 0.05 for light in lights)
    assert all(light.min() > 0.4 and light.max() < 1.8 for light in lights)
