"""The same pairs in the clear and under encryption, through the parts that gates and key holder use."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median
from time import perf_counter

import numpy as np

from biometrics.errors import MalformedInput
from biometrics.types import Template
from evaluation.acquisition import Acquired
from evaluation.protocol import Pair
from infra.blind import BlindSide, SeeingSide, least, make_keys, whole


@dataclass(frozen=True, slots=True)
class BlindFigures:
    """Decisions that differ, and what a comparison costs: medians in milliseconds, and bytes."""

    pairs: int
    mated: int
    threshold: float
    other_than_whole: int
    other_than_floats: int
    encrypt_ms: float
    multiply_ms: float
    decide_ms: float
    template_bytes: int
    product_bytes: int


def compare_blindly(
    pairs: Sequence[Pair],
    acquired: Acquired,
    *,
    threshold: float,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> BlindFigures:
    """Compare every pair whose two images gave a template, under a new key; raise `MalformedInput` if there is none."""
    secret, public = make_keys()
    gate, holder = BlindSide(public), SeeingSide(secret)
    times: list[tuple[float, float, float]] = []
    mated = otherwise = floats = sizes = products = 0
    known = [pair for pair in pairs if pair.image_a in acquired.rows and pair.image_b in acquired.rows]
    if not known:
        raise MalformedInput("In no pair did both photographs give a template.")
    for number, pair in enumerate(known, 1):
        enrolled, probe = (acquired.embeddings[acquired.rows[name]] for name in (pair.image_a, pair.image_b))
        marks = [perf_counter()]
        encrypted = gate.encrypt(Template(enrolled.astype(np.float32)))
        marks.append(perf_counter())
        numbers = whole(probe)
        product, smallest = gate.multiply(encrypted, numbers), least(threshold, numbers)
        marks.append(perf_counter())
        enough = holder.enough(product, smallest)
        marks.append(perf_counter())
        times.append((marks[1] - marks[0], marks[2] - marks[1], marks[3] - marks[2]))
        mated += pair.same
        otherwise += enough != (int(np.dot(whole(enrolled), numbers)) >= smallest)
        floats += enough != (float(enrolled @ probe) >= threshold)
        sizes, products = len(encrypted), len(product)
        progress(number, len(known))
    encrypt, multiply, decide = (median(step) * 1000 for step in zip(*times, strict=True))
    return BlindFigures(len(known), mated, threshold, otherwise, floats, encrypt, multiply, decide, sizes, products)
