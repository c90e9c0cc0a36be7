"""How much verification loses when one of two photographs gets worse: dark, small, blurred, hidden, turned, aged.

The first photograph of each pair (`image_a`, what was enrolled) stays as it is; the second (`image_b`, what a gate
sees) is degraded before the detector sees it, in mated and non-mated pairs alike. A face that is no longer found is a
rejection.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from biometrics.ports import FaceDetector
from evaluation.acquisition import Acquired, BatchEmbedder, LoadImage, Progress, acquire_all, silent
from evaluation.degradations import Condition, degrading
from evaluation.intervals import SEED, Floats, Interval, Weights, bootstrap, clopper_pearson
from evaluation.protocol import FacePolicy, Pair, subjects
from evaluation.rates import ACCEPT_ALL, REFUSED, ErrorCurve, Support, VerificationScores, support

FAR = 0.01
"""The false-accept rate at which conditions are compared."""

CLEAN = "clean"


@dataclass(frozen=True, slots=True)
class ConditionIntervals:
    """95 % intervals, bootstrapped by subject with clean and degraded pairs drawn together; `fta` exact binomial.

    Each replicate finds its own thresholds, except for `tar_cross` and `loss_cross`, where millions of comparisons
    have fixed them.
    """

    tar: Interval | None
    loss: Interval | None
    tar_at_clean_threshold: Interval | None
    tar_cross: Interval | None
    loss_cross: Interval | None
    fta: Interval


@dataclass(frozen=True, slots=True)
class ConditionFigures:
    """One condition; rates are fractions, None where a kind of pair is absent.

    `condition` is `family/strength` (`light/gamma-3`), or `clean`. `tar` is at `threshold`, the smallest one whose
    false-accept rate on this condition's own non-mated pairs is at most `FAR`; `loss` is the clean pairs' `tar` less it
    (in points: times 100). `tar_at_clean_threshold` and `far_at_clean_threshold` keep the threshold of the clean pairs,
    as a gate would. `tar_cross` is the mated pairs' TAR at `threshold_cross`, where the false-accept rate over all
    comparisons of a clean `image_a` with a degraded `image_b` of somebody else is at most `FAR`; None without
    subjects. `loss_cross` is the clean `tar_cross` less it. `fta` is the share of degraded photographs that gave no
    embedding.
    """

    condition: str
    family: str
    description: str
    n_images: int
    fta: float
    tar: float | None
    threshold: float | None
    loss: float | None
    tar_at_clean_threshold: float | None
    far_at_clean_threshold: float | None
    tar_cross: float | None
    threshold_cross: float | None
    loss_cross: float | None
    ci95: ConditionIntervals


@dataclass(frozen=True, slots=True)
class RobustnessReport:
    """The clean pairs first, then each condition in the order given.

    `support` says what the non-mated pairs can carry at `far`; `n_cross` is the number of comparisons behind the
    `cross` figures; `seed` is that of the degradations; `degraded` says which photograph of a pair they touched;
    `resampled` what the bootstrap drew: `subjects`, or `images` where no subject is known.
    """

    n_pairs: int
    n_mated: int
    n_non_mated: int
    n_cross: int
    far: float
    support: Support
    seed: int
    degraded: str
    resampled: str
    conditions: tuple[ConditionFigures, ...]


def measure_robustness(
    pairs: Sequence[Pair],
    load: LoadImage,
    conditions: Sequence[Condition],
    *,
    detector: FaceDetector,
    embedder: BatchEmbedder,
    face: FacePolicy = FacePolicy.CENTER,
    seed: int = SEED,
    progress: Progress = silent,
) -> RobustnessReport:
    """Run the pairs clean and under each condition through detection, alignment and embedding.

    The same seed gives the same degraded photographs, whatever the other pairs and conditions are. Raises
    `MalformedInput` if not one file can be read, or on contradicting subjects.
    """
    probes = list(dict.fromkeys(pair.image_b for pair in pairs))
    everything = list(dict.fromkeys(name for pair in pairs for name in (pair.image_a, pair.image_b)))
    total = len(everything) + len(probes) * len(conditions)
    clean = acquire_all(
        everything, load, detector=detector, embedder=embedder, face=face, progress=_shifted(progress, 0, total)
    )
    table = _PairTable(pairs, clean)
    figures = [_figures(table, None, table.clean_scores, clean)]
    for number, condition in enumerate(conditions):
        before = len(everything) + number * len(probes)
        degraded = acquire_all(
            probes,
            degrading(load, clean.faces, condition, seed),
            detector=detector,
            embedder=embedder,
            face=face,
            progress=_shifted(progress, before, total),
        )
        figures.append(_figures(table, condition, table.scores(degraded), degraded))
    return table.report(figures, seed)


def _shifted(progress: Progress, before: int, total: int) -> Progress:
    """Return what is told about a part of the work and tells about the whole."""
    return lambda done, _: progress(before + done, total)


@dataclass(frozen=True, slots=True)
class _Scores:
    """The pairs' scores under one condition, and the thresholds for `FAR` that follow from it."""

    pairs: Floats
    split: VerificationScores
    threshold: float | None
    threshold_cross: float | None


