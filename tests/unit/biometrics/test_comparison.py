from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from biometrics.card import ModelCard, OperatingPoint
from biometrics.comparison import cosine, identification_rate, mean_template, threshold_at
from biometrics.errors import ModelUnusable
from biometrics.types import EMBEDDING_SIZE, Template
from infra.models import find_card


def template(seed: int) -> Template:
    vector = np.random.default_rng(seed).normal(size=EMBEDDING_SIZE)
    return Template((vector / np.linalg.norm(vector)).astype(np.float32))


def card_with(*points: tuple[float, float]) -> ModelCard:
    card, _ = find_card("embedder", "mobilefacenet512")
    operating_points = tuple(OperatingPoint(rate=rate, threshold=threshold) for rate, threshold in points)
    return card.model_copy(update={"operating_points": operating_points})


CARD_POINTS = ((1e-4, 0.45), (1e-2, 0.29), (1e-3, 0.38))


@given(st.integers(0, 1000), st.integers(0, 1000))
def test_cosine_is_symmetric_bounded_and_one_with_itself(a: int, b: int) -> None:
    assert cosine(template(a), template(b)) == cosine(template(b), template(a))
    assert -1 <= cosine(template(a), template(b)) <= 1
    assert cosine(template(a), template(a)) == pytest.approx(1, abs=1e-6)


@given(st.lists(st.integers(0, 1000), min_size=1, max_size=5))
def test_the_mean_is_closer_to_all_parts_together_than_any_part_is(seeds: list[int]) -> None:
    parts = [template(seed) for seed in seeds]
    mean = mean_template(parts)
    assert np.linalg.norm(mean.vector) == pytest.approx(1, abs=1e-5)
    closeness = [sum(cosine(center, part) for part in parts) for center in [mean, *parts]]
    assert closeness[0] >= max(closeness[1:]) - 1e-5


def test_the_mean_of_one_is_a_copy() -> None:
    one = template(1)
    mean = mean_template([one])
    one.zero()
    assert np.linalg.norm(mean.vector) == pytest.approx(1, abs=1e-5)


def test_templates_that_cancel_out_or_are_missing_have_no_mean() -> None:
    with pytest.raises(ModelUnusable):
        mean_template([template(1), Template(-template(1).vector)])
    with pytest.raises(ValueError, match="needs a template"):
        mean_template([])


def test_thresholds_at_the_measured_points_are_those_of_the_card() -> None:
    card = card_with(*CARD_POINTS)
    for rate, threshold in CARD_POINTS:
        assert threshold_at(card, rate) == pytest.approx(threshold)


@given(st.floats(1e-4, 0.999), st.floats(1e-4, 0.999))
def test_a_stricter_rate_never_lowers_the_threshold(a: float, b: float) -> None:
    card = card_with(*CARD_POINTS)
    strict, loose = sorted((a, b))
    assert threshold_at(card, strict) >= threshold_at(card, loose)
    assert 0.29 <= threshold_at(card, a) <= 0.45


def test_interpolation_is_linear_in_the_logarithm() -> None:
    assert threshold_at(card_with(*CARD_POINTS), math.sqrt(1e-3 * 1e-4)) == pytest.approx((0.38 + 0.45) / 2)


@pytest.mark.parametrize("rate", [9.9e-5, 1e-9, 0.0, -1.0, math.nan])
def test_a_rate_that_nobody_measured_is_refused(rate: float) -> None:
    with pytest.raises(ModelUnusable, match="never extrapolated"):
        threshold_at(card_with(*CARD_POINTS), rate)


def test_a_card_without_operating_points_is_refused() -> None:
    with pytest.raises(ModelUnusable):
        threshold_at(card_with(), 1e-3)


@given(st.floats(1e-6, 0.5), st.integers(0, 100_000))
def test_the_rate_of_one_comparison_gives_that_of_the_search(fpir: float, size: int) -> None:
    rate = identification_rate(fpir, size)
    assert 1 - (1 - rate) ** max(1, size) == pytest.approx(fpir, rel=1e-3)


@pytest.mark.parametrize("fpir", [0.0, 1.0, -0.1, math.nan])
def test_an_impossible_search_rate_is_refused(fpir: float) -> None:
    with pytest.raises(ValueError, match="between 0 and 1"):
        identification_rate(fpir, 10)
