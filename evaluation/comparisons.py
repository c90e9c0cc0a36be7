"""Comparisons of a sample with the people that they compare, from listed pairs or between all photographs.

These are the plain comparisons of ISO/IEC 19795-1: images without an embedding take no part. No comparison counts
twice, and none of an image with itself.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from biometrics.errors import MalformedInput
from evaluation.acquisition import Acquired
from evaluation.closest_pairs import Rows, closest_pairs
from evaluation.intervals import Floats, Weights
from evaluation.protocol import Pair, subjects


@dataclass(frozen=True, slots=True)
class Comparisons:
    """Mated scores, the highest non-mated scores, descending, with the units that each compares, and counts.

    A unit is a person, or an image where its person is unknown; `people_known` says whether that never happened.
    `first` and `second` are the units of each score in `highest`. `n_subject_pairs` counts different pairs of units
    among the non-mated comparisons; `share_subjects` says whether any unit is in two comparisons. `weigh` returns the
    weight of all non-mated comparisons when each unit was drawn so often.
    """

    mated: Floats = field(repr=False)
    highest: Floats = field(repr=False)
    first: Rows = field(repr=False)
    second: Rows = field(repr=False)
    n_non_mated: int
    n_units: int
    n_subject_pairs: int
    people_known: bool
    share_subjects: bool
    weigh: Callable[[Weights], float] = field(repr=False)


@dataclass(frozen=True, slots=True)
class _Listed:
    """Pairs without repetition: images by number, the unit of each image, and what is mated."""

    images: tuple[str, ...]
    unit_of: Rows
    a: Rows
    b: Rows
    same: NDArray[np.bool_]
    people_known: bool


def pairs_of_people(pairs: list[Pair], *, cross: bool) -> int:
    """Return how many different pairs of different people would be compared, if every image can be used.

    Raises `MalformedInput` if the subjects contradict each other or the labels.
    """
    listed = _listed(pairs)
    if cross:
        return _pairs_of(len(set(_identities(pairs, listed.images)[1].tolist())))
    others = ~listed.same
    return _distinct(listed.unit_of[listed.a[others]], listed.unit_of[listed.b[others]])


def compare_pairs(pairs: list[Pair], acquired: Acquired) -> Comparisons:
    """Compare the listed pairs; raise `MalformedInput` if no non-mated pair is left."""
    listed = _listed(pairs)
    rows = np.array([acquired.rows.get(name, -1) for name in listed.images], dtype=np.intp)
    known = (rows[listed.a] >= 0) & (rows[listed.b] >= 0)
    a, b, same = listed.a[known], listed.b[known], listed.same[known]
    left, right = acquired.embeddings[rows[a]], acquired.embeddings[rows[b]]
    scores: Floats = np.einsum("ij,ij->i", left, right, dtype=np.float64)
    if same.all():
        raise MalformedInput("There is no pair of different people that could be compared.")
    order = np.argsort(-scores[~same], kind="stable")
    units, numbers = np.unique(np.stack([listed.unit_of[a[~same]], listed.unit_of[b[~same]]]), return_inverse=True)
    first, second = numbers.reshape(2, -1)[:, order]

    def weigh(drawn: Weights) -> float:
        return float(drawn[first] @ drawn[second])

    return Comparisons(
        mated=scores[same],
        highest=scores[~same][order],
        first=first,
        second=second,
        n_non_mated=len(order),
        n_units=len(units),
        n_subject_pairs=_distinct(first, second),
        people_known=listed.people_known,
        share_subjects=bool((np.bincount(numbers.ravel()) > 1).any()),
        weigh=weigh,
    )


def compare_all(pairs: list[Pair], acquired: Acquired, keep: Callable[[int], int]) -> Comparisons:
    """Compare every photograph of a known person with every other one.

    `keep` says how many of the highest scores of so many non-mated comparisons are needed. Raises `MalformedInput`
    if there are not two people.
    """
    names, identities = _identities(pairs, tuple(acquired.rows))
    each = np.bincount(identities)
    n_non_mated = _pairs_of(len(names)) - int((each * (each - 1) // 2).sum())
    embeddings = acquired.embeddings[[acquired.rows[name] for name in names]]
    most = keep(n_non_mated)
    found = closest_pairs(embeddings, identities, keep=most)

    def weigh(drawn: Weights) -> float:
        images = drawn * each
        return float((images.sum() ** 2 - (images**2).sum()) / 2)

    return Comparisons(
        mated=found.mated,
        highest=found.scores[:most],
        first=identities[found.first[:most]],
        second=identities[found.second[:most]],
        n_non_mated=n_non_mated,
        n_units=len(each),
        n_subject_pairs=_pairs_of(len(each)),
        people_known=True,
        share_subjects=len(names) > 2,
        weigh=weigh,
    )


def _listed(pairs: list[Pair]) -> _Listed:
    known = subjects(pairs)
    numbers: dict[str, int] = {}
    rows: dict[tuple[int, int], bool] = {}
    for pair in pairs:
        a, b = (numbers.setdefault(name, len(numbers)) for name in (pair.image_a, pair.image_b))
        people = known.get(pair.image_a), known.get(pair.image_b)
        if None not in people and (people[0] == people[1]) != pair.same:
            raise MalformedInput(
                "The subjects in the images' names contradict `same`: give the columns subject_a and subject_b."
            )
        if a != b and rows.setdefault((min(a, b), max(a, b)), pair.same) != pair.same:
            raise MalformedInput("One pair of images is labelled both ways.")
    units: dict[str, int] = {}
    unit_of = [units.setdefault(f"s {known[name]}" if name in known else f"i {name}", len(units)) for name in numbers]
    ends = np.array(list(rows), dtype=np.intp).reshape(-1, 2).T
    return _Listed(
        images=tuple(numbers),
        unit_of=np.array(unit_of, dtype=np.intp),
        a=ends[0],
        b=ends[1],
        same=np.array(list(rows.values()), dtype=np.bool_),
        people_known=numbers.keys() <= known.keys(),
    )


def _identities(pairs: list[Pair], images: Sequence[str]) -> tuple[list[str], Rows]:
    """Return the images of known people, and the number of each one's person; `MalformedInput` with fewer than two."""
    known = subjects(pairs)
    names = [name for name in images if name in known]
    people = {person: number for number, person in enumerate(dict.fromkeys(known[name] for name in names))}
    if len(people) < 2:
        raise MalformedInput("Comparing all photographs needs the subjects of at least two people.")
    return names, np.array([people[known[name]] for name in names], dtype=np.intp)


def _pairs_of(count: int) -> int:
    return count * (count - 1) // 2


def _distinct(first: Rows, second: Rows) -> int:
    """Return how many different unordered pairs of units there are."""
    return len(np.unique(np.sort(np.stack([first, second]), axis=0), axis=1).T)
