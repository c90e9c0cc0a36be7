"""How sure a measured rate is: exact binomial intervals, and the bootstrap over subjects."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Weights = NDArray[np.float64]
"""How often each unit was drawn in one replicate."""

CONFIDENCE = 0.95
REPLICATES = 1000
SEED = 19795  # of ISO/IEC 19795; fixed, so that a figure can be printed again


class Interval(NamedTuple):
    """A two-sided confidence interval."""

    low: float
    high: float


def clopper_pearson(errors: int, trials: int, confidence: float = CONFIDENCE) -> Interval:
    """Return the exact interval of a rate from `errors` in `trials` independent trials; (0, 1) without trials.

    Clopper and Pearson, "The use of confidence or fiducial limits", Biometrika 26, 1934. Raises `ValueError` unless
    0 <= errors <= trials.
    """
    if not 0 <= errors <= trials:
        raise ValueError("errors must lie between 0 and trials")
    tail = (1 - confidence) / 2
    low = 0.0 if errors == 0 else _solve(lambda p: at_least(errors, trials, p), tail)
    high = 1.0 if errors == trials else _solve(lambda p: at_least(errors + 1, trials, p), 1 - tail)
    return Interval(low, high)


def at_least(errors: int, trials: int, rate: float) -> float:
    """Return P(X >= errors) for X ~ Binomial(trials, rate), 1 <= errors <= trials.

    It equals the regularized incomplete beta function I_rate(errors, trials - errors + 1); NIST DLMF 8.17.5.
    """
    if rate <= 0:
        return 0.0
    if rate >= 1:
        return 1.0
    a, b = float(errors), float(trials - errors + 1)
    log_front = math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b) + a * math.log(rate) + b * math.log1p(-rate)
    front = math.exp(log_front)
    if rate < (a + 1) / (a + b + 2):  # where the fraction converges fast; else by symmetry
        return front * _beta_fraction(a, b, rate) / a
    return 1 - front * _beta_fraction(b, a, 1 - rate) / b


def _beta_fraction(a: float, b: float, x: float) -> float:
    """Evaluate the continued fraction of the incomplete beta function (DLMF 8.17.22) by Lentz's method."""
    tiny = 1e-300
    c, d = 1.0, 1 / _away_from_zero(1 - (a + b) * x / (a + 1), tiny)
    value = d
    for m in range(1, 100_000):
        even = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m))
        odd = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))
        step = 1.0
        for coefficient in (even, odd):
            d = 1 / _away_from_zero(1 + coefficient * d, tiny)
            c = _away_from_zero(1 + coefficient / c, tiny)
            step = c * d
            value *= step
        if abs(step - 1) < 1e-14:
            break
    return value


def _away_from_zero(value: float, tiny: float) -> float:
    return value if abs(value) > tiny else tiny


def _solve(rising: Callable[[float], float], target: float) -> float:
    """Return where a rising function on [0, 1] reaches the target, by bisection down to neighbouring floats."""
    low, high = 0.0, 1.0
    while low < (middle := (low + high) / 2) < high:
        if rising(middle) < target:
            low = middle
        else:
            high = middle
    return high


def bootstrap(
    statistics: Callable[[Weights], Floats],
    units: int,
    *,
    replicates: int = REPLICATES,
    confidence: float = CONFIDENCE,
    seed: int = SEED,
) -> list[Interval | None]:
    """Return percentile intervals of several statistics at once, resampling whole units (subjects) with replacement.

    `statistics` receives how often each of the `units` was drawn and returns k numbers; NaN marks a replicate in
    which a number is undefined, and an interval is None where that was so in more than half of them. Efron and
    Tibshirani, "An Introduction to the Bootstrap", 1993, ch. 13; resampling by subject after Bolle, Ratha and
    Pankanti, "Error analysis of pattern recognition systems: the subsets bootstrap", 2004.
    """
    rng = np.random.default_rng(seed)
    if units < 1:
        raise ValueError("there is nothing to resample")
    draws = (rng.integers(0, units, units) for _ in range(replicates))
    values = np.array([statistics(np.bincount(drawn, minlength=units).astype(np.float64)) for drawn in draws])
    return [_percentiles(column, confidence) for column in values.T]


def _percentiles(values: Floats, confidence: float) -> Interval | None:
    known = values[~np.isnan(values)]
    if len(known) * 2 <= len(values):
        return None
    low, high = np.quantile(known, [(1 - confidence) / 2, (1 + confidence) / 2])
    return Interval(float(low), float(high))
