"""One face recognition system beside others: the same photographs, the same rules, the same figures for each.

A system brings its own detector, alignment, network and distance. It sees the photographs of a pairs protocol one by
one, as a gate would, so that one pass gives error rates and times. Where a system finds no face it refuses, and its
pairs and its comparisons both count that as a rejection.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from biometrics.alignment import align
from biometrics.embedding import unit_rows
from biometrics.errors import UnusableFace
from biometrics.ports import FaceDetector, Network
from biometrics.types import FloatArray, Pixels
from evaluation.acquisition import UNREADABLE, Acquired, LoadImage, Progress, silent, subject_face
from evaluation.benchmark import Latency, Stopwatch
from evaluation.cross import CrossReport, cross_report
from evaluation.protocol import FacePolicy, Pair, subjects
from evaluation.verification import VerificationReport, report_on

WARM_UP = 10
"""Photographs whose time is not counted: the first runs allocate and compile."""

TIMED = 300
"""Photographs whose time is counted; the same ones for every system."""

FMRS = (1e-2, 1e-3, 1e-4)

LIFT = 16.0
"""Radius of the sphere of `on_sphere`, in units of the distance."""

Sample = TypeVar("Sample")


class Recognizer(Protocol[Sample]):
    """A face recognition system in two steps; `Sample` is whatever its network takes."""

    def find(self, image: Pixels) -> Sample:
        """Find the face nearest the middle and bring it to the network's form; raise `UnusableFace` without one."""
        ...

    def embed(self, sample: Sample) -> FloatArray:
        """Embed one face as d float32 of unit length, to be compared by cosine."""
        ...


@dataclass(frozen=True, slots=True)
class Peer:
    """What a system is: `size` numbers in an embedding, `weight_bytes` of its embedding network on disk."""

    name: str
    what: str
    size: int
    parameters: int
    weight_bytes: int
    runtime: str
    licence: str
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class PeerReport:
    """What a system can do; without `verification` only its speed was measured.

    `cross_tar` is the TAR at each FMR of `cross`, where comparisons with a photograph that gave no face are
    rejections. `latency` holds decode, find, embed and their sum, of one photograph at a time; `cpu` is the processor's
    seconds for each second of these: with one thread clearly below 1 means that the machine was busy with something
    else, and that the latencies are too long.
    """

    peer: Peer
    verification: VerificationReport | None
    cross: CrossReport | None
    cross_tar: dict[str, float]
    latency: dict[str, Latency]
    n_timed: int
    cpu: float


class AlignedNetwork:
    """A network behind our own detector and alignment: the product itself, or another network in its place.

    `mean` and `std` are those of RGB 0-255; with `flip` the embedding is the mean of the face's and its mirror
    image's. Any length of embedding will do.
    """

    def __init__(
        self,
        detector: FaceDetector,
        network: Network,
        *,
        mean: Sequence[float],
        std: Sequence[float],
        flip: bool,
    ) -> None:
        self._detector = detector
        self._network = network
        self._mean = np.array(mean, np.float32)[:, None, None]
        self._std = np.array(std, np.float32)[:, None, None]
        self._flip = flip

    def find(self, image: Pixels) -> Pixels:
        """Detect and align the face nearest the middle."""
        face = subject_face(FacePolicy.CENTER, self._detector.detect(image), image)
        return align(image, face.landmarks)

    def embed(self, sample: Pixels) -> FloatArray:
        """Embed one aligned face."""
        batch = (sample.transpose(2, 0, 1)[None].astype(np.float32) - self._mean) / self._std
        if self._flip:
            batch = np.concatenate((batch, batch[..., ::-1]))
        vectors = unit_rows(self._network.run(np.ascontiguousarray(batch))[0])
        mean: FloatArray = unit_rows(vectors.sum(axis=0, keepdims=True))[0]
        return mean


