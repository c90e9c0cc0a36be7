import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evaluation.intervals import at_least, bootstrap, clopper_pearson


@st.composite
def binomials(draw, most=400):
    trials = draw(st.integers(1, most))
    return draw(st.integers(0, trials)), trials


@given(binomials(60), st.floats(0.001, 0.999))
def test_the_tail_equals_the_plain_sum(binomial, rate):
    errors, trials = max(1, binomial[0]), binomial[1]
    summed = math.fsum(math.comb(trials, i) * rate**i * (1 - rate) ** (trials - i) for i in range(errors, trials + 1))
    assert at_least(errors, trials, rate) == pytest.approx(summed, rel=1e-9, abs=1e-12)


@given(binomials())
def test_interval_holds_the_rate_and_each_tail_has_its_share(binomial):
    errors, trials = binomial
    low, high = clopper_pearson(errors, trials)
    assert 0 <= low <= errors / trials <= high <= 1
    if errors > 0:
        assert at_least(errors, trials, low) == pytest.approx(0.025, rel=1e-6)
    if errors < trials:
        assert 1 - at_least(errors + 1, trials, high) == pytest.approx(0.025, rel=1e-6)


@given(binomials())
def test_interval_mirrors_when_errors_and_successes_swap(binomial):
    errors, trials = binomial
    low, high = clopper_pearson(errors, trials)
    mirrored = clopper_pearson(trials - errors, trials)
    assert (1 - mirrored.high, 1 - mirrored.low) == pytest.approx((low, high), abs=1e-9)


@pytest.mark.parametrize(
    ("errors", "trials", "low", "high"),
    [  # printed by scipy.stats.beta.ppf
        (0, 150, 0.0, 0.02429259716610854),
        (1, 10, 0.0025285785444617848, 0.4450161170281954),
        (7, 150, 0.018965569634577503, 0.0937858649877965),
        (471, 4719512, 9.098834559307421e-05, 0.00010923120488395359),
    ],
)
def test_known_intervals(errors, trials, low, high):
    assert clopper_pearson(errors, trials) == pytest.approx((low, high), rel=1e-8)


def test_no_trials_say_nothing():
    assert clopper_pearson(0, 0) == (0, 1)


def test_more_errors_than_trials_are_refused():
    with pytest.raises(ValueError, match="between 0 and trials"):
        clopper_pearson(3, 2)


def test_bootstrap_of_a_mean_agrees_with_its_standard_error():
    values = np.random.default_rng(1).normal(5.0, 2.0, 400)
    [interval] = bootstrap(lambda counts: np.array([counts @ values / counts.sum()]), len(values))
    error = 1.96 * values.std() / math.sqrt(len(values))
    assert interval == pytest.approx((values.mean() - error, values.mean() + error), abs=0.05)


def test_bootstrap_repeats_itself_and_drops_what_is_never_defined():
    def statistics(counts):
        return np.array([counts[0], math.nan])

    first, second = (bootstrap(statistics, 7, replicates=50) for _ in range(2))
    assert first == second
    assert first[1] is None