class _PairTable:
    """The pairs with their clean photographs: what every condition is compared with."""

    def __init__(self, pairs: Sequence[Pair], clean: Acquired) -> None:
        self.pairs = pairs
        self.clean = clean
        self.same = np.array([pair.same for pair in pairs], dtype=np.bool_)
        self.known = subjects(pairs)
        units: dict[str, int] = {}
        drawn = [
            [units.setdefault(self.known.get(image, f"/{image}"), len(units)) for image in (pair.image_a, pair.image_b)]
            for pair in pairs
        ]
        self.first, self.second = np.array(drawn, dtype=np.intp).reshape(-1, 2).T
        self.n_units = len(units)
        self.references = self._people(pair.image_a for pair in pairs)
        self.probes = self._people(pair.image_b for pair in pairs)
        probes_of = Counter(self.probes.values())
        of_the_same = sum(probes_of[person] for person in self.references.values())
        self.n_cross = len(self.references) * len(self.probes) - of_the_same
        self.clean_scores = self.scores(clean)

    def _people(self, names: Iterable[str]) -> dict[str, int]:
        """Return the number of the subject of each distinct image that has a known one."""
        numbers = {subject: number for number, subject in enumerate(dict.fromkeys(self.known.values()))}
        return {name: numbers[self.known[name]] for name in names if name in self.known}

    def scores(self, degraded: Acquired) -> _Scores:
        """Compare clean first photographs with degraded second ones."""
        scores = np.full(len(self.pairs), REFUSED)
        rows = [(self.clean.rows.get(p.image_a, -1), degraded.rows.get(p.image_b, -1)) for p in self.pairs]
        a, b = np.array(rows, dtype=np.intp).reshape(-1, 2).T
        both = (a >= 0) & (b >= 0)
        if both.any():
            left, right = self.clean.embeddings[a[both]], degraded.embeddings[b[both]]
            scores[both] = np.einsum("ij,ij->i", left, right, dtype=np.float64)
        split = VerificationScores(scores[self.same], scores[~self.same])
        return _Scores(scores, split, _threshold(split.curve()), self._cross_threshold(degraded))

    def _cross_threshold(self, degraded: Acquired) -> float | None:
        """Return the smallest threshold whose FAR over all comparisons of different people is at most `FAR`."""
        references = [name for name in self.references if name in self.clean.rows]
        probes = [name for name in self.probes if name in degraded.rows]
        if not self.n_cross:
            return None
        if not references or not probes:
            return ACCEPT_ALL
        left = self.clean.embeddings[[self.clean.rows[name] for name in references]]
        right = degraded.embeddings[[degraded.rows[name] for name in probes]]
        other = np.array([self.references[name] for name in references])[:, None] != np.array(
            [self.probes[name] for name in probes]
        )
        strangers = (left @ right.T)[other]
        allowed = math.floor(np.nextafter(FAR * self.n_cross, np.inf))
        if allowed >= len(strangers):
            return ACCEPT_ALL
        return float(np.nextafter(np.float64(np.partition(strangers, -allowed - 1)[-allowed - 1]), np.inf))

    def report(self, figures: Sequence[ConditionFigures], seed: int) -> RobustnessReport:
        """Put the figures of all conditions together."""
        n_non_mated = int((~self.same).sum())
        clean = self.clean_scores
        errors = 0 if clean.threshold is None else int((clean.split.non_mated >= clean.threshold).sum())
        return RobustnessReport(
            n_pairs=len(self.pairs),
            n_mated=int(self.same.sum()),
            n_non_mated=n_non_mated,
            n_cross=self.n_cross,
            far=FAR,
            support=support(FAR, n_non_mated, errors),
            seed=seed,
            degraded="image_b",
            resampled="subjects" if self.known else "images",
            conditions=tuple(figures),
        )

    def intervals(self, under: _Scores, acquired: Acquired) -> ConditionIntervals:
        """Bootstrap over subjects, the clean and the degraded pairs drawn together."""
        clean, same = self.clean_scores, self.same
        passes = [
            np.full(int(same.sum()), math.nan) if s.threshold_cross is None else s.split.mated >= s.threshold_cross
            for s in (clean, under)
        ]

        def statistics(counts: Weights) -> Floats:
            weights = np.where(self.first == self.second, counts[self.first], counts[self.first] * counts[self.second])
            mated, non_mated = weights[same], weights[~same]
            if not mated.any():
                return np.full(5, math.nan)
            before, after = (s.split.curve(mated, non_mated) for s in (clean, under))
            tar_before, tar_after = _tar(before), _tar(after)
            threshold = _threshold(before)
            kept = math.nan if threshold is None else float(mated @ (under.split.mated >= threshold) / mated.sum())
            cross_before, cross_after = (float(mated @ passed / mated.sum()) for passed in passes)
            return np.array([tar_after, tar_before - tar_after, kept, cross_after, cross_before - cross_after])

        tar, loss, kept, tar_cross, loss_cross = bootstrap(statistics, self.n_units)
        fta = clopper_pearson(acquired.n_failed, acquired.n_images)
        return ConditionIntervals(tar, loss, kept, tar_cross, loss_cross, fta)


