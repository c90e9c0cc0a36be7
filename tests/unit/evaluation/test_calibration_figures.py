"""What a sample supports: the rule of 3 to the last comparison, bounds where errors are few, and nothing beyond."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from biometrics.errors import MalformedInput, SampleTooSmall
from biometrics.types import EMBEDDING_SIZE
from evaluation.acquisition import Acquired
from evaluation.calibration import (
    CONFIDENCE,
    RATES,
    Basis,
    Claim,
    largest_gallery,
    measure,
    needed_pairs,
    rates_for,
    require_sample,
    scores_needed,
    smallest_rate,
)
from evaluation.comparisons import Comparisons, compare_all, compare_pairs, pairs_of_people
from evaluation.intervals import Floats, clopper_pearson
from evaluation.protocol import Pair
from evaluation.rates import Support


def sample(scores: Floats, people: int | None = None) -> Comparisons:
    """Comparisons with these non-mated scores between people two by two, or (`people`) among a few of them."""
    n = len(scores)
    order = np.argsort(-scores, kind="stable")
    if people is None:
        pairs = np.arange(2 * n).reshape(n, 2)
    else:
        every = list(itertools.combinations(range(people), 2))
        pairs = np.array([every[i % len(every)] for i in range(n)])
    first, second = pairs[order].T
    return Comparisons(
        mated=np.array([0.9, 0.5, 0.1]),
        highest=scores[order],
        first=first,
        second=second,
        n_non_mated=n,
        n_units=2 * n if people is None else people,
        n_subject_pairs=len({tuple(pair) for pair in pairs.tolist()}),
        people_known=True,
        share_subjects=people is not None,
        weigh=lambda drawn: float(drawn[first] @ drawn[second]),
    )


def uniform(n: int, seed: int = 1) -> Floats:
    return np.random.default_rng(seed).uniform(-0.2, 0.6, n)


@given(st.floats(1e-7, 0.5))
def test_refused_exactly_at_the_rule_of_3(rate: float) -> None:
    needed = needed_pairs(rate)
    require_sample(needed, rate)
    with pytest.raises(SampleTooSmall, match="rule of 3") as caught:
        require_sample(needed - 1, rate)
    assert caught.value.needed == needed
    assert needed == pytest.approx(3 / rate, abs=1)


@pytest.mark.parametrize(("rate", "needed"), [(1e-2, 300), (1e-3, 3000), (1e-4, 30_000), (1e-5, 300_000)])
def test_the_rule_of_3_in_round_numbers(rate: float, needed: int) -> None:
    assert needed_pairs(rate) == needed


@given(st.integers(4, 10**9))
def test_the_smallest_rate_that_a_refusal_names_would_be_accepted(pairs: int) -> None:
    smallest = smallest_rate(pairs)
    assert smallest is not None
    require_sample(pairs, smallest)
    assert smallest == pytest.approx(3 / pairs, rel=0.01)
    with pytest.raises(SampleTooSmall) as caught:
        require_sample(pairs, 2.9 / pairs)
    assert caught.value.smallest_rate == smallest


@pytest.mark.parametrize("pairs", range(4))
def test_three_comparisons_support_nothing(pairs: int) -> None:
    with pytest.raises(SampleTooSmall, match="support no false-match rate"):
        require_sample(pairs, 0.5)


def test_few_errors_set_the_threshold_from_the_upper_bound() -> None:
    scores = uniform(3000)
    found = {point.rate: point for point in measure(sample(scores), Claim(1e-3))}
    assert found[1e-3].basis is Basis.UPPER_BOUND
    assert found[1e-3].support is Support.FEW_ERRORS
    assert found[1e-3].false_matches == 0, "at exactly 3 / rate only a run without an error shows the rate"
    assert found[1e-3].threshold > scores.max()
    few = found[2e-3]
    assert 0 < few.false_matches < 6
    assert few.exact == clopper_pearson(few.false_matches, 3000, CONFIDENCE)
    assert few.exact.high <= 2e-3
    assert few.by_subject is not None and few.by_subject.high <= 2e-3


def test_thirty_errors_set_it_from_the_measured_rate() -> None:
    scores = uniform(3000)
    [point] = [p for p in measure(sample(scores), Claim(1e-2)) if p.rate == 1e-2]
    assert (point.basis, point.support, point.false_matches) == (Basis.MEASURED, Support.SUPPORTED, 30)
    assert point.exact.low < 1e-2 < point.exact.high
    assert (scores >= point.threshold).sum() == 30
    assert point.false_non_matches == 1 + (point.threshold > 0.5)


def test_people_in_many_comparisons_make_the_bound_wider() -> None:
    scores = np.sort(uniform(4950))[::-1]
    many = sample(scores)
    few = sample(scores, people=100)  # the highest scores are all of the first person
    rate = 5e-3
    apart, shared = ({p.rate: p for p in measure(s, Claim(rate))}[rate] for s in (many, few))
    assert apart.basis is shared.basis is Basis.UPPER_BOUND
    assert shared.threshold > apart.threshold
    assert shared.by_subject is not None and shared.by_subject.high <= rate


def test_comparing_the_same_people_again_is_no_evidence() -> None:
    with pytest.raises(SampleTooSmall, match="45 compared pairs"):
        measure(sample(uniform(100_000), people=10), Claim(1e-3))


def test_equal_scores_fall_together() -> None:
    scores = np.concatenate([np.full(200, 0.5), uniform(9800) - 0.2])
    [point] = [p for p in measure(sample(scores), Claim(1e-2)) if p.rate == 1e-2]
    assert (point.false_matches, point.basis) == (0, Basis.UPPER_BOUND)
    assert point.threshold > 0.5


@settings(max_examples=40)
@given(
    st.integers(300, 4000),
    st.integers(0, 5),
    st.floats(1e-2, 0.4),
    st.tuples(st.floats(0.01, 0.4), st.integers(1, 30)),
    st.sampled_from([None, 60, 120]),
    st.sampled_from([1, 2, 6]),
)
def test_points_are_monotone_within_the_sample_and_never_beyond(
    n: int, seed: int, fmr: float, search: tuple[float, int], people: int | None, digits: int
) -> None:
    comparisons = sample(np.round(uniform(n, seed), digits), people)
    claim = Claim(fmr, *search)
    if comparisons.n_subject_pairs < needed_pairs(min(claim.rates())):
        with pytest.raises(SampleTooSmall):
            measure(comparisons, claim)
        claim = Claim(fmr)
    points = measure(comparisons, claim)
    rates = [point.rate for point in points]
    assert rates == sorted(rates, reverse=True)
    assert set(claim.rates()) <= set(rates)
    assert all(3 / rate <= comparisons.n_subject_pairs * (1 + 1e-9) for rate in rates)
    thresholds = [point.threshold for point in points]
    assert thresholds == sorted(thresholds), "a stricter rate never lowers the threshold"
    for point in points:
        assert point.false_matches == (comparisons.highest >= point.threshold).sum()
        assert point.false_matches <= point.rate * n * (1 + 1e-9)  # 0.25 may arrive as 0.24999999999999997
        if point.basis is Basis.UPPER_BOUND:
            assert point.exact.high <= point.rate


def test_large_samples_are_read_only_as_far_as_they_must_be() -> None:
    assert rates_for([1e-3], 1000) == tuple(sorted({1e-3, *RATES}, reverse=True))
    rates = rates_for([1e-3], 10**9)
    assert max(rates) == 1e-3
    assert scores_needed(rates, 10**9) == 10**6 + 1


@given(st.floats(1e-3, 0.3), st.integers(100, 10**7))
def test_a_search_is_refused_exactly_beyond_the_largest_gallery(fpir: float, pairs: int) -> None:
    size = largest_gallery(fpir, pairs)
    if size > 0:
        Claim(0.4, fpir, size).require_sample(pairs)
    with pytest.raises(SampleTooSmall, match=f"up to {size:,}" if size else "no gallery"):
        Claim(0.4, fpir, size + 2 + size // 50).require_sample(pairs)


# From pairs and embeddings to comparisons.


def acquired(*names: str, seed: int = 3) -> Acquired:
    vectors = np.random.default_rng(seed).standard_normal((len(names), EMBEDDING_SIZE)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return Acquired(vectors, {name: row for row, name in enumerate(names)}, (), ())


def cosine_of(found: Acquired, a: str, b: str) -> float:
    return float(found.embeddings[found.rows[a]] @ found.embeddings[found.rows[b]])


def test_pairs_become_comparisons_once_each() -> None:
    pairs = [
        Pair("a_1", "a_2", True),
        Pair("a_1", "b_1", False),
        Pair("b_1", "a_1", False),
        Pair("c_1", "b_1", False),
        Pair("a_1", "lost_1", False),
        Pair("a_1", "a_1", True),
    ]
    found = acquired("a_1", "a_2", "b_1", "c_1")
    comparisons = compare_pairs(pairs, found)
    assert pairs_of_people(pairs, cross=False) == 3
    assert comparisons.mated == pytest.approx([cosine_of(found, "a_1", "a_2")], abs=1e-6)
    expected = sorted([cosine_of(found, "a_1", "b_1"), cosine_of(found, "c_1", "b_1")], reverse=True)
    assert comparisons.highest == pytest.approx(expected, abs=1e-6)
    assert (comparisons.n_non_mated, comparisons.n_units, comparisons.n_subject_pairs) == (2, 3, 2)
    assert comparisons.people_known and comparisons.share_subjects
    assert comparisons.weigh(np.array([1.0, 1.0, 1.0])) == 2


def test_unknown_people_are_resampled_as_images() -> None:
    pairs = [Pair("x.jpg", "y.jpg", False), Pair("u.jpg", "v.jpg", False)]
    comparisons = compare_pairs(pairs, acquired("x.jpg", "y.jpg", "u.jpg", "v.jpg"))
    assert not comparisons.people_known
    assert not comparisons.share_subjects
    assert comparisons.n_units == 4


@pytest.mark.parametrize("block", [2, 512])
def test_all_comparisons_are_those_of_the_matrix(block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("evaluation.closest_pairs.BLOCK", block)
    names = [f"{person}_{shot}" for person in "abcde" for shot in range(3)]
    found = acquired(*names)
    pairs = [Pair(a, b, a[0] == b[0]) for a, b in itertools.pairwise(names)]
    comparisons = compare_all(pairs, found, lambda n: 20)
    others = [(a, b) for a, b in itertools.combinations(names, 2) if a[0] != b[0]]
    expected = sorted((cosine_of(found, a, b) for a, b in others), reverse=True)
    assert comparisons.highest == pytest.approx(expected[:20], abs=1e-6)
    assert (comparisons.n_non_mated, comparisons.n_units) == (len(others), 5)
    assert comparisons.n_subject_pairs == pairs_of_people(pairs, cross=True) == 10
    assert len(comparisons.mated) == 15
    drawn = np.array([2.0, 0.0, 1.0, 1.0, 1.0])
    assert comparisons.weigh(drawn) == sum(drawn["abcde".index(a[0])] * drawn["abcde".index(b[0])] for a, b in others)
    best = max(others, key=lambda pair: cosine_of(found, *pair))
    assert {int(comparisons.first[0]), int(comparisons.second[0])} == {"abcde".index(name[0]) for name in best}


@pytest.mark.parametrize(
    "pairs",
    [
        [Pair("frame_1", "frame_2", False)],
        [Pair("a_1", "b_1", True)],
        [Pair("x", "y", True), Pair("y", "x", False)],
        [Pair("x", "y", False, "", "p", "q"), Pair("x", "z", False, "", "r", "q")],
    ],
)
def test_contradicting_labels_are_refused(pairs: list[Pair]) -> None:
    with pytest.raises(MalformedInput):
        pairs_of_people(pairs, cross=False)


def test_without_other_people_there_is_nothing_to_measure() -> None:
    with pytest.raises(MalformedInput, match="different people"):
        compare_pairs([Pair("a_1", "a_2", True)], acquired("a_1", "a_2"))
    with pytest.raises(MalformedInput, match="at least two people"):
        compare_all([Pair("a_1", "a_2", True)], acquired("a_1", "a_2"), lambda n: n)
