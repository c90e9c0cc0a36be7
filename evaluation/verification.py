"""Verification (1:1) figures of the whole pipeline, from pairs of photographs.

Failures to acquire count against the system (the generalized rates of ISO/IEC 19795-1, where a transaction without a
sample is rejected): such a mated pair is a false rejection, such a non-mated pair a right one.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from evaluation.acquisition import Acquired
from evaluation.intervals import Floats, Interval, Weights, bootstrap, clopper_pearson
from evaluation.protocol import Pair, subjects
from evaluation.rates import REFUSED, Support, VerificationScores, held_out_correct, support, ten_folds

FARS = (0.01, 0.001)
"""The false-accept rates that are reported."""


@dataclass(frozen=True, slots=True)
class VerificationIntervals:
    """95 % intervals: `fta` exact binomial, the others bootstrapped by subject; None where undefined."""

    accuracy: Interval | None
    tar_at_far: dict[str, Interval | None]
    eer: Interval | None
    fta: Interval


@dataclass(frozen=True, slots=True)
class VerificationReport:
    """What the pairs say; rates are fractions, None where a kind of pair is absent.

    `fta` is the share of distinct images without an embedding; `threshold` the smallest cosine whose false-accept
    rate is at most the key's; `support` whether the number of non-mated pairs can carry that rate at all; `resampled`
    what the bootstrap drew: `subjects`, or `images` where no subject is known.
    """

    n_pairs: int
    n_mated: int
    n_non_mated: int
    n_images: int
    fta: float
    accuracy: float | None
    tar_at_far: dict[str, float | None]
    threshold: dict[str, float | None]
    eer: float | None
    ci95: VerificationIntervals
    support: dict[str, Support]
    resampled: str
    unreadable: tuple[str, ...]
    without_face: tuple[str, ...]


def pair_scores(pairs: Sequence[Pair], acquired: Acquired) -> Floats:
    """Return the cosine of each pair, `REFUSED` where an image gave no embedding."""
    scores = np.full(len(pairs), REFUSED)
    rows = [(acquired.rows.get(pair.image_a, -1), acquired.rows.get(pair.image_b, -1)) for pair in pairs]
    a, b = np.array(rows, dtype=np.intp).reshape(-1, 2).T
    known = (a >= 0) & (b >= 0)
    left, right = acquired.embeddings[a[known]], acquired.embeddings[b[known]]
    scores[known] = np.einsum("ij,ij->i", left, right, dtype=np.float64)
    return scores


def score_table(pairs: Sequence[Pair], acquired: Acquired) -> VerificationScores:
    """Return the mated and non-mated scores of the pairs."""
    same = np.array([pair.same for pair in pairs], dtype=np.bool_)
    scores = pair_scores(pairs, acquired)
    return VerificationScores(scores[same], scores[~same])


class Attempted(Protocol):
    """How many distinct images were tried, and which of them gave no embedding."""

    @property
    def n_images(self) -> int:
        """How many distinct images were tried."""
        ...

    @property
    def n_failed(self) -> int:
        """How many of them gave no embedding."""
        ...

    @property
    def unreadable(self) -> tuple[str, ...]:
        """Those that could not be read."""
        ...

    @property
    def without_face(self) -> tuple[str, ...]:
        """Those in which no face was accepted."""
        ...


def report_on(pairs: list[Pair], acquired: Acquired) -> VerificationReport:
    """Return the figures of all pairs, with intervals; raises `MalformedInput` on contradicting subjects."""
    return report_on_scores(pairs, pair_scores(pairs, acquired), acquired)


def report_on_scores(pairs: list[Pair], scores: Floats, tried: Attempted) -> VerificationReport:
    """Return the figures of scored pairs, `REFUSED` where an image gave no embedding."""
    same = np.array([pair.same for pair in pairs], dtype=np.bool_)
    table = VerificationScores(scores[same], scores[~same])
    curve = table.curve()
    at = {str(far): curve.at_rate(far) for far in FARS}
    correct = held_out_correct(scores, same, _folds(pairs, same))
    n_non_mated = int((~same).sum())
    eer = curve.equal_error_rate()
    known = subjects(pairs)
    return VerificationReport(
        n_pairs=len(pairs),
        n_mated=int(same.sum()),
        n_non_mated=n_non_mated,
        n_images=tried.n_images,
        fta=tried.n_failed / tried.n_images,
        accuracy=None if correct is None else float(correct.mean()),
        tar_at_far={far: None if i is None else _number(1 - curve.false_rejects[i]) for far, i in at.items()},
        threshold={far: None if i is None else float(curve.thresholds[i]) for far, i in at.items()},
        eer=_number(eer),
        ci95=_intervals(pairs, same, table, correct, tried, known),
        support={
            far: support(float(far), n_non_mated, 0 if i is None else round(curve.false_accepts[i] * n_non_mated))
            for far, i in at.items()
        },
        resampled="subjects" if known else "images",
        unreadable=tried.unreadable,
        without_face=tried.without_face,
    )


def _intervals(
    pairs: Sequence[Pair],
    same: NDArray[np.bool_],
    table: VerificationScores,
    correct: NDArray[np.bool_] | None,
    tried: Attempted,
    known: dict[str, str],
) -> VerificationIntervals:
    """Bootstrap over subjects: a pair counts as often as both of its subjects were drawn (once for a mated pair).

    Every replicate finds its own thresholds for TAR and EER; accuracy keeps the thresholds of the folds.
    """
    units: dict[str, int] = {}
    drawn = [
        [units.setdefault(known.get(image, f"/{image}"), len(units)) for image in (pair.image_a, pair.image_b)]
        for pair in pairs
    ]
    a, b = np.array(drawn, dtype=np.intp).T
    right = None if correct is None else correct.astype(np.float64)

    def statistics(counts: Weights) -> Floats:
        weights = np.where(a == b, counts[a], counts[a] * counts[b])
        curve = table.curve(weights[same], weights[~same])
        at = [curve.at_rate(far) for far in FARS]
        tars = [math.nan if i is None else 1 - curve.false_rejects[i] for i in at]
        total = weights.sum()
        accuracy = math.nan if right is None or total == 0 else float(weights @ right / total)
        return np.array([accuracy, curve.equal_error_rate(), *tars])

    accuracy, eer, *tars = bootstrap(statistics, len(units))
    return VerificationIntervals(
        accuracy,
        dict(zip(map(str, FARS), tars, strict=True)),
        eer,
        clopper_pearson(tried.n_failed, tried.n_images),
    )


def _folds(pairs: Sequence[Pair], same: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Return the folds of the protocol if it names at least two, else ten of equal size."""
    names = {name: number for number, name in enumerate(dict.fromkeys(pair.fold for pair in pairs))}
    if len(names) < 2:
        return ten_folds(same)
    return np.array([names[pair.fold] for pair in pairs], dtype=np.int64)


def _number(value: float) -> float | None:
    return None if math.isnan(value) else float(value)
