"""Figures of an evaluation as tables for people."""

from __future__ import annotations

from evaluation.benchmark import Latency
from evaluation.cross import CrossReport
from evaluation.detectors import DetectorComparison
from evaluation.intervals import Interval
from evaluation.liveness import LivenessReport
from evaluation.report import as_json
from evaluation.verification import VerificationReport
from services.cli.output import fields, print_table, remark, say

COLUMNS = ("figure", "value", "95 % interval", "note")


def show_verification(report: VerificationReport) -> None:
    """Print the figures of pairs, and name the images that gave no template."""
    ci95 = report.ci95
    counts = f"{report.n_mated} mated, {report.n_non_mated} non-mated pairs"
    rows = [("accuracy", _percent(report.accuracy), _interval(ci95.accuracy), counts)]
    for far, tar in report.tar_at_far.items():
        threshold = report.threshold[far]
        support = report.support[far].replace("_", " ")
        note = "" if threshold is None else f"threshold {threshold:.4f}; sample: {support}"
        rows.append((f"TAR at FAR {far}", _percent(tar), _interval(ci95.tar_at_far[far]), note))
    failures = _failures(report.unreadable, report.without_face)
    rows.append(("EER", _percent(report.eer), _interval(ci95.eer), f"intervals: bootstrap over {report.resampled}"))
    rows.append(("FTA", _percent(report.fta), _interval(ci95.fta), failures))
    print_table(COLUMNS, rows)
    _name_failures(report.unreadable, report.without_face)


def show_cross(report: CrossReport) -> None:
    """Print the operating points of all comparisons."""
    say(f"\nAll comparisons: {report.n_images} photographs of {report.n_subjects} people, {report.n_mated} mated")
    rows = [
        (
            f"{point.rate:g}",
            f"{point.threshold:.4f}",
            f"{point.false_matches} of {report.n_non_mated}",
            f"{point.fmr:.2e}",
            _percent(point.tar),
            point.support.replace("_", " "),
        )
        for point in report.points
    ]
    print_table(("FMR asked", "threshold", "false matches", "FMR", "TAR", "sample"), rows)


def show_liveness(report: LivenessReport) -> None:
    """Print the figures of presentations, and name the images that gave no score."""
    ci95 = report.ci95
    rows = [
        (f"APCER {species}", _percent(rate), _interval(ci95.apcer[species]), f"{report.n_scored[species]} attacks")
        for species, rate in report.apcer.items()
    ]
    live = f"{report.n_scored['bona_fide']} bona fide"
    failures = _failures(report.unreadable, report.without_face)
    rows += [
        ("APCER, worst", _percent(report.apcer_max), _interval(ci95.apcer_max), ""),
        ("BPCER", _percent(report.bpcer), _interval(ci95.bpcer), live),
        ("BPCER20", _percent(report.bpcer20), _interval(ci95.bpcer20), "threshold moved to APCER 5 %"),
        ("ACER", _percent(report.acer), _interval(ci95.acer), "mean of worst APCER and BPCER"),
        ("EER", _percent(report.eer), _interval(ci95.eer), "threshold moved; worst species"),
        ("FTA", _percent(report.fta), _interval(ci95.fta), failures),
    ]
    print_table(COLUMNS, rows)
    _name_failures(report.unreadable, report.without_face)


def show_detector(comparison: DetectorComparison) -> None:
    """Print how far two detectors agree."""
    values = as_json(comparison).items()
    fields({name: f"{value:.4g}" if isinstance(value, float) else value for name, value in values})


def show_latencies(
    measured: dict[str, dict[str, Latency]], providers: dict[str, str], *, runs: int, cores: int
) -> None:
    """Print the milliseconds of each stage, median (p95), one column for each frame size."""
    on = ", ".join(f"{part} on {name}" for part, name in providers.items())
    say(f"Milliseconds, median (p95) of {runs} runs; {cores} cores; {on}")
    stages = next(iter(measured.values()))
    rows = [(stage, *(_latency(frame[stage]) for frame in measured.values())) for stage in stages]
    print_table(("stage", *measured), rows)


def _latency(latency: Latency) -> str:
    return f"{latency.median_ms:.2f} ({latency.p95_ms:.2f})"


def _name_failures(unreadable: tuple[str, ...], without_face: tuple[str, ...]) -> None:
    for reason, names in (("unreadable", unreadable), ("no usable face", without_face)):
        for name in names:
            remark(f"{reason}: {name}")


def _failures(unreadable: tuple[str, ...], without_face: tuple[str, ...]) -> str:
    return f"{len(unreadable)} unreadable, {len(without_face)} without a usable face"


def _percent(rate: float | None) -> str:
    return "-" if rate is None else f"{rate:.2%}"


def _interval(interval: Interval | None) -> str:
    return "-" if interval is None else f"{interval.low:.2%} to {interval.high:.2%}"
