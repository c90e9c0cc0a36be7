"""How the figures of several systems are shown beside each other."""

from __future__ import annotations

from collections.abc import Sequence

from evaluation.intervals import Interval
from evaluation.peers import PeerReport
from services.cli.output import print_table, say

RATES = ("system", "accuracy", "TAR@1%", "TAR@0.1%", "EER", "FTA", "all: TAR@1%", "TAR@0.1%")
INTERVALS = RATES[:-2]
COSTS = ("system", "embed", "find", "whole", "CPU", "size", "parameters", "on disk")


def show_peers(reports: Sequence[PeerReport], threads: int) -> None:
    """Print error rates, their 95 % intervals, then speed and size, then what each system is."""
    say("Percent; TAR at a FAR of the pairs, and at an FMR of all comparisons between the photographs")
    print_table(RATES, [_rates(report) for report in reports])
    say("\n95 % intervals, bootstrap by subject; FTA exact")
    print_table(INTERVALS, [_intervals(report) for report in reports if report.verification is not None])
    say(f"\nMilliseconds of one photograph at a time, median (95th percentile); threads: {threads}")
    print_table(COSTS, [_costs(report) for report in reports])
    say("")
    for report in reports:
        peer = report.peer
        say(f"{peer.name}: {'; '.join((peer.what, peer.runtime, *peer.notes))}. Licence: {peer.licence}")


def _rates(report: PeerReport) -> tuple[str, ...]:
    figures = report.verification
    if figures is None:
        return (report.peer.name, *("-",) * (len(RATES) - 1))
    tars = (figures.tar_at_far["0.01"], figures.tar_at_far["0.001"])
    crossed = (report.cross_tar.get("0.01"), report.cross_tar.get("0.001"))
    rates = (figures.accuracy, *tars, figures.eer, figures.fta, *crossed)
    return (report.peer.name, *("-" if rate is None else f"{100 * rate:.2f}" for rate in rates))


def _intervals(report: PeerReport) -> tuple[str, ...]:
    figures = report.verification
    if figures is None:
        raise ValueError("only its speed was measured")
    ci95 = figures.ci95
    bounds = (ci95.accuracy, ci95.tar_at_far["0.01"], ci95.tar_at_far["0.001"], ci95.eer, ci95.fta)
    return (report.peer.name, *(_bounds(interval) for interval in bounds))


def _costs(report: PeerReport) -> tuple[str, ...]:
    peer = report.peer
    times = [report.latency[stage] for stage in ("embed", "find", "photograph")]
    return (
        peer.name,
        *(f"{each.median_ms:.1f} ({each.p95_ms:.1f})" for each in times),
        f"{report.cpu:.2f}",
        str(peer.size),
        f"{peer.parameters / 1e6:.1f} M",
        f"{peer.weight_bytes / 1e6:.1f} MB",
    )


def _bounds(interval: Interval | None) -> str:
    return "-" if interval is None else f"{100 * interval.low:.2f}-{100 * interval.high:.2f}"
