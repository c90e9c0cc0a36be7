from __future__ import annotations

import numpy as np
import pytest

from evaluation.acting import FRONT, Actor, Manner
from liveness.challenge import Step

MANNER = Manner()


@pytest.mark.parametrize(("step", "sign"), [(Step.TURN_LEFT, 1), (Step.TURN_RIGHT, -1)])
def test_somebody_who_is_still_told_to_turn_turns_further_up_to_what_a_neck_does(step: Step, sign: int) -> None:
    actor = Actor(np.random.default_rng(0), MANNER)
    done = actor.told(step, 0.0)
    first = sign * actor.pose(done).yaw
    assert MANNER.turn[0] - 2 <= first <= MANNER.turn[1] + 2
    actor.still_told(step, done + 0.5)  # nobody gives up so soon
    assert sign * actor.pose(done + 1.6).yaw < first + 3
    now = done
    for _ in range(20):
        now += 4
        actor.still_told(step, now)
    assert sign * actor.pose(now + 4).yaw == pytest.approx(MANNER.farthest, abs=1.5)


def test_somebody_who_is_still_told_to_come_closer_does_up_to_an_arms_length() -> None:
    actor = Actor(np.random.default_rng(0), MANNER)
    now = actor.told(Step.COME_CLOSER, 0.0)
    before = actor.pose(now).nearer
    actor.still_told(Step.COME_CLOSER, now + 0.5)
    assert actor.pose(now + 4).nearer == before
    for _ in range(10):
        now += 4
        actor.still_told(Step.COME_CLOSER, now)
    assert actor.pose(now + 4).nearer == pytest.approx(MANNER.nearest)


@pytest.mark.parametrize("step", [Step.FACE_CAMERA, Step.HOLD_STILL])
def test_there_is_no_more_of_standing_still(step: Step) -> None:
    actor = Actor(np.random.default_rng(0), MANNER)
    for now in (2.0, 5.0, 9.0):
        actor.still_told(step, now)
    pose = actor.pose(12.0)
    assert abs(pose.yaw - FRONT.yaw) < 2
    assert pose.nearer == 0
