"""False matches within groups of people, all at one common threshold; false non-matches where people come twice.

A threshold that is right on average may be far too low for one group: whoever looks like many others is taken for them.
`points` holds the same figures at several thresholds, each common to all groups. Comparisons are not independent,
since each person is in thousands of them, so the intervals resample people.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from evaluation.acquisition import Acquired
from evaluation.group_comparisons import GroupedComparisons, GroupedPeople
from evaluation.intervals import Floats, Interval, Weights, bootstrap
from evaluation.protocol import IndexEntry
from evaluation.rates import Support, support

OVERALL = "overall"
"""The basis of the threshold that this set itself gives."""


@dataclass(frozen=True, slots=True)
class GroupFigures:
    """One group at one threshold: comparisons within the group only; rates are fractions, None where undefined."""

    group: str
    n_images: int
    n_subjects: int
    n_non_mated: int
    false_matches: int
    fmr: float | None
    fmr_ci95: Interval | None
    n_mated: int
    false_non_matches: int
    fnmr: float | None
    fnmr_ci95: Interval | None
    support: Support


@dataclass(frozen=True, slots=True)
class GroupPoint:
    """All groups at one common threshold.

    `basis` says where the threshold comes from: `overall` (the smallest one whose FMR over all comparisons of this set
    is at most `rate`), or the name that the caller gave it (one that gave `rate` elsewhere). `fmr` is over all
    comparisons, within and across groups.
    `between[g][h]` is the FMR between people of g and people of h (g = h: within). `ratio` is the highest FMR
    within a group over the lowest, `ratio_ci95` of these two groups as they were found; None where the lowest is 0.
    """

    basis: str
    rate: float
    threshold: float
    false_matches: int
    fmr: float
    support: Support
    groups: tuple[GroupFigures, ...]
    between: dict[str, dict[str, float | None]]
    worst: str
    best: str
    ratio: float | None
    ratio_ci95: Interval | None


@dataclass(frozen=True, slots=True)
class GroupReport:
    """Counts over the whole set, and the figures at each threshold, `overall` first.

    `fta` is the share of images without an embedding, by group: they take no part in any comparison.
    """

    n_images: int
    n_subjects: int
    n_mated: int
    n_non_mated: int
    points: tuple[GroupPoint, ...]
    fta: dict[str, float]
    unreadable: tuple[str, ...]
    without_face: tuple[str, ...]


def group_report(
    index: Sequence[IndexEntry],
    acquired: Acquired,
    *,
    rate: float = 1e-3,
    thresholds: Mapping[str, float] | None = None,
) -> GroupReport:
    """Compare everybody with everybody; `thresholds` are further ones by name, each said to give `rate` elsewhere.

    An image without a subject is a person of its own. Raises `MalformedInput` if a subject is in two groups, or if
    there are not two people with an embedding.
    """
    people = GroupedPeople(index, acquired)
    named = dict(thresholds or {})
    table = GroupedComparisons(acquired, people, rate, floor=min(named.values(), default=math.inf))
    overall = table.threshold(rate)
    points = _points(table, people, rate, {OVERALL: overall, **named})
    tried = Counter(entry.group for entry in index)
    failed = Counter(entry.group for entry in index if entry.path not in acquired.rows)
    return GroupReport(
        n_images=len(people.images),
        n_subjects=len(people.names),
        n_mated=len(table.mated),
        n_non_mated=table.n_non_mated,
        points=points,
        fta={group: failed[group] / number for group, number in tried.items()},
        unreadable=acquired.unreadable,
        without_face=acquired.without_face,
    )


@dataclass(frozen=True, slots=True)
class _Rates:
    """FMR between groups (g x g) and FNMR by group; NaN where there is no comparison."""

    between: Floats
    fnmr: Floats


def _rates(table: GroupedComparisons, people: GroupedPeople, threshold: float, counts: Weights) -> _Rates:
    """Return all rates at a threshold when each person was drawn so often."""
    comparisons, _ = people.n_comparisons(counts)
    matches = table.false_matches(threshold, table.weights(counts))
    groups = people.group_of_person[table.mated_person]
    weights = counts[table.mated_person]
    mass = np.bincount(groups, weights=weights, minlength=len(people.groups))
    missed = np.bincount(groups, weights=weights * (table.mated < threshold), minlength=len(people.groups))
    with np.errstate(invalid="ignore", divide="ignore"):
        return _Rates(
            np.where(comparisons > 0, matches / comparisons, np.nan), np.where(mass > 0, missed / mass, np.nan)
        )


def _points(
    table: GroupedComparisons, people: GroupedPeople, rate: float, thresholds: dict[str, float]
) -> tuple[GroupPoint, ...]:
    """Return the figures at each named threshold, all intervals from one bootstrap over people."""
    everybody = np.ones(len(people.names))
    measured = {basis: _rates(table, people, threshold, everybody) for basis, threshold in thresholds.items()}
    extremes = {basis: _extremes(np.diagonal(rates.between)) for basis, rates in measured.items()}

    def statistics(counts: Weights) -> Floats:
        found = []
        for basis, threshold in thresholds.items():
            # The set's own threshold is an estimate too: every replicate finds its own.
            drawn = table.threshold(rate, counts) if basis == OVERALL else threshold
            rates = _rates(table, people, drawn, counts)
            within = np.diagonal(rates.between)
            worst, best = extremes[basis]
            ratio = within[worst] / within[best] if within[best] > 0 else math.nan
            found.append(np.concatenate([within, rates.fnmr, [ratio]]))
        return np.concatenate(found)

    intervals = bootstrap(statistics, len(people.names))
    each = 2 * len(people.groups) + 1
    return tuple(
        _point(table, people, basis, rate, thresholds[basis], measured[basis], intervals[at * each : (at + 1) * each])
        for at, basis in enumerate(thresholds)
    )


def _extremes(within: Floats) -> tuple[int, int]:
    """Return the groups with the highest and the lowest FMR (the first if none has any)."""
    if np.isnan(within).all():
        return 0, 0
    return int(np.nanargmax(within)), int(np.nanargmin(within))


def _point(
    table: GroupedComparisons,
    people: GroupedPeople,
    basis: str,
    rate: float,
    threshold: float,
    rates: _Rates,
    intervals: Sequence[Interval | None],
) -> GroupPoint:
    everybody = np.ones(len(people.names))
    matches = table.false_matches(threshold, table.weights(everybody))
    comparisons, _ = people.n_comparisons(everybody)
    within = np.diagonal(rates.between)
    worst, best = _extremes(within)
    mated_group = people.group_of_person[table.mated_person]
    n = len(people.groups)
    groups = tuple(
        GroupFigures(
            group=name,
            n_images=int((people.group_of_image == at).sum()),
            n_subjects=int((people.group_of_person == at).sum()),
            n_non_mated=round(comparisons[at, at]),
            false_matches=round(matches[at, at]),
            fmr=_number(within[at]),
            fmr_ci95=intervals[at],
            n_mated=int((mated_group == at).sum()),
            false_non_matches=int((table.mated[mated_group == at] < threshold).sum()),
            fnmr=_number(rates.fnmr[at]),
            fnmr_ci95=intervals[n + at],
            support=support(rate, round(comparisons[at, at]), round(matches[at, at])),
        )
        for at, name in enumerate(people.groups)
    )
    n_matches = round(float(np.triu(matches).sum()))
    return GroupPoint(
        basis=basis,
        rate=rate,
        threshold=threshold,
        false_matches=n_matches,
        fmr=n_matches / table.n_non_mated,
        support=support(rate, table.n_non_mated, n_matches),
        groups=groups,
        between={
            row: {column: _number(rates.between[i, j]) for j, column in enumerate(people.groups)}
            for i, row in enumerate(people.groups)
        },
        worst=people.groups[worst],
        best=people.groups[best],
        ratio=_number(within[worst] / within[best]) if within[best] > 0 else None,
        ratio_ci95=intervals[2 * n],
    )


def _number(value: float) -> float | None:
    return None if math.isnan(value) else float(value)
