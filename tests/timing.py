"""Whether two things can be told apart by how long they take.

Fixed against fixed, in random order; Welch's t-test with the threshold of ISO/IEC 17825:2016 (TVLA). As in dudect
(Reparaz, Balasch and Verbauwhede, "Dude, is my code constant time?", 2017), the slowest tenth is left out: those are
the machine's interruptions, which hide a difference rather than make one.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from time import perf_counter

import numpy as np

TVLA = 4.5
KEPT = 0.9
WARM_UP = 20

Seconds = dict[bool, list[float]]
"""How long each took, of the known (True) and of the unknown."""


def timed(deed: Callable[[bool], object], count: int) -> Seconds:
    """Time a deed with the known and the unknown, `count` times each."""
    order = [True, False] * (count + WARM_UP)
    random.Random(17825).shuffle(order)
    seconds: Seconds = {True: [], False: []}
    for known in order:
        started = perf_counter()
        deed(known)
        seconds[known].append(perf_counter() - started)
    return {known: values[WARM_UP:] for known, values in seconds.items()}


def welch(seconds: Seconds) -> float:
    """Return Welch's t over the quicker part of both."""
    limit = np.quantile(seconds[True] + seconds[False], KEPT)
    a, b = (np.array([value for value in seconds[known] if value <= limit]) for known in (True, False))
    return float((a.mean() - b.mean()) / np.sqrt(a.var(ddof=1) / len(a) + b.var(ddof=1) / len(b)))


def gap_of_medians(seconds: Seconds) -> float:
    """Return by how many seconds the known takes longer, in the median."""
    return float(np.median(seconds[True]) - np.median(seconds[False]))
