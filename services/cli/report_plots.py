"""The plots of a report, as parts of its page."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from markupsafe import Markup

from evaluation.groups import GroupReport
from evaluation.identification import IdentificationReport
from evaluation.report import ReportFigures, percent_name
from evaluation.robustness import ConditionFigures, RobustnessReport
from services.cli import plots
from services.cli import report_words as words
from services.cli.drawing import svg_text
from services.cli.inline_svg import inline
from services.cli.plots import Line, TradeOff

if TYPE_CHECKING:
    from matplotlib.figure import Figure

CLEAN = "clean"


@dataclass(frozen=True, slots=True)
class Family:
    """Conditions of one kind, with their plot."""

    name: str
    conditions: tuple[ConditionFigures, ...]
    plot: Markup


def page_plots(figures: ReportFigures) -> dict[str, Markup]:
    """Return the plots that these figures allow, by name: `roc`, `det`, `scores`, `groups`, `galleries`."""
    drawn = _trade_offs(figures) | _scores(figures)
    return drawn | _groups(figures.groups) | _galleries(figures.identification)


def family_plots(report: RobustnessReport | None) -> tuple[Family, ...]:
    """Return the families of conditions in the order measured; all plots share one vertical axis."""
    if report is None:
        return ()
    clean = next((one for one in report.conditions if one.condition == CLEAN), None)
    families: dict[str, list[ConditionFigures]] = {}
    for one in report.conditions:
        if one.condition != CLEAN:
            families.setdefault(one.family, []).append(one)
    lowest = _start_of_axis(report.conditions)
    return tuple(
        Family(name, tuple(members), _family(number, name, [clean, *members] if clean else members, report.far, lowest))
        for number, (name, members) in enumerate(families.items())
    )


def _start_of_axis(conditions: Sequence[ConditionFigures]) -> float:
    known = [rate for one in conditions for rate in (one.tar, one.tar_at_clean_threshold) if rate is not None]
    return max(0.0, math.floor(min(known, default=0.0) * 10 - 2) / 10)


def _family(number: int, name: str, members: Sequence[ConditionFigures], far: float, lowest: float) -> Markup:
    lines = (
        Line("threshold set for the condition", [one.tar for one in members], [one.ci95.tar for one in members]),
        Line("threshold of the clean pairs", [one.tar_at_clean_threshold for one in members]),
    )
    figure = plots.condition_plot([one.condition.removeprefix(f"{one.family}/") for one in members], lines, lowest)
    found = "; ".join(f"{words.identifier(one.condition)}: {words.percent(one.tar)}" for one in members)
    title = f"True-accept rate at a false-accept rate of {percent_name(far)}: {words.identifier(name)}"
    return _markup(figure, f"conditions-{number}", title, f"{found}. All values stand in the table.")


def _trade_offs(figures: ReportFigures) -> dict[str, Markup]:
    lines = []
    if figures.curve:
        n_pairs = figures.verification.n_non_mated
        lines.append(
            TradeOff(
                f"{words.count(figures.verification.n_pairs)} pairs, 95 % intervals",
                [point.far for point in figures.curve],
                [point.frr for point in figures.curve],
                n_pairs,
                [point.frr_ci95 for point in figures.curve],
            )
        )
    known = [(point.rate, 1 - point.tar) for point in figures.cross_curve if point.tar is not None]
    if figures.cross is not None and known:
        rising = sorted(known)
        lines.append(
            TradeOff(
                "all comparisons of photographs",
                [rate for rate, _ in rising],
                [fnmr for _, fnmr in rising],
                figures.cross.n_non_mated,
            )
        )
    if not lines:
        return {}
    told = f"{_told(lines)} Left of the shaded border the sample says nothing. Values stand in the tables."
    return {
        "roc": _markup(plots.roc_plot(lines), "roc", "ROC: true accepts over false accepts", told),
        "det": _markup(plots.det_plot(lines), "det", "DET: false rejects over false accepts", told),
    }


def _told(lines: Sequence[TradeOff]) -> str:
    """Say where each line stands at false-accept rates that people ask for."""
    told = []
    for line in lines:
        for rate in (1e-2, 1e-3, 1e-4):
            at = [frr for far, frr in zip(line.far, line.frr, strict=True) if far <= rate * (1 + 1e-9)]
            if at and rate >= 3 / line.n:
                told.append(f"{line.label}, false accepts {percent_name(rate)}: false rejects {words.percent(at[-1])}.")
    return " ".join(told)


def _scores(figures: ReportFigures) -> dict[str, Markup]:
    scores = figures.scores
    if len(scores.edges) < 2 or not sum(scores.mated) + sum(scores.non_mated):
        return {}
    wanted = () if figures.cross is None else figures.cross.points
    lines = [(f"FMR {percent_name(point.rate)}", point.threshold) for point in wanted]
    shown = [(label, at) for label, at in lines if scores.edges[0] <= at <= scores.edges[-1]]
    told = (
        "The same person's cosines lie to the right, different people's to the left; where they overlap, errors arise."
    )
    figure = plots.score_plot(scores.edges, scores.mated, scores.non_mated, shown)
    return {"scores": _markup(figure, "scores", "Distribution of the cosines of the pairs", told)}


def _groups(report: GroupReport | None) -> dict[str, Markup]:
    if report is None or not report.points:
        return {}
    point = report.points[0]
    groups = sorted(point.groups, key=lambda group: group.fmr or 0.0)
    figure = plots.group_plot(
        [group.group for group in groups],
        [group.fmr for group in groups],
        [group.fmr_ci95 for group in groups],
        point.fmr,
    )
    told = "; ".join(f"{words.identifier(group.group)} {words.percent(group.fmr)}" for group in groups)
    return {"groups": _markup(figure, "groups", "False-match rate within each group, at one threshold", f"{told}.")}


def _galleries(report: IdentificationReport | None) -> dict[str, Markup]:
    if report is None or not report.galleries:
        return {}
    galleries = report.galleries
    lines = (
        Line(
            f"FNIR at FPIR {percent_name(report.fpir)}",
            [one.fnir for one in galleries],
            [one.ci95.fnir for one in galleries],
        ),
        Line(
            "FNIR at the service's threshold",
            [one.policy_fnir for one in galleries],
            [one.ci95.policy_fnir for one in galleries],
        ),
    )
    told = "; ".join(f"{words.count(one.size)} templates: {words.percent(one.fnir)}" for one in galleries)
    figure = plots.gallery_plot([one.size for one in galleries], lines)
    return {"galleries": _markup(figure, "galleries", "Misses (FNIR) by the size of the gallery", f"{told}.")}


def _markup(figure: Figure, name: str, title: str, description: str) -> Markup:
    # Our own drawing, serialized by an XML library that escapes what stands in it.
    return Markup(inline(svg_text(figure, name), name=name, title=title, description=description))  # noqa: S704
