"""Plots of an evaluation's figures. Color never carries a meaning alone: lines differ in dashes and marks, too."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from evaluation.intervals import Interval
from evaluation.rates import ErrorCurve
from services.cli.drawing import PALETTE, SIZE, SMALL_SIZE, new_plot, printable, save

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.ticker import Locator

    from evaluation.networks import NetworkReport
    from services.unlinkability import UnlinkabilityReport

MANY = 50_000
"""Comparisons whose curve is drawn from point to point: its single steps are too small to be seen."""


@dataclass(frozen=True, slots=True)
class TradeOff:
    """One line: false accepts (rising) and false rejects, with intervals where known; `n` non-mated comparisons."""

    label: str
    far: Sequence[float]
    frr: Sequence[float]
    n: int
    ci95: Sequence[Interval | None] = ()


@dataclass(frozen=True, slots=True)
class Line:
    """One line over shared positions; None leaves a gap."""

    label: str
    values: Sequence[float | None]
    ci95: Sequence[Interval | None] = ()


def draw_det(curve: ErrorCurve, n_non_mated: int, path: Path) -> None:
    """Write the DET curve of pairs; no score is readable from it."""
    save(det_plot([_whole(curve, n_non_mated)]), path)


def draw_roc(curve: ErrorCurve, n_non_mated: int, path: Path) -> None:
    """Write the ROC curve of pairs; no score is readable from it."""
    save(roc_plot([_whole(curve, n_non_mated)]), path)


def det_plot(lines: Sequence[TradeOff]) -> Figure:
    """Draw false rejects over false accepts, both on logarithmic axes."""
    with new_plot() as (figure, axes):
        floor = _trade_off(axes, lines, rejects=True)
        axes.set(yscale="log", ylim=(floor, 1.0), ylabel="false-reject rate in %")
        _rate_ticks(axes, "y")
        axes.legend(loc="lower left")
    return figure


def roc_plot(lines: Sequence[TradeOff]) -> Figure:
    """Draw the true-accept rate over false accepts, the latter on a logarithmic axis."""
    with new_plot() as (figure, axes):
        _trade_off(axes, lines, rejects=False)
        known = [1 - frr for line in lines for far, frr in zip(line.far, line.frr, strict=True) if far >= 3 / line.n]
        lowest = min(known, default=0.0)
        axes.set(ylim=(max(0.0, np.floor(lowest * 10 - 1) / 10), 1.005), ylabel="true-accept rate")
        _percent_ticks(axes)
        axes.legend(loc="lower right")
    return figure


def score_plot(
    edges: Sequence[float], mated: Sequence[int], non_mated: Sequence[int], thresholds: Sequence[tuple[str, float]]
) -> Figure:
    """Draw which share of the mated and of the non-mated pairs has which cosine, and the thresholds between them."""
    with new_plot() as (figure, axes):
        for counts, label, fill, edge, hatch in (
            (non_mated, "different people", "fill-second", "second", "////"),
            (mated, "the same person", "band", "main", ""),
        ):
            shares = np.asarray(counts, float) / max(1, sum(counts))
            axes.stairs(shares, edges, fill=True, color=PALETTE[fill], alpha=0.75)
            axes.stairs(
                shares, edges, color=PALETTE[edge], linewidth=1.2, linestyle="--" if hatch else "-", label=label
            )
        top = axes.get_ylim()[1] * 1.22
        for number, (label, threshold) in enumerate(thresholds):
            axes.axvline(threshold, color=PALETTE["muted"], linestyle=":", linewidth=1.2)
            axes.annotate(
                label,
                (threshold, top * (0.98 - 0.07 * number)),
                (3, 0),
                textcoords="offset points",
                fontsize=8,
                va="top",
            )
        axes.set(xlabel="cosine of two embeddings", ylabel="share of pairs", ylim=(0, top))
        _percent_ticks(axes)
        axes.legend(loc="upper left")
    return figure


def group_plot(
    names: Sequence[str], rates: Sequence[float | None], ci95: Sequence[Interval | None], overall: float
) -> Figure:
    """Draw a bar for each group with its interval, and the rate over everybody as a line."""
    height = 60 + 32 * len(names)
    with new_plot((SIZE[0], height)) as (figure, axes):
        at = np.arange(len(names))[::-1]
        axes.barh(at, [rate or 0.0 for rate in rates], height=0.6, color=PALETTE["band"], edgecolor=PALETTE["main"])
        for y, rate, interval in zip(at, rates, ci95, strict=True):
            if rate is not None and interval is not None:
                axes.plot([interval.low, interval.high], [y, y], color=PALETTE["main"], marker="|", markersize=7)
        axes.axvline(overall, color=PALETTE["second"], linestyle="--", linewidth=1.2)
        axes.annotate(
            "everybody",
            (overall, 1.0),
            (3, 2),
            xycoords=("data", "axes fraction"),
            textcoords="offset points",
            fontsize=8.5,
        )
        axes.set_yticks(at, [printable(name) for name in names], parse_math=False)
        axes.set(xlabel="false-match rate within the group", xlim=(0, None), ylim=(-0.6, len(names) - 0.4))
        axes.xaxis.set_major_formatter(lambda value, _: f"{value * 100:.4g} %")
        axes.xaxis.set_major_locator(_few_ticks())
        axes.grid(axis="x")
        axes.tick_params(axis="y", length=0)
    return figure


def condition_plot(strengths: Sequence[str], lines: Sequence[Line], lowest: float) -> Figure:
    """Draw the true-accept rate of one family of conditions, from clean on; `lowest` is the start of its axis."""
    with new_plot(SMALL_SIZE) as (figure, axes):
        at = np.arange(len(strengths), dtype=float)
        _with_intervals(axes, at, lines)
        labels = [printable(strength) for strength in strengths]
        axes.set_xticks(at, labels, parse_math=False, rotation=0 if len("".join(labels)) <= 42 else 20)
        axes.set(ylabel="true-accept rate", ylim=(lowest, 1.02), xlim=(-0.3, len(strengths) - 0.7))
        _percent_ticks(axes)
        axes.legend(loc="lower left")
    return figure


def gallery_plot(sizes: Sequence[int], lines: Sequence[Line]) -> Figure:
    """Draw error rates over the gallery's size, on a logarithmic axis."""
    with new_plot() as (figure, axes):
        _with_intervals(axes, np.asarray(sizes, float), lines)
        known = [value for line in lines for value in line.values if value is not None]
        axes.set(xscale="log", xlabel="templates in the gallery", ylabel="error rate", ylim=(0, None))
        axes.set_xticks(list(sizes), [f"{size:,}" for size in sizes])
        axes.set_xticks([], minor=True)
        axes.set_ylim(0, max([*known, 0.01]) * 1.45)
        _percent_ticks(axes)
        axes.legend(loc="upper left")
    return figure


