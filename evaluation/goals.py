"""Goals that were declared before measuring, and whether the figures reach them: with what certainty, too."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Literal

from pydantic import TypeAdapter, ValidationError

from biometrics.errors import MalformedInput
from evaluation.intervals import Interval
from evaluation.rates import Support


@dataclass(frozen=True, slots=True)
class Goal:
    """A figure by its key (`evaluation.report.measured`) and the bound that it should keep; rates are fractions."""

    figure: str
    bound: Literal["at_least", "at_most"]
    value: float


DECLARED = (
    Goal("accuracy", "at_least", 0.985),
    Goal("tar@0.001", "at_least", 0.95),
    Goal("cross_tar@0.001", "at_least", 0.95),
    Goal("loss:light/gamma-3", "at_most", 0.05),
    Goal("loss:resolution/40px", "at_most", 0.08),
    Goal("loss:blur/motion-5px", "at_most", 0.08),
    Goal("loss:jpeg/q20", "at_most", 0.03),
    Goal("group_ratio", "at_most", 3.0),
)
"""What this project asks of the embedder that it ships."""


@dataclass(frozen=True, slots=True)
class Measured:
    """One figure, in words, with its interval and what the sample can carry; None where unknown."""

    label: str
    value: float | None
    interval: Interval | None = None
    support: Support | None = None
    is_ratio: bool = False


class Outcome(StrEnum):
    """How a goal stands."""

    MET = "met"
    """The figure keeps the bound, and its whole interval, where there is one, too."""
    MET_BY_FIGURE = "met_by_the_figure_only"
    """The figure keeps the bound, its interval does not: another sample may say otherwise."""
    TOO_SMALL = "sample_too_small"
    """The figure keeps the bound, but the sample cannot show the rate that it stands on (rule of 3)."""
    MISSED = "missed"
    NOT_MEASURED = "not_measured"


@dataclass(frozen=True, slots=True)
class Verdict:
    """A goal and how it stands; `measured` is None where the figure is unknown."""

    goal: Goal
    measured: Measured | None
    outcome: Outcome


def judge(goals: Sequence[Goal], measured: Mapping[str, Measured]) -> tuple[Verdict, ...]:
    """Hold each goal against its figure."""
    return tuple(Verdict(goal, measured.get(goal.figure), _outcome(goal, measured.get(goal.figure))) for goal in goals)


def read_goals(path: Path) -> tuple[Goal, ...]:
    """Read a JSON list of `{"figure", "bound", "value"}`; raise `MalformedInput` if it is anything else."""
    try:
        goals = TypeAdapter(tuple[Goal, ...]).validate_json(path.read_bytes())
    except ValidationError:
        raise MalformedInput("The goals are not a JSON list of figure, bound (at_least, at_most) and value.") from None
    if not all(math.isfinite(goal.value) for goal in goals):
        raise MalformedInput("A goal's value is not a number.")
    return goals


def _outcome(goal: Goal, found: Measured | None) -> Outcome:
    if found is None or found.value is None:
        return Outcome.NOT_MEASURED
    sign = 1 if goal.bound == "at_least" else -1
    if sign * found.value < sign * goal.value:
        return Outcome.MISSED
    if found.support is Support.UNSUPPORTED:
        return Outcome.TOO_SMALL
    if found.interval is not None and min(sign * edge for edge in found.interval) < sign * goal.value:
        return Outcome.MET_BY_FIGURE
    return Outcome.MET
