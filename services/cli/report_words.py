"""The figures of an evaluation in words and digits for people who are not of the field."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from evaluation.cross import CrossPoint
from evaluation.goals import Measured, Outcome, Verdict
from evaluation.groups import GroupFigures, GroupReport
from evaluation.identification import IdentificationReport
from evaluation.intervals import Interval
from evaluation.rates import ACCEPT_ALL, Support
from evaluation.report import ReportFigures, percent_name
from evaluation.robustness import RobustnessReport

NOTHING = "–"
SPACE = "\N{NO-BREAK SPACE}"

OUTCOMES = {
    Outcome.MET: "met",
    Outcome.MET_BY_FIGURE: "met by the figure, not by its whole interval",
    Outcome.TOO_SMALL: "sample too small to tell",
    Outcome.MISSED: "missed",
    Outcome.NOT_MEASURED: "not measured",
}

SUPPORTS = {
    Support.SUPPORTED: "enough",
    Support.FEW_ERRORS: "fewer than 30 errors: may be more than 30 % off",
    Support.UNSUPPORTED: "too small: even no error would prove nothing",
}


def percent(rate: float | None) -> str:
    """Return a fraction as a percentage with at least three digits that count."""
    if rate is None:
        return NOTHING
    value = rate * 100
    digits = f"{value:.2f}" if abs(value) >= 1 or value == 0 else f"{value:#.3g}"
    if "e" in digits:
        digits = f"{value:.8f}"
    return f"{digits}{SPACE}%"


def interval(value: Interval | None) -> str:
    """Return an interval of fractions in percent."""
    return NOTHING if value is None else f"{percent(value.low)} to {percent(value.high)}"


def points(loss: float | None) -> str:
    """Return a difference of two rates in percentage points, with its sign."""
    return NOTHING if loss is None else f"{loss * 100:+.2f}".replace("-", "−")


def points_interval(value: Interval | None) -> str:
    """Return an interval of a difference of two rates in percentage points."""
    return NOTHING if value is None else f"{points(value.low)} to {points(value.high)}"


def ratio(value: float | None) -> str:
    """Return a ratio."""
    return NOTHING if value is None else f"{value:.2f}"


def ratio_interval(value: Interval | None) -> str:
    """Return an interval of ratios."""
    return NOTHING if value is None else f"{value.low:.2f} to {value.high:.2f}"


def cosine(value: float | None) -> str:
    """Return a threshold or a score, "accepts all" where every score passes."""
    if value is None:
        return NOTHING
    return "accepts all" if value == ACCEPT_ALL else f"{value:.4f}".replace("-", "−")


def count(number: int | None) -> str:
    """Return a count with its thousands apart."""
    return NOTHING if number is None else f"{number:,}"


def identifier(text: str) -> str:
    """Return an id as it is, with a mark in place of letters that cannot be seen or that turn the line around."""
    return "".join(letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in text)


def group_interval(group: GroupFigures) -> str:
    """Return a group's interval; without an error, where resampling can find none either, up to the rule of 3."""
    if group.false_matches or not group.n_non_mated:
        return interval(group.fmr_ci95)
    return f"{percent(0.0)} to {percent(min(1.0, 3 / group.n_non_mated))} (rule of 3)"


def support(value: Support) -> str:
    """Say what a sample can carry."""
    return SUPPORTS[value]


def one_in(rate: float) -> str:
    """Return a rate as `1 in 1,000`."""
    return f"1 in {round(1 / rate):,}"


def day(iso: str) -> str:
    """Return a time as `3 March 2026, 12:30 UTC`; as it is, if it is none."""
    try:
        at = datetime.fromisoformat(iso)
    except ValueError:
        return iso
    return f"{at.day} {at:%B %Y, %H:%M} UTC"


def goal_name(verdict: Verdict) -> str:
    """Return what a goal is about, also where it was not measured."""
    if verdict.measured is not None:
        return identifier(verdict.measured.label)
    kind, _, rest = verdict.goal.figure.partition(":")
    known = {"loss": "Loss of TAR under", "group_ratio": "False-match rate, highest group over lowest"}
    return identifier(f"{known[kind]} {rest}".strip() if kind in known else verdict.goal.figure)


def goal_value(verdict: Verdict, value: float | None) -> str:
    """Return a figure or a bound in the unit of its goal."""
    is_ratio = verdict.measured.is_ratio if verdict.measured else verdict.goal.figure == "group_ratio"
    if is_ratio:
        return NOTHING if value is None else f"{value:.2f} times"
    if verdict.goal.figure.startswith("loss:"):
        return NOTHING if value is None else f"{value * 100:.2f} points".replace("-", "−")
    return percent(value)


