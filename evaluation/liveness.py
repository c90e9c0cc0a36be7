"""Presentation attack detection figures, from labelled photographs, after ISO/IEC 30107-3.

APCER, BPCER and what follows from them are over the presentations to which the detector responded; those without a
face, or unreadable, are the failures to acquire, counted beside them and never as errors or successes.
"""

from __future__ import annotations

import csv
import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from biometrics.capture import largest_face
from biometrics.errors import MalformedInput, UnusableFace
from biometrics.ports import FaceDetector
from biometrics.types import Box, Face, Pixels
from evaluation.acquisition import UNREADABLE, LoadImage, Progress, silent
from evaluation.intervals import Floats, Interval, Weights, bootstrap, clopper_pearson
from evaluation.protocol import ATTACK, BONA_FIDE, Presentation
from evaluation.rates import PadScores
from liveness.pad import PadDetector

APCER_20 = 0.05
"""BPCER20 is the BPCER where the APCER is at most 1 in 20."""


@dataclass(frozen=True, slots=True)
class Scored:
    """One presentation with the detector's verdict and score (1 = surely bona fide)."""

    presentation: Presentation
    passed: bool
    score: float


@dataclass(frozen=True, slots=True)
class Assessed:
    """All presentations: those with a score, those without a face, and files that could not be read."""

    scored: tuple[Scored, ...]
    without_face: tuple[Presentation, ...]
    unreadable: tuple[Presentation, ...]


@dataclass(frozen=True, slots=True)
class LivenessIntervals:
    """95 % intervals: APCER, BPCER, BPCER20 and FTA exact binomial, ACER and EER bootstrapped by
    subject (by domain where no subject is named, else by image).

    The exact ones take presentations as independent, which frames of one video are not: read them as lower bounds
    of the uncertainty.
    """

    apcer: dict[str, Interval | None]
    apcer_max: Interval | None
    bpcer: Interval | None
    bpcer20: Interval | None
    acer: Interval | None
    eer: Interval | None
    fta: Interval | None


@dataclass(frozen=True, slots=True)
class LivenessReport:
    """What the labels say; rates are fractions, None where a kind of presentation is absent.

    `apcer` by species and `bpcer` hold at the detector's own threshold, `acer` is the mean of `apcer_max` and
    `bpcer`; `bpcer20` and `eer` move the threshold and take the worst species at each. `n` counts presentations,
    `n_scored` those responded to, by `bona_fide` and species; `fta` is the share of the others, `non_response` the same
    by kind (BPNRR and, by species, APNRR).
    """

    n: int
    n_scored: dict[str, int]
    apcer: dict[str, float | None]
    apcer_max: float | None
    bpcer: float | None
    bpcer20: float | None
    acer: float | None
    eer: float | None
    fta: float | None
    non_response: dict[str, float]
    ci95: LivenessIntervals
    unreadable: tuple[str, ...]
    without_face: tuple[str, ...]


def assess_all(
    presentations: Sequence[Presentation],
    load: LoadImage,
    *,
    detector: FaceDetector,
    pad: PadDetector,
    progress: Progress = silent,
) -> Assessed:
    """Assess the largest face of every presentation.

    Bad files are named in the result and never stop the run. Raises `MalformedInput` if not one file can be read.
    """
    scored: list[Scored] = []
    without_face: list[Presentation] = []
    unreadable: list[Presentation] = []
    for number, presentation in enumerate(presentations, 1):
        try:
            image = load(presentation.image)
            verdict = pad.assess(image, largest_face(faces_within(image, detector)))
            scored.append(Scored(presentation, verdict.bona_fide, verdict.score))
        except UNREADABLE:
            unreadable.append(presentation)
        except UnusableFace:
            without_face.append(presentation)
        progress(number, len(presentations))
    if unreadable and not scored and not without_face:
        raise MalformedInput("Not one of the images can be read: is this their folder?")
    return Assessed(tuple(scored), tuple(without_face), tuple(unreadable))


def faces_within(image: Pixels, detector: FaceDetector) -> list[Face]:
    """Return the faces of an image, which may be a crop so tight that only a border around it lets them be found."""
    faces = detector.detect(image)
    if faces:
        return faces
    border = min(image.shape[:2]) // 2
    mean = cv2.mean(image)[:3]  # a mirrored border would add faces that are not there
    framed = cv2.copyMakeBorder(image, border, border, border, border, cv2.BORDER_CONSTANT, value=mean)
    return [
        Face(
            Box(face.box.x - border, face.box.y - border, face.box.width, face.box.height),
            face.score,
            face.landmarks - np.float32(border),
        )
        for face in detector.detect(framed.astype(np.uint8, copy=False))
    ]