def on_sphere(vector: FloatArray) -> FloatArray:
    """Lift a vector that is compared by Euclidean distance onto a sphere, where the cosine ranks the same way.

    One more coordinate, sqrt(R^2 - |x|^2), gives every vector the length R. Cosines then follow |x - y|^2 plus about
    (|x|^2 - |y|^2)^2 / 4 R^2, and the second term vanishes as R grows (the idea: Bachrach et
    al., "Speeding up the Xbox recommender system using a Euclidean transformation for inner-product spaces", 2014).
    Raises `ValueError` if the vector is longer than R.
    """
    wide = vector.astype(np.float64)
    rest = LIFT**2 - float(wide @ wide)
    if not rest >= 0:
        raise ValueError("the vector is too long for the sphere")
    return np.asarray(np.append(wide, np.sqrt(rest)) / LIFT, np.float32)


def measure(
    recognizer: Recognizer[Sample],
    peer: Peer,
    pairs: list[Pair],
    load: LoadImage,
    *,
    accuracy: bool = True,
    timed: int = TIMED,
    progress: Progress = silent,
) -> PeerReport:
    """Show every photograph of the pairs to a system; without `accuracy` only as many as are timed.

    Raises `UnusableFace` if it finds no face in any of them.
    """
    names = list(dict.fromkeys(name for pair in pairs for name in (pair.image_a, pair.image_b)))
    names = names if accuracy else names[: WARM_UP + timed]
    acquired, watch, cpu = _acquire(recognizer, names, load, timed, progress)
    if not acquired.rows:
        raise UnusableFace("The system found no face in any photograph.")
    latency = watch.latencies()
    n_timed = len(watch.seconds.get("photograph", ()))
    if not accuracy:
        return PeerReport(peer, None, None, {}, latency, n_timed, cpu)
    subject_of = subjects(pairs)
    cross = cross_report(acquired, subject_of, FMRS)
    reached = _reached(cross, names, subject_of)
    return PeerReport(peer, report_on(pairs, acquired), cross, reached, latency, n_timed, cpu)


def _acquire(
    recognizer: Recognizer[Sample], names: Sequence[str], load: LoadImage, timed: int, progress: Progress
) -> tuple[Acquired, Stopwatch, float]:
    """Embed each photograph by itself, and keep the time of the first `timed` ones after the warm-up."""
    watch, kept = Stopwatch(), Stopwatch()
    clocks, share = _clocks(), 1.0
    vectors: list[FloatArray] = []
    rows: dict[str, int] = {}
    unreadable: list[str] = []
    without_face: list[str] = []
    for number, name in enumerate(names, 1):
        try:
            with watch.stage("photograph"):
                with watch.stage("decode"):
                    image = load(name)
                with watch.stage("find"):
                    sample = recognizer.find(image)
                with watch.stage("embed"):
                    vectors.append(recognizer.embed(sample))
            rows[name] = len(rows)
        except UNREADABLE:
            unreadable.append(name)
        except UnusableFace:
            without_face.append(name)
        if number == min(WARM_UP, len(names) - 1):
            watch, clocks = Stopwatch(), _clocks()
        if number == min(WARM_UP + timed, len(names)):
            kept, watch, (wall, processor) = watch, Stopwatch(), _clocks() - clocks
            share = float(processor / wall)
        progress(number, len(names))
    embeddings = np.stack(vectors) if vectors else np.empty((0, 0), np.float32)
    return Acquired(embeddings, rows, tuple(unreadable), tuple(without_face)), kept, share


def _clocks() -> NDArray[np.float64]:
    """Return the seconds of the wall's clock and of this process on all its threads."""
    return np.array([time.perf_counter(), time.process_time()])


def _reached(cross: CrossReport, names: Sequence[str], subject_of: dict[str, str]) -> dict[str, float]:
    """Return the TAR at each FMR where mated comparisons with a photograph without a face count as rejected."""
    known = [subject_of[name] for name in names if name in subject_of]
    each = np.unique(known, return_counts=True)[1]
    all_mated = int((each * (each - 1) // 2).sum())
    return {
        f"{point.rate:g}": point.tar * cross.n_mated / all_mated
        for point in cross.points
        if point.tar is not None and all_mated
    }
