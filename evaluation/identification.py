"""Identification (1:N) figures by gallery size: who is missed, and who is taken for somebody in the gallery.

One photograph of each person is enrolled; the others are probes. A gallery of N templates is drawn from those and from
distractors, people who are never probes. Each probe is searched twice: beside its mate (mated search), and with its
mate taken out (non-mated search), so a gallery's size is right to within one. Every search is exact. Terms after
ISO/IEC 19795-1, a failure to acquire being a search that finds nobody.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from biometrics.errors import MalformedInput
from biometrics.types import FloatArray
from evaluation.acquisition import Acquired
from evaluation.intervals import SEED, Floats, Interval, Weights, bootstrap
from evaluation.protocol import IndexEntry
from evaluation.rates import REFUSED, Support, VerificationScores, support

FPIR = 0.01
"""The false-positive identification rate at which FNIR is reported."""

SIZES = (100, 1000, 10_000, 34_000, 100_000)

GALLERIES = 10
"""Random galleries of each size that is smaller than all there is."""

BLOCK = 256
"""Probes that are searched at a time."""

ThresholdFor = Callable[[int], float | None]
"""Returns the threshold that the service uses for a gallery of this size, None where it refuses to search."""


@dataclass(frozen=True, slots=True)
class IdentificationIntervals:
    """95 % intervals, bootstrapped by the subject of the probe; None where undefined."""

    rank1: Interval | None
    fnir: Interval | None
    policy_fpir: Interval | None
    policy_fnir: Interval | None


@dataclass(frozen=True, slots=True)
class GalleryFigures:
    """Searches of galleries of one size; rates are fractions, None where undefined.

    `n_galleries` were drawn, each with templates of `n_people` people; every probe is searched in each of them. `rank1`
    is the share of mated searches whose best candidate is the mate. FNIR is the share whose mate is not the best or
    below the threshold, FPIR the share of non-mated searches with any template at or above it. `fnir` is at
    `threshold`, the smallest one whose FPIR is at most the report's `fpir`. `policy_threshold` is what the service
    would use for this size, with the rates that it gives; None where the model card was not measured so far out.
    """

    size: int
    n_people: int
    n_galleries: int
    n_mated_searches: int
    n_non_mated_searches: int
    rank1: float | None
    threshold: float | None
    fnir: float | None
    policy_threshold: float | None
    policy_fpir: float | None
    policy_fnir: float | None
    support: Support
    ci95: IdentificationIntervals


@dataclass(frozen=True, slots=True)
class IdentificationReport:
    """Counts of what was available, and the figures by gallery size, smallest first.

    `n_available` is how many templates the largest possible gallery has, from `n_available_people` people;
    `n_distractors` of them are of people who are never probes. `too_large` names sizes that could not be had; where
    there are any, everything available is a gallery instead. `fta` is the share of probes without an embedding.
    """

    n_probes: int
    n_subjects: int
    n_distractors: int
    n_available: int
    n_available_people: int
    fta: float
    fpir: float
    galleries: tuple[GalleryFigures, ...]
    too_large: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Labelled:
    """Embeddings, n x d, with the person on each; names are compared between sets: the same name is the same person."""

    embeddings: FloatArray = field(repr=False)
    people: tuple[str, ...] = field(repr=False)


def labelled(index: Sequence[IndexEntry], acquired: Acquired, *, of: str = "") -> Labelled:
    """Return the embeddings of a set; an image without a subject is a person of its own, of the set named `of`."""
    entries = [entry for entry in index if entry.path in acquired.rows]
    rows = [acquired.rows[entry.path] for entry in entries]
    return Labelled(acquired.embeddings[rows], tuple(entry.subject or f"/{of}/{entry.path}" for entry in entries))


def identification_report(
    probes: Labelled,
    distractors: Sequence[Labelled],
    *,
    sizes: Sequence[int] = SIZES,
    threshold_for: ThresholdFor = lambda _: None,
    failed: Sequence[str] = (),
    fpir: float = FPIR,
    seed: int = SEED,
) -> IdentificationReport:
    """Search galleries of each size; `failed` are the people of photographs that gave no embedding.

    Raises `MalformedInput` if nobody has two photographs, so that there is no mated search.
    """
    pool = _Pool(probes, [*distractors], failed)
    total = len(pool.people)
    wanted = sorted({size for size in sizes if 1 < size <= total})
    too_large = tuple(sorted({size for size in sizes if size > total}))
    if too_large and total not in wanted:
        wanted.append(total)
    rng = np.random.default_rng(seed)
    drawn = {size: [pool.draw(size, rng) for _ in range(GALLERIES if size < total else 1)] for size in wanted}
    tops = pool.search(drawn)
    return IdentificationReport(
        n_probes=len(pool.probe_people),
        n_subjects=len(set(probes.people) | set(failed)),
        n_distractors=total - pool.n_enrolled,
        n_available=total,
        n_available_people=pool.n_people,
        fta=len(failed) / len(pool.probe_people),
        fpir=fpir,
        galleries=tuple(_figures(pool, size, tops[size], threshold_for(size), fpir) for size in wanted),
        too_large=too_large,
    )


class _Pool:
    """Everybody who can be in a gallery, the first template of each person before all further ones, and the probes.

    Failed probes come after the others and have no row in `probes`; `mates` is the cosine of each probe with its own
    template, NaN where the probe is that template, so that there is no mated search, or where there is none.
    """

    def __init__(self, probes: Labelled, distractors: Sequence[Labelled], failed: Sequence[str]) -> None:
        people: dict[str, int] = {}
        own = np.array([people.setdefault(name, len(people)) for name in probes.people], dtype=np.intp)
        _, enrolled = np.unique(own, return_index=True)
        self.n_enrolled = len(enrolled)
        names = [name for given in distractors for name in given.people]
        others = np.array([people.setdefault(name, len(people)) for name in names], dtype=np.intp)
        embeddings = np.concatenate([probes.embeddings[enrolled], *(given.embeddings for given in distractors)])
        everybody = np.concatenate([own[enrolled], others])
        _, firsts = np.unique(everybody, return_index=True)
        rest = np.setdiff1d(np.arange(len(everybody)), firsts)
        order = np.concatenate([firsts, rest])
        self.templates, self.people, self.n_people = embeddings[order], everybody[order], len(firsts)
        self.probes = probes.embeddings
        missing = np.array([people.setdefault(name, len(people)) for name in failed], dtype=np.intp)
        self.probe_people = np.concatenate([own, missing])
        mates = np.full(len(self.probe_people), math.nan)
        mates[: len(own)] = np.einsum("ij,ij->i", probes.embeddings, probes.embeddings[enrolled][own])
        mates[enrolled] = math.nan
        mates[len(own) :] = np.where(missing < self.n_enrolled, REFUSED, math.nan)
        self.mates = mates
        if np.isnan(mates).all():
            raise MalformedInput("Identification needs people with two photographs or more.")

    def draw(self, size: int, rng: np.random.Generator) -> NDArray[np.intp]:
        """Return the rows of a random gallery: as many different people as there are, then further templates."""
        if size <= self.n_people:
            return rng.choice(self.n_people, size, replace=False)
        further = self.n_people + rng.choice(len(self.people) - self.n_people, size - self.n_people, replace=False)
        return np.concatenate([np.arange(self.n_people), further])

    def search(self, drawn: dict[int, list[NDArray[np.intp]]]) -> dict[int, Floats]:
        """Return each probe's best cosine with other people, galleries x probes, by gallery size."""
        tops = {size: np.full((len(rows), len(self.probe_people)), REFUSED) for size, rows in drawn.items()}
        for start, cosines in self._blocks():
            for size, galleries in drawn.items():
                for number, rows in enumerate(galleries):
                    tops[size][number, start : start + len(cosines)] = cosines[:, rows].max(axis=1)
        return tops

    def _blocks(self) -> Iterator[tuple[int, FloatArray]]:
        """Yield the cosines of a block of probes with every template; of the same person they are -inf."""
        for start in range(0, len(self.probes), BLOCK):
            cosines = self.probes[start : start + BLOCK] @ self.templates.T
            cosines[self.probe_people[start : start + len(cosines), None] == self.people[None, :]] = -np.inf
            yield start, cosines


