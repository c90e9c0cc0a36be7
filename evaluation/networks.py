"""Several embedders on the same faces: what accuracy costs in time and size."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate, pairwise
from typing import Protocol

import numpy as np

from biometrics.ports import FaceEmbedder
from biometrics.types import FloatArray, Pixels
from evaluation.acquisition import Acquired, BatchEmbedder
from evaluation.benchmark import WARM_UP, Latency, Stopwatch
from evaluation.cross import CrossReport, cross_report
from evaluation.protocol import Pair, subjects
from evaluation.verification import VerificationReport, report_on

ALIGNED = (112, 112, 3)


class Candidate(FaceEmbedder, BatchEmbedder, Protocol):
    """An embedder that takes one face, as a gate does, and many, as a measurement does."""


@dataclass(frozen=True, slots=True)
class NetworkReport:
    """Error rates of one network, and the time of one face at a time."""

    verification: VerificationReport
    cross: CrossReport
    embed: Latency


class Together:
    """Embeds each face with every network: n x (d1 + d2 + ...), so that faces are found and aligned only once."""

    def __init__(self, embedders: Sequence[BatchEmbedder]) -> None:
        self._embedders = embedders
        self._sizes: list[int] = []

    def embed_many(self, aligned: Sequence[Pixels]) -> FloatArray:
        """Embed n aligned faces; each network's part of a row is of unit length."""
        parts = [embedder.embed_many(aligned) for embedder in self._embedders]
        self._sizes = [part.shape[1] for part in parts]
        return np.concatenate(parts, axis=1)

    def apart(self, acquired: Acquired) -> Iterator[Acquired]:
        """Return what each network alone would have given, in their order."""
        for start, end in pairwise(accumulate(self._sizes, initial=0)):
            yield replace(acquired, embeddings=np.ascontiguousarray(acquired.embeddings[:, start:end]))


def reports_on(pairs: list[Pair], acquired: Sequence[Acquired], latencies: Sequence[Latency]) -> list[NetworkReport]:
    """Return each network's figures; raises `MalformedInput` on contradicting or fewer than two subjects."""
    known = subjects(pairs)
    return [
        NetworkReport(report_on(pairs, one), cross_report(one, known), latency)
        for one, latency in zip(acquired, latencies, strict=True)
    ]


def embedding_times(candidates: Sequence[Candidate], *, runs: int) -> list[Latency]:
    """Time one face at a time, in turns, so that a busy moment of the machine meets every network.

    The face is noise: what a picture shows does not change the time.
    """
    face = np.random.default_rng(0).integers(0, 256, ALIGNED, dtype=np.uint8)
    watch = Stopwatch()
    for run in range(WARM_UP + runs):
        if run == WARM_UP:
            watch = Stopwatch()
        for number, candidate in enumerate(candidates):
            with watch.stage(str(number)), candidate.embed(face):
                pass
    return list(watch.latencies().values())
