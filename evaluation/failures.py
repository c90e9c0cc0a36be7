"""The pairs that are decided wrongly at a threshold, by id and worst first: look at them before believing a rate."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from evaluation.acquisition import Acquired
from evaluation.protocol import Pair
from evaluation.verification import pair_scores


@dataclass(frozen=True, slots=True)
class FailedPair:
    """A pair by its number in the protocol (from 1) and its images; `score` is None where one gave no embedding."""

    number: int
    image_a: str
    image_b: str
    score: float | None


@dataclass(frozen=True, slots=True)
class Failures:
    """What goes wrong at `threshold`, which gives a false-match rate of at most `rate` on `basis`.

    `basis` is `all comparisons` or `pairs`. The lists hold the worst ones: lowest score first among the false rejects
    (no score at all before any), highest first among the false accepts. The counts are of all.
    """

    rate: float
    threshold: float
    basis: str
    n_false_rejects: int
    n_false_accepts: int
    false_rejects: tuple[FailedPair, ...]
    false_accepts: tuple[FailedPair, ...]


def failed_pairs(
    pairs: Sequence[Pair], acquired: Acquired, *, rate: float, threshold: float, basis: str, limit: int
) -> Failures:
    """List at most `limit` false rejects and as many false accepts."""
    scores = pair_scores(pairs, acquired)
    same = np.array([pair.same for pair in pairs], dtype=np.bool_)
    order = np.argsort(scores, kind="stable")
    rejects = [int(i) for i in order if same[i] and scores[i] < threshold]
    accepts = [int(i) for i in order[::-1] if not same[i] and scores[i] >= threshold]

    def named(i: int) -> FailedPair:
        score = float(scores[i]) if np.isfinite(scores[i]) else None
        return FailedPair(i + 1, pairs[i].image_a, pairs[i].image_b, score)

    return Failures(
        rate=rate,
        threshold=threshold,
        basis=basis,
        n_false_rejects=len(rejects),
        n_false_accepts=len(accepts),
        false_rejects=tuple(named(i) for i in rejects[:limit]),
        false_accepts=tuple(named(i) for i in accepts[:limit]),
    )