def _figures(pool: _Pool, size: int, tops: Floats, policy: float | None, fpir: float) -> GalleryFigures:
    """Return the figures of all searches in galleries of one size; `tops` is galleries x probes."""
    has_mate = ~np.isnan(pool.mates)
    mates = np.broadcast_to(pool.mates[has_mate], (len(tops), int(has_mate.sum()))).ravel()
    rivals = tops[:, has_mate].ravel()
    first = mates > rivals
    table = VerificationScores(np.where(first, mates, REFUSED), tops.ravel())
    curve = table.curve()
    at = curve.at_rate(fpir)
    n_people = min(size, pool.n_people)
    mated_of, other_of = (np.tile(people, len(tops)) for people in (pool.probe_people[has_mate], pool.probe_people))

    def statistics(counts: Weights) -> Floats:
        mated, other = counts[mated_of], counts[other_of]
        if not mated.any():
            return np.full(4, math.nan)
        drawn = table.curve(mated, other)
        found = drawn.at_rate(fpir)
        fnir = math.nan if found is None else drawn.false_rejects[found]
        return np.array([float(mated @ first / mated.sum()), fnir, *_at_policy(table, policy, mated, other)])

    rank1_ci, fnir_ci, policy_fpir_ci, policy_fnir_ci = bootstrap(statistics, int(pool.probe_people.max()) + 1)
    policy_fpir, policy_fnir = _at_policy(table, policy, np.ones(len(mates)), np.ones(tops.size))
    errors = 0 if at is None else round(curve.false_accepts[at] * tops.size)
    return GalleryFigures(
        size=size,
        n_people=n_people,
        n_galleries=len(tops),
        n_mated_searches=len(mates),
        n_non_mated_searches=tops.size,
        rank1=float(first.mean()),
        threshold=None if at is None else float(curve.thresholds[at]),
        fnir=None if at is None else float(curve.false_rejects[at]),
        policy_threshold=policy,
        policy_fpir=None if policy is None else policy_fpir,
        policy_fnir=None if policy is None else policy_fnir,
        support=support(fpir, tops.size, errors),
        ci95=IdentificationIntervals(rank1_ci, fnir_ci, policy_fpir_ci, policy_fnir_ci),
    )


def _at_policy(
    table: VerificationScores, threshold: float | None, mated: Weights, other: Weights
) -> tuple[float, float]:
    """Return FPIR and FNIR at the service's threshold under weights; NaN without one."""
    if threshold is None:
        return math.nan, math.nan
    fpir = float(other @ (table.non_mated >= threshold) / other.sum())
    return fpir, float(1 - mated @ (table.mated >= threshold) / mated.sum())
