import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from evaluation.rates import (
    ACCEPT_ALL,
    REFUSED,
    PadScores,
    Support,
    VerificationScores,
    best_threshold,
    held_out_correct,
    support,
    ten_folds,
)

# Few distinct values, so that ties are common; and failures to acquire.
SCORES = arrays(np.float64, st.integers(1, 40), elements=st.sampled_from([REFUSED, *np.linspace(-1, 1, 9)]))


@given(SCORES, SCORES, st.sampled_from([0.5, 0.1, 0.01]))
def test_threshold_is_the_smallest_within_the_rate(mated, non_mated, rate):
    curve = VerificationScores(mated, non_mated).curve()
    at = curve.at_rate(rate)
    threshold = curve.thresholds[at]
    assert (non_mated >= threshold).mean() <= rate
    if threshold > ACCEPT_ALL:
        below = np.nextafter(threshold, -math.inf)
        assert (non_mated >= below).mean() > rate
    assert curve.false_rejects[at] == pytest.approx((mated < threshold).mean())


@given(SCORES, SCORES)
def test_curve_counts_what_each_threshold_accepts_and_is_monotone(mated, non_mated):
    curve = VerificationScores(mated, non_mated).curve()
    assert curve.false_accepts == pytest.approx([(non_mated >= t).mean() for t in curve.thresholds])
    assert curve.false_rejects == pytest.approx([(mated < t).mean() for t in curve.thresholds])
    assert (np.diff(curve.false_accepts) <= 0).all()
    assert (np.diff(curve.false_rejects) >= -1e-12).all()


@given(SCORES, SCORES, st.data())
def test_integer_weights_equal_repetition(mated, non_mated, data):
    counts = [data.draw(arrays(np.float64, len(s), elements=st.integers(0, 3))) for s in (mated, non_mated)]
    if not all(c.sum() for c in counts):
        return
    table = VerificationScores(mated, non_mated)
    repeated = [np.repeat(s, c.astype(int)) for s, c in zip((mated, non_mated), counts, strict=True)]
    weighted = table.curve(*counts)
    assert weighted.false_accepts == pytest.approx([(repeated[1] >= t).mean() for t in table.thresholds])
    assert weighted.false_rejects == pytest.approx([(repeated[0] < t).mean() for t in table.thresholds])


def test_tied_non_mated_scores_fall_together():
    curve = VerificationScores(np.array([0.5, 0.9]), np.array([0.5, 0.5, 0.1, 0.0])).curve()
    at = curve.at_rate(0.25)  # one of four would be allowed, but two are tied
    assert curve.false_accepts[at] == 0
    assert curve.false_rejects[at] == 0.5


def test_no_threshold_accepts_a_failure_to_acquire():
    curve = VerificationScores(np.array([REFUSED, 0.9]), np.array([REFUSED, REFUSED])).curve()
    assert curve.thresholds[0] == ACCEPT_ALL
    assert (curve.false_accepts[0], curve.false_rejects[0]) == (0, 0.5)


def test_equal_error_rate_of_known_scores():
    mated, non_mated = np.array([0.9, 0.8, 0.7, 0.2]), np.array([0.6, 0.1, 0.0, -0.1])
    assert VerificationScores(mated, non_mated).curve().equal_error_rate() == 0.25


def test_without_one_kind_nothing_is_claimed():
    curve = VerificationScores(np.array([0.9]), np.empty(0)).curve()
    assert curve.at_rate(0.01) is None
    assert math.isnan(curve.equal_error_rate())


def test_nan_is_refused():
    with pytest.raises(ValueError, match="not a number"):
        VerificationScores(np.array([math.nan]), np.array([0.1]))


@given(SCORES, st.data())
def test_best_threshold_is_best(scores, data):
    same = data.draw(arrays(np.bool_, len(scores)))
    best = ((scores >= best_threshold(scores, same)) == same).sum()
    for threshold in [ACCEPT_ALL, *np.nextafter(scores[np.isfinite(scores)], math.inf)]:
        assert ((scores >= threshold) == same).sum() <= best


def test_no_pair_chooses_its_own_threshold():
    # Within fold 1 the threshold 0.75 would be perfect; fold 0 teaches 0.45.
    scores = np.array([0.5, 0.4, 0.8, 0.7])
    same = np.array([True, False, True, False])
    correct = held_out_correct(scores, same, np.array([0, 0, 1, 1]))
    assert correct.tolist() == [False, True, True, False]


def test_one_fold_has_nothing_to_learn_from():
    assert held_out_correct(np.array([0.5]), np.array([True]), np.array([0])) is None


@given(arrays(np.bool_, st.integers(1, 200)))
def test_ten_folds_are_even_for_both_kinds(same):
    folds = ten_folds(same)
    for kind in (same, ~same):
        sizes = np.bincount(folds[kind], minlength=10)
        assert len(sizes) == 10
        assert sizes.max() - sizes.min() <= 1


@pytest.mark.parametrize(
    ("rate", "trials", "errors", "verdict"),
    [
        (1e-4, 29_999, 0, Support.UNSUPPORTED),
        (1e-4, 30_000, 0, Support.FEW_ERRORS),
        (1e-3, 1_200, 1, Support.UNSUPPORTED),
        (1e-3, 40_000, 30, Support.SUPPORTED),
    ],
)
def test_rules_of_three_and_thirty(rate, trials, errors, verdict):
    assert support(rate, trials, errors) is verdict


def test_pad_is_rated_by_its_worst_species():
    scores = PadScores(np.array([0.9, 0.8, 0.3]), {"print": np.array([0.1, 0.2]), "replay": np.array([0.85, 0.1])})
    curve = scores.curve()
    at = curve.at_rate(0.05)
    assert curve.false_accepts[at] == 0
    assert curve.false_rejects[at] == pytest.approx(2 / 3)  # replay's 0.85 must fall, and 0.8 with it


def test_species_absent_from_a_resample_do_not_count():
    scores = PadScores(np.array([0.9]), {"print": np.array([0.1]), "replay": np.array([0.95])})
    curve = scores.curve(np.ones(1), {"print": np.ones(1), "replay": np.zeros(1)})
    assert curve.equal_error_rate() == 0