def draw_networks(reports: Mapping[str, NetworkReport], path: Path) -> None:
    """Write each network's errors, with intervals, over the time that it takes."""
    with new_plot() as (figure, axes):
        for name, report in reports.items():
            accuracy, interval = report.verification.accuracy, report.verification.ci95.accuracy
            if accuracy is None:
                continue
            if interval is not None:
                ends = [1 - interval.high, 1 - interval.low]
                axes.plot([report.embed.median_ms] * 2, ends, color=PALETTE["main"], marker="_", linewidth=1.2)
            axes.plot(report.embed.median_ms, 1 - accuracy, color=PALETTE["main"], marker="o")
            at = (report.embed.median_ms, 1 - accuracy)
            axes.annotate(printable(name), at, (6, 5), textcoords="offset points", fontsize=8.5)
        axes.set(xscale="log", xlabel="milliseconds for one face", ylabel="errors on pairs", ylim=(0, None))
        axes.margins(x=0.25)
        axes.xaxis.set_major_locator(_few_ticks())
        axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
        axes.set_xticks([], minor=True)
        _percent_ticks(axes)
    save(figure, path)


def _whole(curve: ErrorCurve, n_non_mated: int) -> TradeOff:
    """Return every step of a curve by rising false accepts."""
    return TradeOff(
        "pairs", curve.false_accepts[::-1].tolist(), curve.false_rejects[::-1].tolist(), max(1, n_non_mated)
    )