def goal_interval(verdict: Verdict, found: Measured | None) -> str:
    """Return the interval of a goal's figure in the goal's unit."""
    if found is None or found.interval is None:
        return NOTHING
    return f"{goal_value(verdict, found.interval.low)} to {goal_value(verdict, found.interval.high)}"


def summary(figures: ReportFigures) -> list[str]:
    """Say in a few sentences what was found."""
    pairs = figures.verification
    people = "" if figures.cross is None else f" of {count(figures.cross.n_subjects)} people"
    lines = [
        "Measured was whether two photographs show the same person, by every step that a gate uses: reading the "
        f"photograph, finding the face, aligning it, embedding it, comparing. There were {count(pairs.n_pairs)} pairs: "
        f"{count(pairs.n_mated)} of the same person and {count(pairs.n_non_mated)} of different people, from "
        f"{count(pairs.n_images)} photographs{people}.",
        f"In {percent(pairs.fta)} of the photographs no usable face was found. A gate refuses whom it cannot see, so "
        "such pairs count as refused."
        if pairs.fta
        else "A usable face was found in every photograph.",
    ]
    if pairs.accuracy is not None:
        lines.append(
            f"{percent(pairs.accuracy)} of the pairs were decided rightly, each by a threshold chosen without it"
            + (f" (95 % interval {interval(pairs.ci95.accuracy)})." if pairs.ci95.accuracy else ".")
        )
    lines += _at_one_in_a_thousand(figures)
    lines += _groups(figures.groups) + _conditions(figures.robustness) + _galleries(figures.identification)
    return lines


def verdict_line(verdicts: Sequence[Verdict]) -> str:
    """Count how the goals stand."""
    counted = [(text, sum(1 for one in verdicts if one.outcome is outcome)) for outcome, text in OUTCOMES.items()]
    return "; ".join(f"{number} {text}" for text, number in counted if number) + f"; of {len(verdicts)} declared goals."


def shown_points(cross: Sequence[CrossPoint]) -> dict[float, CrossPoint]:
    """Return operating points by their rate."""
    return {point.rate: point for point in cross}


def _at_one_in_a_thousand(figures: ReportFigures) -> list[str]:
    point = None if figures.cross is None else shown_points(figures.cross.points).get(1e-3)
    tar = point.tar if point else figures.verification.tar_at_far.get("0.001")
    if tar is None:
        return []
    refused = (1 - tar) * 100
    often = f"about {refused:.0f} of 100" if refused >= 1 else f"about {refused * 10:.0f} of 1,000"
    return [
        f"Where 1 in 1,000 comparisons of two different people is wrongly accepted, {percent(tar)} of the comparisons "
        f"of one person are accepted: {often} rightful travellers would have to see an officer."
    ]


def _groups(report: GroupReport | None) -> list[str]:
    if report is None or not report.points:
        return []
    point = report.points[0]
    if not any(group.false_matches for group in point.groups):
        return ["Groups of people, all at one threshold: no two different people of one group were taken for one."]
    rates = {group.group: group.fmr for group in point.groups}
    times = "more often than" if point.ratio is None else f"{ratio(point.ratio)} times as often as"
    return [
        f"Groups of people, all at one threshold: two different people are taken for one most often within "
        f"“{identifier(point.worst)}” ({percent(rates.get(point.worst))}), {times} within "
        f"“{identifier(point.best)}” ({percent(rates.get(point.best))})."
    ]


def _conditions(report: RobustnessReport | None) -> list[str]:
    lost = (
        []
        if report is None
        else [one for one in report.conditions if one.loss is not None and one.condition != "clean"]
    )
    if report is None or not lost:
        return []
    worst = max(lost, key=lambda one: one.loss or 0.0)
    return [
        f"Of {len(lost)} simulated conditions, {identifier(worst.condition)} ({identifier(worst.description)}) costs "
        f"most: {points(worst.loss).lstrip('+')} points of the true-accept rate at a false-accept rate of "
        f"{percent_name(report.far)}."
    ]


def _galleries(report: IdentificationReport | None) -> list[str]:
    known = [] if report is None else [one for one in report.galleries if one.fnir is not None]
    if report is None or not known:
        return []
    largest = known[-1]
    return [
        f"Searching a gallery of {count(largest.size)} templates (1:N), {percent(largest.fnir)} of the people in it "
        f"are missed where {percent_name(report.fpir)} of the people not in it are taken for somebody."
    ]
