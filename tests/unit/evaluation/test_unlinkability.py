"""D_sys on distributions whose answer is known, and rotations that are found again."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evaluation.unlinkability import linked_after, local_linkability, rotation_from_pairs, unlinkability

RNG = np.random.default_rng(24745)


def test_scores_that_never_meet_are_fully_linkable() -> None:
    assert local_linkability(RNG.uniform(0.6, 0.9, 2000), RNG.uniform(-0.2, 0.3, 2000)).d_sys == pytest.approx(1.0)


def test_scores_of_one_distribution_are_at_the_floor_of_shuffled_labels() -> None:
    found = unlinkability(RNG.normal(size=3000), RNG.normal(size=3000))
    assert found.d_sys < found.shuffled_p95 * 1.2
    assert 0.02 < found.shuffled < found.shuffled_p95 < 0.15, "histograms of finitely many scores never agree"


def test_d_sys_is_the_integral_of_its_definition() -> None:
    """Uniform on [0, 1] against [0.5, 1.5]: D is 1 on the first half of the mated scores and 0 on the rest."""
    found = local_linkability(RNG.uniform(0, 1, 200_000), RNG.uniform(0.5, 1.5, 200_000))
    assert found.d_sys == pytest.approx(0.5, abs=0.02)
    low = found.edges[1:] < 0.5
    assert found.local[low].min() == pytest.approx(1.0)


COSINES = st.lists(st.integers(-1000, 1000).map(lambda n: n / 1000), min_size=1, max_size=60)


@given(COSINES, COSINES)
def test_d_lies_between_0_and_1(mated: list[float], others: list[float]) -> None:
    found = local_linkability(np.array(mated), np.array(others))
    assert ((found.local >= 0) & (found.local <= 1)).all()
    assert -1e-9 <= found.d_sys <= 1 + 1e-9


def test_both_kinds_are_needed() -> None:
    with pytest.raises(ValueError, match="needed"):
        local_linkability(np.array([]), np.array([0.1]))


def templates(count: int, dimensions: int = 16) -> np.ndarray:
    vectors = RNG.normal(size=(count, dimensions))
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def test_a_rotation_is_found_from_as_many_known_pairs_as_it_has_dimensions() -> None:
    rotation = np.linalg.qr(RNG.normal(size=(16, 16)))[0].astype(np.float32)
    known, targets = templates(16), templates(200)
    np.testing.assert_allclose(rotation_from_pairs(known, known @ rotation), rotation, atol=1e-4)
    few, enough = linked_after((known, known @ rotation), (targets, targets @ rotation), pairs=(4, 16), at=0.9)
    assert few < 0.5
    assert enough == 1.0