def _trade_off(axes: Axes, lines: Sequence[TradeOff], *, rejects: bool) -> float:
    """Draw the lines, dotted where their own sample says nothing, and shade where no sample does.

    Returns a floor for a logarithmic axis of false rejects.
    """
    most = max(line.n for line in lines)
    left = min(0.1, 1 / most)
    styles = (("main", "-", "band"), ("second", "--", "band"))
    for line, (color, dashes, band) in zip(lines, styles, strict=False):
        far, frr = np.asarray(line.far), np.asarray(line.frr)
        y = frr if rejects else 1 - frr
        drawn = np.maximum(far, left / 10)
        known = far >= 3 / line.n
        if line.ci95 and all(line.ci95):
            low, high = np.array([interval for interval in line.ci95 if interval]).T
            edges = (low, high) if rejects else (1 - high, 1 - low)
            axes.fill_between(
                drawn[known], edges[0][known], edges[1][known], step="post", color=PALETTE[band], linewidth=0
            )
        steps = "steps-post" if line.n < MANY else "default"
        axes.plot(drawn, y, drawstyle=steps, color=PALETTE[color], linewidth=0.9, linestyle=":")
        axes.plot(drawn[known], y[known], drawstyle=steps, color=PALETTE[color], linestyle=dashes, label=line.label)
    axes.axvspan(left / 10, 3 / most, color=PALETTE["shade"], linewidth=0, zorder=0, label="says nothing (rule of 3)")
    axes.axvspan(
        3 / most, min(1.0, 30 / most), color=PALETTE["shade-light"], linewidth=0, zorder=0, label="± 30 % (rule of 30)"
    )
    axes.set(xscale="log", xlim=(left, 1.0), xlabel="false-accept rate in %")
    _rate_ticks(axes, "x")
    positive = [frr for line in lines for frr in line.frr if frr > 0]
    return float(np.clip(10 ** np.floor(np.log10(min(positive, default=1e-2))), 1e-4, 0.1))


def _with_intervals(axes: Axes, at: np.ndarray[tuple[int], np.dtype[np.float64]], lines: Sequence[Line]) -> None:
    styles = (("main", "-", "o"), ("second", "--", "s"), ("muted", ":", "^"))
    for line, (color, dashes, mark) in zip(lines, styles, strict=False):
        values = np.array([np.nan if value is None else value for value in line.values], float)
        if np.isnan(values).all():
            continue
        axes.plot(at, values, color=PALETTE[color], linestyle=dashes, marker=mark, markersize=4, label=line.label)
        for x, interval in zip(at, line.ci95, strict=False):
            if interval is not None:
                axes.plot(
                    [x, x], [interval.low, interval.high], color=PALETTE[color], linewidth=1, marker="_", markersize=5
                )


def _rate_ticks(axes: Axes, which: str) -> None:
    """Label powers of ten in percent, which need no superscripts."""
    axis = axes.xaxis if which == "x" else axes.yaxis
    axis.set_major_formatter(lambda value, _: f"{value * 100:.8f}".rstrip("0").rstrip("."))
    axis.set_minor_formatter(lambda value, _: "")
    axes.grid(which="major", axis="both" if which == "y" else "x")


def _percent_ticks(axes: Axes) -> None:
    axes.yaxis.set_major_formatter(lambda value, _: f"{value * 100:.4g} %")


def _few_ticks() -> Locator:
    from matplotlib.ticker import MaxNLocator

    return MaxNLocator(5)


def draw_unlinkability(report: UnlinkabilityReport, path: Path) -> None:
    """Write how cosines of two places are distributed, plain and under a rotation for each gallery."""
    from services.unlinkability import OWN_ROTATION, PLAIN

    with new_plot() as (figure, axes):
        for name, color in ((PLAIN, PALETTE["second"]), (OWN_ROTATION, PALETTE["main"])):
            of = report.protections[name]
            for density, label, style in (
                (of.histogram.mated, "same", "-"),
                (of.histogram.non_mated, "different", "--"),
            ):
                axes.stairs(density, of.histogram.edges, color=color, linestyle=style, label=f"{name}: {label}")
        axes.set_xlabel("cosine of two templates")
        axes.set_ylabel("density")
        axes.legend(loc="upper right", fontsize=7)
    save(figure, path)
