"""What a report is made of: goals and their verdicts, curves, failed pairs, JSON that comes back as it went."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from biometrics.errors import MalformedInput
from evaluation.acquisition import Acquired
from evaluation.curves import log_rates, pair_curve, score_histogram
from evaluation.failures import failed_pairs
from evaluation.goals import Goal, Measured, Outcome, judge, read_goals
from evaluation.intervals import Interval
from evaluation.protocol import Pair
from evaluation.rates import Support
from evaluation.report import measured, read_figures, write_figures
from evaluation.verification import score_table
from tests.unit.services.cli.report_figures import (
    made_up_pairs,
    small_figures,
    some_conditions,
    some_galleries,
    some_groups,
)

TAR = Goal("tar", "at_least", 0.95)
LOSS = Goal("loss", "at_most", 0.05)


@pytest.mark.parametrize(
    ("goal", "found", "outcome"),
    [
        (TAR, Measured("", 0.96), Outcome.MET),
        (TAR, Measured("", 0.95), Outcome.MET),
        (TAR, Measured("", 0.96, Interval(0.951, 0.97)), Outcome.MET),
        (TAR, Measured("", 0.96, Interval(0.94, 0.97)), Outcome.MET_BY_FIGURE),
        (TAR, Measured("", 0.96, Interval(0.951, 0.97), Support.UNSUPPORTED), Outcome.TOO_SMALL),
        (TAR, Measured("", 0.96, Interval(0.951, 0.97), Support.FEW_ERRORS), Outcome.MET),
        (TAR, Measured("", 0.94, Interval(0.9, 0.97), Support.UNSUPPORTED), Outcome.MISSED),
        (TAR, Measured("", None), Outcome.NOT_MEASURED),
        (TAR, None, Outcome.NOT_MEASURED),
        (LOSS, Measured("", 0.05), Outcome.MET),
        (LOSS, Measured("", 0.04, Interval(0.01, 0.06)), Outcome.MET_BY_FIGURE),
        (LOSS, Measured("", 0.06, Interval(0.01, 0.07)), Outcome.MISSED),
        (LOSS, Measured("", -0.01, Interval(-0.02, 0.0)), Outcome.MET),
    ],
)
def test_a_goal_is_held_against_figure_interval_and_sample(
    goal: Goal, found: Measured | None, outcome: Outcome
) -> None:
    (verdict,) = judge([goal], {} if found is None else {goal.figure: found})
    assert verdict.outcome is outcome


def test_every_goal_names_a_figure_that_can_be_measured() -> None:
    conditions = some_conditions("light/gamma-3", "resolution/40px", "blur/motion-5px", "jpeg/q20")
    full = replace(
        small_figures(), groups=some_groups("a", "b"), robustness=conditions, identification=some_galleries()
    )
    known = measured(full)
    assert {goal.figure for goal in full.goals} <= known.keys()
    assert known["loss:jpeg/q20"].value == 0.04
    assert known["fnir@10000"].value == 0.2345
    assert known["group_ratio"].value == 2.5
    assert known["group_fmr:b"].value is None


def test_declared_conditions_exist() -> None:
    from evaluation.degradations import CONDITIONS
    from evaluation.goals import DECLARED

    names = {f"loss:{condition.name}" for condition in CONDITIONS}
    assert {goal.figure for goal in DECLARED if goal.figure.startswith("loss:")} <= names


@pytest.mark.parametrize(
    "text", ["", "{}", '[{"figure": "a"}]', '[{"figure": "a", "bound": "near", "value": 1}]', '[["a"]]', "\xff"]
)
def test_goals_that_are_none_are_refused(tmp_path, text: str) -> None:
    (tmp_path / "goals.json").write_bytes(text.encode("latin-1"))
    with pytest.raises(MalformedInput):
        read_goals(tmp_path / "goals.json")


def test_figures_come_back_as_they_went(tmp_path) -> None:
    figures = replace(small_figures(), groups=some_groups("a", "b"), identification=some_galleries())
    write_figures(figures, tmp_path / "f.json")
    assert read_figures(tmp_path / "f.json") == figures
    write_figures(figures, tmp_path / "f.json")


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"format": "other"}', '{"format": "dwarpal-evaluation-report/1"}'])
def test_other_json_is_refused_and_left_alone(tmp_path, text: str) -> None:
    (tmp_path / "f.json").write_text(text)
    with pytest.raises(MalformedInput):
        read_figures(tmp_path / "f.json")
    with pytest.raises(MalformedInput):
        write_figures(small_figures(), tmp_path / "f.json")
    assert (tmp_path / "f.json").read_text() == text


def test_the_curve_is_that_of_all_pairs() -> None:
    pairs, acquired = made_up_pairs()
    curve = score_table(pairs, acquired).curve()
    points = pair_curve(pairs, acquired)
    assert points[0].far == 0
    assert points[-1].far == 1
    for point in points:
        at = curve.at_rate(point.far + 1e-12)
        assert at is not None
        assert point.frr == curve.false_rejects[at]
        assert point.frr_ci95 is not None
        assert point.frr_ci95.low <= point.frr_ci95.high
    assert [point.frr for point in points] == sorted((point.frr for point in points), reverse=True)


def test_there_is_no_curve_without_both_kinds_of_pairs() -> None:
    pairs, acquired = made_up_pairs()
    assert pair_curve([pair for pair in pairs if pair.same], acquired) == ()
    assert pair_curve([pair for pair in pairs if not pair.same], acquired) == ()


def test_the_histogram_counts_every_pair_once() -> None:
    pairs, acquired = made_up_pairs()
    counted = score_histogram(pairs, acquired)
    assert len(counted.edges) == len(counted.mated) + 1 == len(counted.non_mated) + 1
    assert sum(counted.mated) + counted.mated_without_score == sum(pair.same for pair in pairs)
    assert sum(counted.non_mated) + counted.non_mated_without_score == sum(not pair.same for pair in pairs)
    assert counted.mated_without_score == 1
    nobody = Acquired(np.empty((0, 512), np.float32), {}, (), ("a",))
    assert score_histogram([Pair("a", "a", True)], nobody).mated_without_score == 1


@given(
    st.lists(st.tuples(st.floats(-1, 1), st.booleans()), max_size=30),
    st.floats(-1, 1),
    st.integers(min_value=0, max_value=10),
)
def test_failed_pairs_are_the_wrong_ones_worst_first(
    scored: list[tuple[float, bool]], threshold: float, limit: int
) -> None:
    embeddings = [[1.0, 0.0]] + [[score, math.sqrt(1 - score * score)] for score, _ in scored]
    rows = {str(i): i for i in range(len(embeddings))}
    acquired = Acquired(np.array(embeddings, np.float32), rows, (), ("x",))
    pairs = [Pair("0", str(i + 1), same) for i, (_, same) in enumerate(scored)]
    pairs += [Pair("0", "x", True), Pair("0", "x", False)]
    failures = failed_pairs(pairs, acquired, rate=1e-3, threshold=threshold, basis="pairs", limit=limit)
    exact = [float(np.float32(score)) for score, _ in scored]
    rejects = [score for score, (_, same) in zip(exact, scored, strict=True) if same and score < threshold]
    accepts = [score for score, (_, same) in zip(exact, scored, strict=True) if not same and score >= threshold]
    assert failures.n_false_rejects == len(rejects) + 1
    assert failures.n_false_accepts == len(accepts)
    shown = [-math.inf if pair.score is None else pair.score for pair in failures.false_rejects]
    assert shown == [-math.inf, *sorted(rejects)][:limit]
    assert [pair.score for pair in failures.false_accepts] == sorted(accepts, reverse=True)[:limit]
    assert all(pairs[pair.number - 1].image_b == pair.image_b for pair in failures.false_rejects)


def test_rates_of_a_curve_reach_down_to_one_error() -> None:
    rates = log_rates(1e-2, 10_000)
    assert rates[0] == 1e-2
    assert rates[-1] == pytest.approx(1e-4)
    assert len(rates) == 25
    assert log_rates(1e-2, 10) == (1e-2,)


def test_figures_hold_no_nan(tmp_path) -> None:
    write_figures(small_figures(), tmp_path / "f.json")
    json.loads((tmp_path / "f.json").read_text(), parse_constant=lambda name: pytest.fail(name))
