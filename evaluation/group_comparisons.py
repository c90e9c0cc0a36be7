"""Everybody compared with everybody, by group."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from biometrics.errors import MalformedInput
from evaluation.acquisition import Acquired
from evaluation.closest_pairs import closest_pairs
from evaluation.intervals import Floats, Weights
from evaluation.protocol import IndexEntry
from evaluation.rates import ACCEPT_ALL

MARGIN = 5
"""How many times the comparisons that may pass are kept, since a resampled threshold may lie lower."""


class GroupedPeople:
    """Who is on which image with an embedding, and in which group: numbers, in the order of the index."""

    def __init__(self, index: Sequence[IndexEntry], acquired: Acquired) -> None:
        self.images = [entry for entry in index if entry.path in acquired.rows]
        self.groups = list(dict.fromkeys(entry.group for entry in self.images))
        self.names = list(dict.fromkeys(_name(entry) for entry in self.images))
        if len(self.names) < 2:
            raise MalformedInput("Comparing groups needs at least two people with a usable image.")
        group_of = dict.fromkeys(self.names, "")
        for entry in self.images:
            if group_of[_name(entry)] not in ("", entry.group):
                raise MalformedInput("One subject is in two groups.")
            group_of[_name(entry)] = entry.group
        numbers = {name: number for number, name in enumerate(self.names)}
        self.of_image = np.array([numbers[_name(entry)] for entry in self.images])
        self.group_of_image = np.array([self.groups.index(entry.group) for entry in self.images])
        self.group_of_person = np.array([self.groups.index(group_of[name]) for name in self.names])
        self.n_images_each = np.bincount(self.of_image).astype(np.float64)

    def n_comparisons(self, counts: Weights) -> tuple[Floats, float]:
        """Return the weight of all non-mated comparisons, between groups (g x g) and in all, for a draw of people.

        A person drawn twice is not compared with itself.
        """
        mass = np.bincount(self.group_of_person, weights=counts * self.n_images_each, minlength=len(self.groups))
        own = np.bincount(self.group_of_person, weights=(counts * self.n_images_each) ** 2, minlength=len(self.groups))
        between: Floats = np.outer(mass, mass).astype(np.float64)
        np.fill_diagonal(between, (mass**2 - own) / 2)
        return between, float((mass.sum() ** 2 - own.sum()) / 2)


def _name(entry: IndexEntry) -> str:
    """Return the subject, or for an image without one a name that no subject has."""
    return entry.subject or f"/{entry.path}"


class GroupedComparisons:
    """All mated comparisons, and the closest non-mated ones, closest first: enough for every threshold asked for."""

    def __init__(self, acquired: Acquired, people: GroupedPeople, rate: float, *, floor: float) -> None:
        self.people = people
        everybody = np.ones(len(people.names))
        self.n_non_mated = round(people.n_comparisons(everybody)[1])
        embeddings = acquired.embeddings[[acquired.rows[entry.path] for entry in people.images]]
        found = closest_pairs(
            embeddings, people.of_image, keep=math.ceil(MARGIN * rate * self.n_non_mated) + 1, floor=floor
        )
        self.mated, self.mated_person = found.mated, people.of_image[found.mated_first]
        self.scores = found.scores
        self._persons = people.of_image[found.first], people.of_image[found.second]
        groups = people.group_of_image[found.first], people.group_of_image[found.second]
        low, high = np.minimum(*groups), np.maximum(*groups)
        self._cell = low * len(people.groups) + high

    def weights(self, counts: Weights) -> Weights:
        """Return how often each of the closest comparisons was drawn."""
        weights: Weights = counts[self._persons[0]] * counts[self._persons[1]]
        return weights

    def threshold(self, rate: float, counts: Weights | None = None) -> float:
        """Return the smallest threshold whose FMR over all comparisons is at most `rate`; ties fall together."""
        if counts is None:
            counts = np.ones(len(self.people.names))
        accepted = np.cumsum(self.weights(counts))
        allowed = rate * self.people.n_comparisons(counts)[1] * (1 + 1e-12)
        over = int(np.searchsorted(accepted, allowed, side="right"))
        return float(np.nextafter(self.scores[over], np.inf)) if over < len(accepted) else ACCEPT_ALL

    def false_matches(self, threshold: float, weights: Weights) -> Floats:
        """Return the weight of the accepted non-mated comparisons between groups (g x g, symmetric)."""
        n = len(self.people.groups)
        accepted = int(np.searchsorted(-self.scores, -threshold, side="right"))
        cells = np.bincount(self._cell[:accepted], weights=weights[:accepted], minlength=n * n).reshape(n, n)
        symmetric: Floats = np.maximum(cells, cells.T)
        return symmetric
