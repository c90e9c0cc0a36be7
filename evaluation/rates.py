"""Error rates of verification and of presentation attack detection, from scores alone.

A score is accepted when it is at or above the threshold. A presentation from which nothing could be acquired has the
score `REFUSED`: no threshold accepts it. Terms after ISO/IEC 19795-1 (FMR, FNMR, FTA) and ISO/IEC 30107-3 (APCER,
BPCER).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from evaluation.intervals import Floats, Weights

REFUSED = -math.inf
"""The score of a failure to acquire."""

ACCEPT_ALL = -float(np.finfo(np.float64).max)
"""The threshold that accepts whatever could be acquired."""


class Support(StrEnum):
    """Whether a sample is large enough for the rate that it is used for."""

    UNSUPPORTED = "unsupported"
    """Fewer than 3 / rate trials: even a run without any error could not show the rate (rule of 3)."""
    FEW_ERRORS = "fewer_than_30_errors"
    """The true rate may lie more than 30 % off the measured one, at 90 % confidence (rule of 30)."""
    SUPPORTED = "supported"


def support(rate: float, trials: int, errors: int) -> Support:
    """Say whether `trials` with `errors` support a claim about `rate`; ISO/IEC 19795-1, annex B (rules of 3 and 30)."""
    if trials < 3 / rate:
        return Support.UNSUPPORTED
    return Support.FEW_ERRORS if errors < 30 else Support.SUPPORTED


def candidate_thresholds(*scores: Floats) -> Floats:
    """Return every threshold at which some decision changes, ascending: `ACCEPT_ALL`, then just above each score.

    The last one accepts nothing. Raises `ValueError` on NaN.
    """
    pooled = np.concatenate([np.empty(0), *scores])
    if np.isnan(pooled).any():
        raise ValueError("a score is not a number")
    distinct = np.unique(pooled[np.isfinite(pooled)])
    return np.concatenate([[ACCEPT_ALL], np.nextafter(distinct, np.inf)])


class Acceptance:
    """Which share of some scores each threshold accepts; sorted once, so that every weighting costs one pass."""

    def __init__(self, scores: Floats, thresholds: Floats) -> None:
        self._passed = np.searchsorted(thresholds, scores, side="right")  # thresholds that accept each score
        self._count = len(thresholds)

    def rates(self, weights: Weights | None = None) -> Floats:
        """Return the accepted share at every threshold, NaN where the weights add up to nothing."""
        mass = np.bincount(self._passed, weights=weights, minlength=self._count + 1).astype(np.float64)
        total = mass.sum()
        if total == 0:
            return np.full(self._count, np.nan)
        accepted: Floats = mass[::-1].cumsum()[::-1][1:] / total
        return accepted


@dataclass(frozen=True, slots=True)
class ErrorCurve:
    """False accepts and false rejects at every threshold, ascending: FMR falls, FNMR rises (or APCER and BPCER)."""

    thresholds: Floats
    false_accepts: Floats
    false_rejects: Floats

    def at_rate(self, rate: float) -> int | None:
        """Return the index of the smallest threshold with false accepts <= rate; None if there is no such figure.

        Ties are handled to the safe side: scores of equal value are accepted together or not at all, so the rate
        reached may be below the one asked for, never above.
        """
        allowed = np.flatnonzero(self.false_accepts <= rate)
        return int(allowed[0]) if len(allowed) else None

    def equal_error_rate(self) -> float:
        """Return the mean of both rates where they are nearest (at the lower threshold if twice); may be NaN."""
        gap = np.abs(self.false_accepts - self.false_rejects)
        if np.isnan(gap).any():
            return math.nan
        at = int(np.argmin(gap))
        return float(self.false_accepts[at] + self.false_rejects[at]) / 2


class VerificationScores:
    """Mated and non-mated comparison scores, n and m float64, from which curves under any weights are drawn."""

    def __init__(self, mated: Floats, non_mated: Floats) -> None:
        self.mated, self.non_mated = mated, non_mated
        self.thresholds = candidate_thresholds(mated, non_mated)
        self._mated = Acceptance(mated, self.thresholds)
        self._non_mated = Acceptance(non_mated, self.thresholds)

    def curve(self, mated_weights: Weights | None = None, non_mated_weights: Weights | None = None) -> ErrorCurve:
        """Return FMR and FNMR at every threshold."""
        return ErrorCurve(
            self.thresholds, self._non_mated.rates(non_mated_weights), 1 - self._mated.rates(mated_weights)
        )


class PadScores:
    """Bona fide scores and attack scores by species, from which curves under any weights are drawn."""

    def __init__(self, bona_fide: Floats, attacks: dict[str, Floats]) -> None:
        self.bona_fide, self.attacks = bona_fide, attacks
        self.thresholds = candidate_thresholds(bona_fide, *attacks.values())
        self._bona_fide = Acceptance(bona_fide, self.thresholds)
        self._attacks = {species: Acceptance(scores, self.thresholds) for species, scores in attacks.items()}

    def curve(
        self, bona_fide_weights: Weights | None = None, attack_weights: dict[str, Weights] | None = None
    ) -> ErrorCurve:
        """Return the APCER of the worst species and the BPCER at every threshold.

        ISO/IEC 30107-3 rates a detector by the species that passes it most often; species absent from a weighting
        do not count.
        """
        by_species = [
            acceptance.rates(None if attack_weights is None else attack_weights[species])
            for species, acceptance in self._attacks.items()
        ]
        present = [rates for rates in by_species if not np.isnan(rates).any()]
        worst = np.max(present, axis=0) if present else np.full(len(self.thresholds), np.nan)
        return ErrorCurve(self.thresholds, worst, 1 - self._bona_fide.rates(bona_fide_weights))


def best_threshold(scores: Floats, same: NDArray[np.bool_]) -> float:
    """Return the smallest threshold that decides most of the labelled scores rightly."""
    thresholds = candidate_thresholds(scores)
    mated, non_mated = scores[same], scores[~same]
    right = len(non_mated) + np.zeros(len(thresholds))
    for part, sign in ((mated, 1), (non_mated, -1)):
        if len(part):
            right += sign * len(part) * Acceptance(part, thresholds).rates()
    return float(thresholds[int(np.argmax(np.round(right)))])


def held_out_correct(scores: Floats, same: NDArray[np.bool_], folds: NDArray[np.int64]) -> NDArray[np.bool_] | None:
    """Say of each pair whether it is decided rightly by the best threshold of all other folds; None with one fold.

    The protocol of Labeled Faces in the Wild, View 2 (Huang et al., 2007): no pair helps to choose its own threshold.
    """
    names = np.unique(folds)
    if len(names) < 2:
        return None
    correct = np.zeros(len(scores), dtype=np.bool_)
    for fold in names:
        inside = folds == fold
        threshold = best_threshold(scores[~inside], same[~inside])
        correct[inside] = (scores[inside] >= threshold) == same[inside]
    return correct


def ten_folds(same: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Split into ten folds in the order given, mated and non-mated pairs each spread evenly."""
    folds = np.empty(len(same), dtype=np.int64)
    for kind in (same, ~same):
        count = int(kind.sum())
        folds[kind] = np.arange(count) * 10 // max(count, 1)
    return folds
