"""Everybody's images compared with everybody's: all mated comparisons and the closest of the others.

The closest ones are enough for every threshold that a false-match rate leads to; millions of others are only counted.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from biometrics.types import FloatArray
from evaluation.intervals import Floats

BLOCK = 512
"""Rows of the comparison matrix at a time, which bounds memory to a few kilobytes for each image."""

Rows = NDArray[np.intp]


@dataclass(frozen=True, slots=True)
class ClosestPairs:
    """Mated cosines with the row of one image of each, and the closest non-mated ones, descending, with both rows."""

    mated: Floats = field(repr=False)
    mated_first: Rows = field(repr=False)
    scores: Floats = field(repr=False)
    first: Rows = field(repr=False)
    second: Rows = field(repr=False)


def closest_pairs(embeddings: FloatArray, people: Rows, *, keep: int, floor: float = math.inf) -> ClosestPairs:
    """Compare each of n x d unit vectors with every other one; `people` is the number of the person of each row.

    The `keep` closest non-mated comparisons are returned, and those with a cosine of `floor` or more besides.
    """
    mated, mated_first = [np.empty(0, np.float32)], [np.empty(0, np.intp)]
    scores, first, second = np.empty(0, np.float32), np.empty(0, np.intp), np.empty(0, np.intp)
    columns, bar = np.arange(len(embeddings)), -math.inf
    for start in range(0, len(embeddings), BLOCK):
        rows = columns[start : start + BLOCK]
        cosines = embeddings[rows] @ embeddings[start:].T
        later = columns[None, start:] > rows[:, None]  # each comparison once
        same = people[rows][:, None] == people[None, start:]
        a, b = np.nonzero(later & same)
        mated.append(cosines[a, b])
        mated_first.append(rows[a])
        a, b = np.nonzero(later & ~same & (cosines >= bar))
        scores = np.concatenate([scores, cosines[a, b]])
        first, second = np.concatenate([first, rows[a]]), np.concatenate([second, start + b])
        if len(scores) > keep:
            bar = min(float(np.partition(scores, -keep)[-keep]), floor)
            near = scores >= bar
            scores, first, second = scores[near], first[near], second[near]
    order = np.argsort(-scores, kind="stable")
    return ClosestPairs(
        np.concatenate(mated).astype(np.float64),
        np.concatenate(mated_first),
        scores[order].astype(np.float64),
        first[order],
        second[order],
    )
