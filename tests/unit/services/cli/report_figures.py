"""Figures of a small evaluation for the tests of reports, measured on made-up embeddings."""

from __future__ import annotations

import numpy as np

from biometrics.card import OperatingPoint
from evaluation.acquisition import Acquired
from evaluation.cross import cross_report
from evaluation.curves import log_rates, pair_curve, score_histogram
from evaluation.failures import failed_pairs
from evaluation.goals import DECLARED
from evaluation.groups import GroupFigures, GroupPoint, GroupReport
from evaluation.identification import GalleryFigures, IdentificationIntervals, IdentificationReport
from evaluation.intervals import Interval
from evaluation.protocol import Pair, subjects
from evaluation.rates import Support
from evaluation.report import DataFile, NetworkFacts, Provenance, ReportFigures
from evaluation.robustness import ConditionFigures, ConditionIntervals, RobustnessReport
from evaluation.verification import report_on

HOSTILE = "<script>alert('$x$')</script>\"&\u202e\x07"
"""An id that would run, leave its attribute, become mathematics, turn the line around, or break XML."""

PEOPLE = 40


def made_up_pairs(bad_name: str = "dark.webp") -> tuple[list[Pair], Acquired]:
    """Return pairs of 40 people with four images each, two of which are hard, and one image without a face."""
    rng = np.random.default_rng(7)
    rows: dict[str, int] = {}
    embeddings = []
    for person, center in enumerate(rng.normal(size=(PEOPLE, 512))):
        for image in range(4):
            vector = center + rng.normal(size=512) * (1.0 if image < 2 else 2.5)
            rows[f"Person_{person:02}x_{image}.webp"] = len(rows)
            embeddings.append(vector / np.linalg.norm(vector))
    names = list(rows)
    mated = [Pair(names[4 * p + a], names[4 * p + b], True) for p in range(PEOPLE) for a, b in ((0, 1), (2, 3), (1, 2))]
    others = [Pair(names[4 * p], names[(4 * p + 4 * k) % len(names)], False) for p in range(PEOPLE) for k in (1, 2, 3)]
    pairs = [*mated, *others, Pair(bad_name, names[0], True)]
    return pairs, Acquired(np.array(embeddings, np.float32), rows, (), (bad_name,))


def small_figures(bad_name: str = "dark.webp") -> ReportFigures:
    """Return the figures without any optional part but all comparisons."""
    pairs, acquired = made_up_pairs(bad_name)
    known = subjects(pairs)
    cross = cross_report(acquired, known)
    network = NetworkFacts(
        name="pilot",
        sha256="ab" * 32,
        architecture="IResNet-18",
        parameters=9_223_744,
        licence="Some licence",
        limits=("A pilot.",),
        operating_points=(OperatingPoint(rate=1e-2, threshold=0.9), OperatingPoint(rate=1e-3, threshold=-0.9)),
    )
    provenance = Provenance(
        measured_at="2026-03-01T12:30:00+00:00",
        version="0.1.0",
        command="dwarpal evaluate report --pairs pairs.csv",
        network=network,
        provider="CPU",
        flip=True,
        face="center",
        smallest_face=60,
        smallest_face_under_conditions=20,
        data=(DataFile("pairs", "pairs.csv", "cd" * 32), DataFile("photographs of the pairs", "photographs", None)),
    )
    return ReportFigures(
        provenance=provenance,
        goals=DECLARED,
        verification=report_on(pairs, acquired),
        curve=pair_curve(pairs, acquired),
        scores=score_histogram(pairs, acquired),
        failures=failed_pairs(
            pairs, acquired, rate=1e-3, threshold=cross.points[1].threshold, basis="all comparisons", limit=5
        ),
        cross=cross,
        cross_curve=cross_report(acquired, known, log_rates(1e-2, cross.n_non_mated)).points,
    )


def some_groups(*names: str) -> GroupReport:
    """Return groups with a rate of 0.1 %, 0.2 % and so on; the last one has no comparison."""
    last = len(names) - 1
    groups = tuple(
        GroupFigures(
            group=name,
            n_images=50,
            n_subjects=50,
            n_non_mated=1225 if i < last else 0,
            false_matches=i + 1,
            fmr=(i + 1) / 1000 if i < last else None,
            fmr_ci95=Interval(i / 1000, (i + 2) / 1000) if i < last else None,
            n_mated=0,
            false_non_matches=0,
            fnmr=None,
            fnmr_ci95=None,
            support=Support.UNSUPPORTED,
        )
        for i, name in enumerate(names)
    )
    between: dict[str, dict[str, float | None]] = {name: dict.fromkeys(names, 1e-3) for name in names}
    point = GroupPoint(
        "overall", 1e-3, 0.31, 12, 1e-3, Support.FEW_ERRORS, groups, between, names[-2], names[0], 2.5, Interval(1.5, 4)
    )
    return GroupReport(100, 100, 0, 4950, (point,), dict.fromkeys(names, 0.0), (), ())


def some_conditions(*names: str) -> RobustnessReport:
    """Return the clean pairs and conditions that lose 1, 2 and so on points."""
    conditions = tuple(
        ConditionFigures(
            condition=name,
            family=name.split("/")[0],
            description=f"what {name} does",
            n_images=120,
            fta=0.0,
            tar=0.95 - i / 100,
            threshold=0.3,
            loss=i / 100,
            tar_at_clean_threshold=0.94 - i / 100,
            far_at_clean_threshold=0.01,
            tar_cross=None,
            threshold_cross=None,
            loss_cross=None,
            ci95=ConditionIntervals(
                tar=Interval(0.9 - i / 100, 0.97),
                loss=Interval(-0.01, 0.03),
                tar_at_clean_threshold=None,
                tar_cross=None,
                loss_cross=None,
                fta=Interval(0, 0.03),
            ),
        )
        for i, name in enumerate(("clean", *names))
    )
    return RobustnessReport(241, 121, 120, 0, 0.01, Support.UNSUPPORTED, 1, "image_b", "subjects", conditions)


def some_galleries() -> IdentificationReport:
    """Return two sizes; the service has no threshold for the larger one."""
    galleries = tuple(
        GalleryFigures(
            size=size,
            n_people=size,
            n_galleries=10,
            n_mated_searches=400,
            n_non_mated_searches=500,
            rank1=0.91,
            threshold=0.4,
            fnir=fnir,
            policy_threshold=0.42 if known else None,
            policy_fpir=0.02 if known else None,
            policy_fnir=0.22 if known else None,
            support=Support.SUPPORTED,
            ci95=IdentificationIntervals(None, Interval(fnir - 0.02, fnir + 0.02), None, None),
        )
        for size, fnir, known in ((100, 0.1234, True), (10_000, 0.2345, False))
    )
    return IdentificationReport(500, 40, 9_960, 10_000, 10_000, 0.0, 0.01, galleries, (100_000,))
