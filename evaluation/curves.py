"""The trade-off curve and the score distributions of a set of pairs, small enough to be kept and drawn again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from evaluation.acquisition import Acquired
from evaluation.intervals import Floats, Interval, Weights, bootstrap
from evaluation.protocol import Pair, subjects
from evaluation.rates import ACCEPT_ALL, ErrorCurve, VerificationScores
from evaluation.verification import pair_scores

EXACT_STEPS = 20
"""Every step of the curve is kept up to so many false accepts; above, steps are spaced by their logarithm."""

COARSE_STEPS = 80
BIN_WIDTH = 0.025
"""Of the histograms of cosines."""


@dataclass(frozen=True, slots=True)
class CurvePoint:
    """False rejects at the smallest threshold whose false-accept rate is at most `far`.

    `threshold` is None where everything that could be acquired is accepted; `frr_ci95` is pointwise, bootstrapped by
    subject, each replicate with its own threshold.
    """

    far: float
    frr: float
    threshold: float | None
    frr_ci95: Interval | None


@dataclass(frozen=True, slots=True)
class ScoreHistogram:
    """How often cosines fall between two neighbours of `edges` (one more than counts); pairs without a score apart."""

    edges: tuple[float, ...]
    mated: tuple[int, ...]
    non_mated: tuple[int, ...]
    mated_without_score: int
    non_mated_without_score: int


def pair_curve(pairs: Sequence[Pair], acquired: Acquired) -> tuple[CurvePoint, ...]:
    """Return the error trade-off of the pairs by rising `far`, with intervals; empty if a kind of pair is absent."""
    same = np.array([pair.same for pair in pairs], dtype=np.bool_)
    if same.all() or not same.any():
        return ()
    scores = pair_scores(pairs, acquired)
    table = VerificationScores(scores[same], scores[~same])
    curve = table.curve()
    rates = _rates(int((~same).sum()))
    units: dict[str, int] = {}
    known = subjects(list(pairs))
    drawn = [
        [units.setdefault(known.get(image, f"/{image}"), len(units)) for image in (pair.image_a, pair.image_b)]
        for pair in pairs
    ]
    a, b = np.array(drawn, dtype=np.intp).T

    def statistics(counts: Weights) -> Floats:
        weights = np.where(a == b, counts[a], counts[a] * counts[b])
        replicate = table.curve(weights[same], weights[~same])
        return replicate.false_rejects[_at_rates(replicate, rates)]

    intervals = bootstrap(statistics, len(units))
    at = _at_rates(curve, rates)
    return tuple(
        CurvePoint(
            far=float(rate),
            frr=float(curve.false_rejects[i]),
            threshold=None if curve.thresholds[i] == ACCEPT_ALL else float(curve.thresholds[i]),
            frr_ci95=interval,
        )
        for rate, i, interval in zip(rates, at, intervals, strict=True)
    )


def score_histogram(pairs: Sequence[Pair], acquired: Acquired) -> ScoreHistogram:
    """Count the cosines of mated and non-mated pairs in bins over the range that occurs."""
    same = np.array([pair.same for pair in pairs], dtype=np.bool_)
    scores = pair_scores(pairs, acquired)
    known = np.isfinite(scores)
    found = scores[known] if known.any() else np.zeros(1)
    first, last = np.floor(found.min() / BIN_WIDTH), np.floor(found.max() / BIN_WIDTH) + 1
    edges = np.arange(first, last + 1) * BIN_WIDTH
    mated, _ = np.histogram(scores[known & same], edges)
    non_mated, _ = np.histogram(scores[known & ~same], edges)
    return ScoreHistogram(
        edges=tuple(round(float(edge), 6) for edge in edges),
        mated=tuple(map(int, mated)),
        non_mated=tuple(map(int, non_mated)),
        mated_without_score=int((~known & same).sum()),
        non_mated_without_score=int((~known & ~same).sum()),
    )


def log_rates(largest: float, n_non_mated: int) -> tuple[float, ...]:
    """Return false-match rates from `largest` down to one error in `n_non_mated`, twelve to a decade."""
    decades = np.log10(largest * n_non_mated)
    steps = int(np.floor(12 * decades)) if decades > 0 else 0
    return tuple(float(largest * 10 ** (-step / 12)) for step in range(steps + 1))


def _rates(n_non_mated: int) -> Floats:
    """Return the false-accept rates at which the curve is kept, all of them reachable."""
    coarse = np.geomspace(min(EXACT_STEPS, n_non_mated), n_non_mated, COARSE_STEPS)
    errors = np.unique(np.concatenate([np.arange(min(EXACT_STEPS, n_non_mated) + 1), np.round(coarse)]))
    rates: Floats = errors / n_non_mated
    return rates


def _at_rates(curve: ErrorCurve, rates: Floats) -> NDArray[np.intp]:
    """Do `ErrorCurve.at_rate` for many rates: the last threshold accepts nothing, so each of them is reached."""
    rising = curve.false_accepts[::-1]
    # A rate of k / n must not fail against the same rate reached by another sum of weights.
    reached = np.searchsorted(rising, rates + 1e-12, side="right")
    return np.minimum(len(rising) - reached, len(rising) - 1)
