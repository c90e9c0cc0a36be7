"""How often an attack on a comparison succeeds, and how sure that is when one person stands in several trials."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from evaluation.intervals import Floats, Weights, bootstrap, clopper_pearson


@dataclass(frozen=True, slots=True)
class Success:
    """The share of trials that matched, with its interval of 95 %, bootstrapped by subject."""

    rate: float
    low: float
    high: float
    trials: int


def success_of(matched: NDArray[np.bool_], subjects: Sequence[str]) -> Success:
    """Return the share of n trials that matched; `subjects` names whom each trial attacks.

    Where all trials end alike nothing can be resampled: the interval is then the exact binomial one, as if there were
    one trial for each subject. Raises `ValueError` without trials.
    """
    if not len(matched):
        raise ValueError("there is nothing to count")
    names, unit = np.unique(np.array(subjects), return_inverse=True)
    hits = np.bincount(unit, weights=matched, minlength=len(names))
    counts = np.bincount(unit, minlength=len(names))
    rate = float(matched.mean())
    if rate in (0.0, 1.0):
        interval = clopper_pearson(int(rate) * len(names), len(names))
        return Success(rate, interval.low, interval.high, len(matched))

    def share(weights: Weights) -> Floats:
        return np.array([(weights @ hits) / (weights @ counts)])

    [drawn] = bootstrap(share, len(names))
    assert drawn is not None  # noqa: S101 - every replicate has trials
    return Success(rate, drawn.low, drawn.high, len(matched))
