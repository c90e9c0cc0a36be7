"""Everything that one evaluation found, as JSON that can be read back and drawn anew."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pydantic import JsonValue, TypeAdapter, ValidationError

from biometrics.card import OperatingPoint
from biometrics.errors import MalformedInput
from evaluation.cross import CrossPoint, CrossReport
from evaluation.curves import CurvePoint, ScoreHistogram
from evaluation.failures import Failures
from evaluation.goals import Goal, Measured
from evaluation.groups import GroupReport
from evaluation.identification import IdentificationReport
from evaluation.robustness import RobustnessReport
from evaluation.verification import VerificationReport

_OBJECT: TypeAdapter[dict[str, JsonValue]] = TypeAdapter(dict[str, JsonValue])


def as_json(report: object) -> dict[str, JsonValue]:
    """Return a dataclass of figures as plain JSON values; intervals become [low, high], what is undefined null."""
    return _OBJECT.validate_json(TypeAdapter(type(report)).dump_json(report))


@dataclass(frozen=True, slots=True)
class DataFile:
    """What was read: its part in the evaluation, its file name, and the SHA-256 of a file (None for a folder)."""

    part: str
    name: str
    sha256: str | None


@dataclass(frozen=True, slots=True)
class NetworkFacts:
    """What the embedder's model card says."""

    name: str
    sha256: str
    architecture: str
    parameters: int
    licence: str
    limits: tuple[str, ...]
    operating_points: tuple[OperatingPoint, ...]


@dataclass(frozen=True, slots=True)
class Provenance:
    """When, with what and on what; `measured_at` is ISO 8601 in UTC, `face` the face policy.

    `smallest_face` is the height in pixels of the smallest face that the detector looked for.
    """

    measured_at: str
    version: str
    command: str
    network: NetworkFacts
    provider: str
    flip: bool
    face: str
    smallest_face: int
    smallest_face_under_conditions: int
    data: tuple[DataFile, ...]


@dataclass(frozen=True, slots=True)
class ReportFigures:
    """All figures of a report; None where a part was not measured. It holds ids of images and no image."""

    provenance: Provenance
    goals: tuple[Goal, ...]
    verification: VerificationReport
    curve: tuple[CurvePoint, ...]
    scores: ScoreHistogram
    failures: Failures | None = None
    cross: CrossReport | None = None
    cross_curve: tuple[CrossPoint, ...] = ()
    groups: GroupReport | None = None
    robustness: RobustnessReport | None = None
    identification: IdentificationReport | None = None
    format: Literal["dwarpal-evaluation-report/1"] = "dwarpal-evaluation-report/1"


_FIGURES = TypeAdapter(ReportFigures)


def write_figures(figures: ReportFigures, path: Path) -> None:
    """Write figures as JSON; raise `MalformedInput` rather than overwrite a file that is something else."""
    if path.exists():
        read_figures(path)
    path.write_bytes(_FIGURES.dump_json(figures, indent=1) + b"\n")


def read_figures(path: Path) -> ReportFigures:
    """Read what `write_figures` wrote; raise `MalformedInput` if it is anything else."""
    content = path.read_bytes()
    try:
        if "format" not in _OBJECT.validate_json(content):
            raise MalformedInput("The JSON file holds no figures of an evaluation report.")
        return _FIGURES.validate_json(content)
    except ValidationError:
        raise MalformedInput("The JSON file holds no figures of an evaluation report.") from None


def measured(figures: ReportFigures) -> dict[str, Measured]:
    """Return every figure that a goal can name, by key."""
    pairs = figures.verification
    found = {
        "accuracy": Measured("Accuracy", pairs.accuracy, pairs.ci95.accuracy),
        "eer": Measured("Equal error rate", pairs.eer, pairs.ci95.eer),
        "fta": Measured("Failures to acquire", pairs.fta, pairs.ci95.fta),
    }
    for far, tar in pairs.tar_at_far.items():
        label = f"TAR at FAR {percent_name(far)}, on the pairs"
        found[f"tar@{far}"] = Measured(label, tar, pairs.ci95.tar_at_far.get(far), pairs.support.get(far))
    for point in () if figures.cross is None else figures.cross.points:
        label = f"TAR at FMR {percent_name(point.rate)}, threshold from all comparisons"
        found[f"cross_tar@{point.rate:g}"] = Measured(label, point.tar, support=point.support)
    return found | _measured_groups(figures.groups) | _measured_conditions(figures) | _measured_galleries(figures)


def percent_name(rate: float | str) -> str:
    """Return a rate as people name it: `0.1 %`."""
    return f"{float(rate) * 100:.6g} %"


def _measured_groups(report: GroupReport | None) -> dict[str, Measured]:
    if report is None or not report.points:
        return {}
    point = report.points[0]
    label = "False-match rate, highest group over lowest"
    found = {"group_ratio": Measured(label, point.ratio, point.ratio_ci95, is_ratio=True)}
    for group in point.groups:
        label = f"False-match rate within {group.group}"
        found[f"group_fmr:{group.group}"] = Measured(label, group.fmr, group.fmr_ci95, group.support)
    return found


def _measured_conditions(figures: ReportFigures) -> dict[str, Measured]:
    report = figures.robustness
    if report is None:
        return {}
    label = f"Loss of TAR at FAR {percent_name(report.far)}"
    return {
        f"loss:{one.condition}": Measured(f"{label}: {one.condition}", one.loss, one.ci95.loss, report.support)
        for one in report.conditions
        if one.condition != "clean"
    }


def _measured_galleries(figures: ReportFigures) -> dict[str, Measured]:
    report = figures.identification
    if report is None:
        return {}
    label = f"FNIR at FPIR {percent_name(report.fpir)}, gallery of"
    return {
        f"fnir@{one.size}": Measured(f"{label} {one.size:,}", one.fnir, one.ci95.fnir, one.support)
        for one in report.galleries
    }
