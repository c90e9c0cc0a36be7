"""Every comparison between the photographs of a set, which is where a model card's operating points come from.

A few thousand pairs cannot support a false-match rate of 1e-4; the millions of comparisons between all photographs of
different people can. Unlike the pairs' figures these are the plain FMR and FNMR of ISO/IEC 19795-1: images without an
embedding take no part.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from biometrics.errors import MalformedInput
from evaluation.acquisition import Acquired
from evaluation.closest_pairs import closest_pairs
from evaluation.intervals import Floats
from evaluation.rates import ACCEPT_ALL, Support, support

RATES = (1e-2, 1e-3, 1e-4, 1e-5)


@dataclass(frozen=True, slots=True)
class CrossPoint:
    """The smallest threshold whose FMR is at most `rate`, and what happens there.

    `tar` is 1 - FNMR, None without mated comparisons.
    """

    rate: float
    threshold: float
    false_matches: int
    fmr: float
    tar: float | None
    support: Support


@dataclass(frozen=True, slots=True)
class CrossReport:
    """Counts of photographs, people and comparisons, and the operating points, largest rate first."""

    n_images: int
    n_subjects: int
    n_mated: int
    n_non_mated: int
    points: tuple[CrossPoint, ...]


def cross_report(acquired: Acquired, subject_of: dict[str, str], rates: tuple[float, ...] = RATES) -> CrossReport:
    """Compare every photograph of a known subject with every other one.

    Raises `MalformedInput` if there are not two subjects: give the columns `subject_a` and `subject_b`, or name the
    files `Some_Name_0001`.
    """
    names = [name for name in acquired.rows if name in subject_of]
    people = {subject: number for number, subject in enumerate(dict.fromkeys(subject_of[n] for n in names))}
    if len(people) < 2:
        raise MalformedInput("Comparing all photographs needs the subjects of at least two people.")
    identities = np.array([people[subject_of[name]] for name in names])
    embeddings = acquired.embeddings[[acquired.rows[name] for name in names]]
    total = len(names) * (len(names) - 1) // 2
    images_each = np.bincount(identities)
    n_mated = int((images_each * (images_each - 1) // 2).sum())
    n_non_mated = total - n_mated
    found = closest_pairs(embeddings, identities, keep=int(max(rates) * n_non_mated) + 1)
    points = tuple(_point(rate, found.mated, found.scores, n_non_mated) for rate in sorted(rates, reverse=True))
    return CrossReport(len(names), len(people), n_mated, n_non_mated, points)


def _point(rate: float, mated: Floats, highest: Floats, n_non_mated: int) -> CrossPoint:
    """Find the threshold just above the first non-mated score that may no longer pass; ties fall with it."""
    allowed = int(np.floor(np.nextafter(rate * n_non_mated, np.inf)))
    threshold = float(np.nextafter(highest[allowed], np.inf)) if allowed < n_non_mated else ACCEPT_ALL
    errors = int((highest >= threshold).sum())
    return CrossPoint(
        rate=rate,
        threshold=threshold,
        false_matches=errors,
        fmr=errors / n_non_mated,
        tar=float((mated >= threshold).mean()) if len(mated) else None,
        support=support(rate, n_non_mated, errors),
    )
