"""The times that a camera states."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from biometrics.errors import Conflict
from liveness.challenge import Refusal
from liveness.pace import Pace
from tests.factories import NOON


def at(*seconds: float) -> list:
    return [NOON + timedelta(seconds=s) for s in seconds]


@given(st.floats(-50, 50), st.lists(st.floats(0.01, 0.9), min_size=2, max_size=12), st.floats(0, 2))
def test_a_converted_time_is_never_too_early(offset: float, gaps: list[float], delay: float) -> None:
    """For every offset of the camera's clock: frames that are sent as they come never seem to come before they did."""
    pace, true = Pace(timedelta(seconds=60)), 0.0
    for gap in gaps:
        true += gap
        [ours] = pace.in_our_clock(at(true + offset), *at(true + delay))  # type: ignore[misc]
        assert abs((ours - NOON).total_seconds() - true - delay) < 1e-5


@pytest.mark.parametrize("captured", [(1.0, 1.0), (1.0, 0.9), (1.0, 2.1)])
def test_frames_out_of_order_or_with_a_gap_are_refused(captured: tuple[float, ...]) -> None:
    assert Pace(timedelta(seconds=60)).in_our_clock(at(*captured), *at(3)) is Refusal.FRAMES_OUT_OF_ORDER


def test_a_later_call_may_not_go_back() -> None:
    pace = Pace(timedelta(seconds=60))
    assert pace.in_our_clock(at(1, 2), *at(3)) == at(2, 3)
    assert pace.in_our_clock(at(2, 2.5), *at(4)) is Refusal.FRAMES_OUT_OF_ORDER


def test_a_stale_capture_is_refused_and_changes_nothing() -> None:
    pace = Pace(timedelta(seconds=60))
    with pytest.raises(Conflict) as caught:
        pace.in_our_clock(at(0), *at(61))
    assert caught.value.code == "stale_capture"
    assert pace.in_our_clock(at(-5), *at(1)) == at(1)


def test_a_recording_that_is_sent_faster_than_it_plays_falls_behind() -> None:
    pace = Pace(timedelta(seconds=60))
    pace.in_our_clock(at(1), *at(10))
    ours = pace.in_our_clock(at(1.9, 2.8, 3.7), *at(10.3))
    assert ours == at(8.5, 9.4, 10.3), "before ten, when the first frames came"