def liveness_report(assessed: Assessed) -> LivenessReport:
    """Return the figures of assessed presentations, with intervals."""
    groups = _grouped(assessed.scored)
    bona_fide, attacks = groups.pop(BONA_FIDE), groups
    table = PadScores(_scores(bona_fide), {species: _scores(shown) for species, shown in attacks.items()})
    curve = table.curve()
    at20 = curve.at_rate(APCER_20)
    refused = _Rate(sum(not one.passed for one in bona_fide), len(bona_fide))
    refused20 = _Rate(0 if at20 is None else round(curve.false_rejects[at20] * refused.trials), refused.trials)
    passed = {species: _Rate(sum(one.passed for one in shown), len(shown)) for species, shown in attacks.items()}
    worst = max(passed.values(), key=lambda rate: rate.value or 0.0, default=_Rate(0, 0))
    failed = len(assessed.without_face) + len(assessed.unreadable)
    tried = _Rate(failed, failed + len(assessed.scored))
    acer, eer = _resampled(bona_fide, attacks, table)
    return LivenessReport(
        n=tried.trials,
        n_scored={BONA_FIDE: len(bona_fide), **{species: rate.trials for species, rate in passed.items()}},
        apcer={species: rate.value for species, rate in passed.items()},
        apcer_max=worst.value,
        bpcer=refused.value,
        bpcer20=None if at20 is None else refused20.value,
        acer=None if worst.value is None or refused.value is None else (worst.value + refused.value) / 2,
        eer=None if math.isnan(curve.equal_error_rate()) else curve.equal_error_rate(),
        fta=tried.value,
        non_response=_non_response(assessed),
        ci95=LivenessIntervals(
            apcer={species: rate.interval for species, rate in passed.items()},
            apcer_max=worst.interval,
            bpcer=refused.interval,
            bpcer20=None if at20 is None else refused20.interval,
            acer=acer,
            eer=eer,
            fta=tried.interval,
        ),
        unreadable=tuple(one.image for one in assessed.unreadable),
        without_face=tuple(one.image for one in assessed.without_face),
    )


def write_scores(path: Path, assessed: Assessed) -> None:
    """Write a score file, image names and no pixels; raise `MalformedInput` if it cannot be written.

    For evaluation data only: a score of a traveller never leaves the system.
    """
    try:
        with path.open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(("image", "label", "species", "subject", "domain", "score", "passed"))
            for one in assessed.scored:
                shown = one.presentation
                label = BONA_FIDE if shown.bona_fide else ATTACK
                row = (shown.image, label, shown.species, shown.subject, shown.domain)
                writer.writerow((*row, f"{one.score:.6f}", int(one.passed)))
    except OSError:
        raise MalformedInput("The score file cannot be written.") from None


@dataclass(frozen=True, slots=True)
class _Rate:
    """Errors among trials."""

    errors: int
    trials: int

    @property
    def value(self) -> float | None:
        return self.errors / self.trials if self.trials else None

    @property
    def interval(self) -> Interval | None:
        return clopper_pearson(self.errors, self.trials) if self.trials else None


def _grouped(scored: Iterable[Scored]) -> dict[str, list[Scored]]:
    """Split into bona fide (always there, first) and attack species, by name."""
    groups: dict[str, list[Scored]] = {}
    for one in scored:
        groups.setdefault(_kind(one.presentation), []).append(one)
    bona_fide = groups.pop(BONA_FIDE, [])
    return {BONA_FIDE: bona_fide, **dict(sorted(groups.items()))}


def _non_response(assessed: Assessed) -> dict[str, float]:
    """Return the share of each kind of presentation that gave no score."""
    failed = Counter(_kind(one) for one in (*assessed.without_face, *assessed.unreadable))
    tried = failed + Counter(_kind(one.presentation) for one in assessed.scored)
    return {kind: failed[kind] / number for kind, number in sorted(tried.items())}


def _kind(presentation: Presentation) -> str:
    return BONA_FIDE if presentation.bona_fide else presentation.species


def _scores(scored: Sequence[Scored]) -> Floats:
    return np.array([one.score for one in scored], dtype=np.float64)


def _resampled(
    bona_fide: Sequence[Scored], attacks: dict[str, list[Scored]], table: PadScores
) -> tuple[Interval | None, Interval | None]:
    """Bootstrap ACER and EER over subjects (where unknown: domains, else images)."""
    if not bona_fide or not attacks:
        return None, None
    units: dict[tuple[str, str], int] = {}

    def unit(one: Scored) -> int:
        shown = one.presentation
        keys = (("subject", shown.subject), ("domain", shown.domain), ("image", shown.image))
        return units.setdefault(next(key for key in keys if key[1]), len(units))

    groups = {BONA_FIDE: bona_fide, **attacks}
    drawn = {name: np.array([unit(one) for one in scored]) for name, scored in groups.items()}
    wrong = {
        name: np.array([one.passed != one.presentation.bona_fide for one in scored], dtype=np.float64)
        for name, scored in groups.items()
    }

    def statistics(counts: Weights) -> Floats:
        weights = {name: counts[units_of] for name, units_of in drawn.items()}
        rates = {
            name: float(weight @ wrong[name] / weight.sum()) for name, weight in weights.items() if weight.sum() > 0
        }
        bpcer = rates.pop(BONA_FIDE, math.nan)
        acer = (max(rates.values(), default=math.nan) + bpcer) / 2
        curve = table.curve(weights[BONA_FIDE], {name: weights[name] for name in attacks})
        return np.array([acer, curve.equal_error_rate()])

    acer, eer = bootstrap(statistics, len(units))
    return acer, eer
