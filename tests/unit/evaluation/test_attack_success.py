"""Attack rates: intervals by subject, and exact ones where nothing differs."""

import numpy as np
import pytest

from evaluation.attack_success import Success, success_of
from evaluation.intervals import clopper_pearson


def test_many_trials_of_few_people_prove_less_than_of_many() -> None:
    matched = np.arange(400) % 20 < 10
    few = success_of(matched, [str(i % 20) for i in range(400)])
    many = success_of(matched, [str(i) for i in range(400)])
    assert few.rate == many.rate == 0.5
    assert few.low < many.low < 0.5 < many.high < few.high
    assert many.low == pytest.approx(0.45, abs=0.02)  # 1.96 standard errors of 0.025


@pytest.mark.parametrize("value", [False, True])
def test_where_all_trials_end_alike_the_interval_is_not_empty(value: bool) -> None:
    found = success_of(np.full(60, value), [str(i % 30) for i in range(60)])
    interval = clopper_pearson(30 * value, 30)
    assert found == Success(float(value), interval.low, interval.high, 60)


def test_nothing_cannot_be_counted() -> None:
    with pytest.raises(ValueError, match="nothing"):
        success_of(np.array([], np.bool_), [])