def _figures(table: _PairTable, condition: Condition | None, under: _Scores, acquired: Acquired) -> ConditionFigures:
    clean, split = table.clean_scores, under.split
    tar, clean_tar = _tar(split.curve()), _tar(clean.split.curve())
    cross, clean_cross = (_share(s.split.mated, s.threshold_cross) for s in (under, clean))
    return ConditionFigures(
        condition=CLEAN if condition is None else condition.name,
        family=CLEAN if condition is None else condition.family,
        description="both photographs as they are" if condition is None else condition.description,
        n_images=acquired.n_images,
        fta=acquired.n_failed / acquired.n_images,
        tar=None if math.isnan(tar) else tar,
        threshold=under.threshold,
        loss=None if math.isnan(tar) else clean_tar - tar,
        tar_at_clean_threshold=_share(split.mated, clean.threshold),
        far_at_clean_threshold=_share(split.non_mated, clean.threshold),
        tar_cross=cross,
        threshold_cross=under.threshold_cross,
        loss_cross=None if cross is None or clean_cross is None else clean_cross - cross,
        ci95=table.intervals(under, acquired),
    )


def _threshold(curve: ErrorCurve) -> float | None:
    at = curve.at_rate(FAR)
    return None if at is None else float(curve.thresholds[at])


def _tar(curve: ErrorCurve) -> float:
    """Return the TAR at `FAR`, NaN without mated or non-mated weight."""
    at = curve.at_rate(FAR)
    return math.nan if at is None else float(1 - curve.false_rejects[at])


def _share(scores: Floats, threshold: float | None) -> float | None:
    return None if threshold is None or not len(scores) else float((scores >= threshold).mean())
