"""Figures of an evaluation as tables for people."""

from __future__ import annotations

from evaluation.benchmark import Latency
from evaluation.cross import CrossReport
from evaluation.detectors import DetectorComparison
from evaluation.groups import GroupReport
from evaluation.identification import IdentificationReport
from evaluation.intervals import Interval
from evaluation.liveness import LivenessReport
from evaluation.report import as_json
from evaluation.robustness import RobustnessReport
from evaluation.verification import VerificationReport
from services.cli.output import fields, print_table, remark, say

COLUMNS = ("figure", "value", "95 % interval", "note")


STAGES = ("decode", "detect", "align", "quality", "motion", "pad", "embed", "compare", "check")
"""Of a gate check, in their order."""


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


def show_groups(report: GroupReport) -> None:
    """Print every group at each common threshold, and the matrix between groups at the first."""
    say(f"{report.n_images} images of {report.n_subjects} people, {report.n_non_mated} comparisons of different people")
    for point in report.points:
        say(f"\nThreshold {point.threshold:.4f} ({point.basis}): FMR {point.fmr:.3%} over all comparisons")
        rows = [
            (
                group.group,
                group.n_subjects,
                f"{group.false_matches} of {group.n_non_mated}",
                _percent(group.fmr, 3),
                _interval(group.fmr_ci95, 3),
                "-" if group.fnmr is None else f"{group.fnmr:.2%} ({_interval(group.fnmr_ci95)})",
                group.support.replace("_", " "),
            )
            for group in point.groups
        ]
        print_table(("group", "people", "false matches", "FMR within", "95 % interval", "FNMR", "sample"), rows)
        if point.ratio is not None:
            around = point.ratio_ci95
            within = "" if around is None else f" ({around.low:.1f} to {around.high:.1f})"
            say(f"highest over lowest: {point.ratio:.1f}{within}, {point.worst} over {point.best}")
    if report.points:
        between = report.points[0].between
        say("\nFMR between groups, at the first threshold")
        print_table(
            ("", *between), [(row, *(_percent(rate, 3) for rate in cells.values())) for row, cells in between.items()]
        )
    _name_failures(report.unreadable, report.without_face)


def show_robustness(report: RobustnessReport) -> None:
    """Print what each condition costs."""
    say(
        f"TAR at FAR {report.far:.0%}; {report.n_mated} mated, {report.n_non_mated} non-mated pairs "
        f"(sample: {report.support.replace('_', ' ')}), {report.n_cross} comparisons behind the right half; "
        f"{report.degraded} is degraded"
    )
    rows = [
        (
            one.condition,
            _percent(one.tar),
            _points(one.loss),
            _points_interval(one.ci95.loss),
            f"{_percent(one.tar_at_clean_threshold)} / {_percent(one.far_at_clean_threshold)}",
            _percent(one.fta),
            _percent(one.tar_cross),
            _points(one.loss_cross),
            _points_interval(one.ci95.loss_cross),
        )
        for one in report.conditions
    ]
    kept = "TAR / FAR at clean threshold"
    left = ("condition", "TAR", "loss, points", "95 % interval", kept, "FTA")
    print_table((*left, "TAR, all comparisons", "loss, points", "95 % interval"), rows)


def show_identification(report: IdentificationReport) -> None:
    """Print the figures of each gallery size."""
    say(
        f"{report.n_probes} probes of {report.n_subjects} people; up to {report.n_available} templates of "
        f"{report.n_available_people} people, {report.n_distractors} of them distractors; FTA {report.fta:.2%}"
    )
    rows = [
        (
            f"{one.size} x {one.n_galleries}",
            one.n_people,
            f"{_percent(one.rank1)} ({_interval(one.ci95.rank1)})",
            f"{_percent(one.fnir)} ({_interval(one.ci95.fnir)})",
            _cosine(one.threshold),
            _cosine(one.policy_threshold),
            f"{_percent(one.policy_fpir)} ({_interval(one.ci95.policy_fpir)})",
            f"{_percent(one.policy_fnir)} ({_interval(one.ci95.policy_fnir)})",
        )
        for one in report.galleries
    ]
    fnir = f"FNIR at FPIR {report.fpir:g}"
    print_table(("gallery", "people", "rank 1", fnir, "threshold", "gate's threshold", "its FPIR", "its FNIR"), rows)
    for size in report.too_large:
        remark(f"no gallery of {size}: there are {report.n_available} templates; name more distractors")


def show_latencies(
    measured: dict[str, dict[str, Latency]],
    providers: dict[str, str],
    shares: dict[str, float | None],
    *,
    runs: int,
    cores: int,
) -> None:
    """Print the milliseconds of each stage, median (p95), one column for each frame size, and PAD's `shares`."""
    on = ", ".join(f"{part} on {name}" for part, name in providers.items())
    say(f"Milliseconds, median (p95) of {runs} runs; {cores} cores; {on}")
    stages = [name for name in STAGES if any(name in frame for frame in measured.values())]
    rows = [(stage, *(_latency(frame.get(stage)) for frame in measured.values())) for stage in stages]
    print_table(("stage", *measured), [*rows, ("pad adds", *(_percent(share, 1) for share in shares.values()))])


def _latency(latency: Latency | None) -> str:
    return "-" if latency is None else f"{latency.median_ms:.2f} ({latency.p95_ms:.2f})"


def _name_failures(unreadable: tuple[str, ...], without_face: tuple[str, ...]) -> None:
    for reason, names in (("unreadable", unreadable), ("no usable face", without_face)):
        for name in names:
            remark(f"{reason}: {name}")


def _failures(unreadable: tuple[str, ...], without_face: tuple[str, ...]) -> str:
    return f"{len(unreadable)} unreadable, {len(without_face)} without a usable face"


def _percent(rate: float | None, digits: int = 2) -> str:
    return "-" if rate is None else f"{rate:.{digits}%}"


def _interval(interval: Interval | None, digits: int = 2) -> str:
    return "-" if interval is None else f"{interval.low:.{digits}%} to {interval.high:.{digits}%}"


def _points(loss: float | None) -> str:
    return "-" if loss is None else f"{100 * loss:+.1f}"


def _points_interval(interval: Interval | None) -> str:
    return "-" if interval is None else f"{100 * interval.low:+.1f} to {100 * interval.high:+.1f}"


def _cosine(threshold: float | None) -> str:
    return "-" if threshold is None else f"{threshold:.4f}"
