"""Somebody before a camera who does what they are asked, in simulated time: with delay, sway and their own pace."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from evaluation.head_motion import Pose
from liveness.challenge import TURNS, Step

FRONT: Final = Pose()
PAUSE_SECONDS: Final = 0.3
"""Between facing the camera again and the next movement."""


@dataclass(frozen=True, slots=True)
class Manner:
    """How somebody moves: ranges of seconds to react and to move, of degrees of a turn, of a step's length.

    A step's length is in distances between the eyes; three of them are about 19 cm. Somebody who still sees the same
    instruction some time after they did it (`patience`) does a little more of it (`further` in degrees, `nearer`), up
    to `farthest` and `nearest`: what a neck does without effort, and an arm's length from the camera.
    """

    reaction: tuple[float, float] = (0.6, 1.3)
    moving: tuple[float, float] = (0.5, 1.0)
    turn: tuple[float, float] = (30.0, 45.0)
    closer: tuple[float, float] = (3.0, 4.2)
    patience: tuple[float, float] = (1.0, 2.0)
    further: tuple[float, float] = (5.0, 10.0)
    farthest: float = 60.0
    nearer: tuple[float, float] = (0.4, 0.9)
    nearest: float = 5.5


@dataclass(frozen=True, slots=True)
class _Move:
    start: float
    end: float
    goal: Pose


class Actor:
    """Poses over time, in seconds; movements follow the minimum-jerk curve (Flash and Hogan, 1985)."""

    def __init__(self, rng: np.random.Generator, manner: Manner) -> None:
        self._rng = rng
        self._manner = manner
        self._moves: list[_Move] = []
        self._sway = rng.uniform(0, 2 * np.pi, 4)
        self._tempo = rng.uniform(0.15, 0.5, 4)

    def told(self, step: Step, now: float) -> float:
        """Plan what a step asks for, after facing the camera again; return when it will be done."""
        start = now + self._between(self._manner.reaction)
        before = self._moves[-1].goal if self._moves else FRONT
        if before != FRONT:
            steps_back = before.nearer > 0 and self._rng.random() < 0.5
            start = self._move(start, replace(FRONT, nearer=0.0 if steps_back else before.nearer))
            start += PAUSE_SECONDS if self._manner.reaction[1] else 0.06
            before = self._moves[-1].goal
        sign = {Step.TURN_LEFT: 1.0, Step.TURN_RIGHT: -1.0}.get(step)
        if sign is not None:
            return self._move(start, replace(before, yaw=sign * self._between(self._manner.turn)))
        if step is Step.COME_CLOSER:
            return self._move(start, replace(before, nearer=self._between(self._manner.closer)))
        return start

    def still_told(self, step: Step, now: float) -> None:
        """Do a little more if the instruction has not changed although it was followed a while ago."""
        if not self._moves or now < self._moves[-1].end + self._between(self._manner.patience):
            return
        goal = self._moves[-1].goal
        if step in TURNS and goal.yaw:
            yaw = min(abs(goal.yaw) + self._between(self._manner.further), self._manner.farthest)
            self._move(now, replace(goal, yaw=float(np.copysign(yaw, goal.yaw))))
        elif step is Step.COME_CLOSER and goal.nearer:
            nearer = min(goal.nearer + self._between(self._manner.nearer), self._manner.nearest)
            self._move(now, replace(goal, nearer=nearer))

    def hurry(self) -> None:
        """From now on react at once and move in no time, as no person can."""
        self._manner = replace(self._manner, reaction=(0.0, 0.0), moving=(0.04, 0.06))

    def pose(self, now: float) -> Pose:
        """Return where the head is."""
        at = FRONT
        for move in self._moves:
            if now < move.start:
                break
            at = _between(at, move.goal, min((now - move.start) / (move.end - move.start), 1.0))
        yaw, pitch, right, down = np.sin(self._sway + 2 * np.pi * self._tempo * now)
        return Pose(at.yaw + 1.2 * float(yaw), 1.2 * float(pitch), 0.02 * float(right), 0.02 * float(down), at.nearer)

    def _move(self, start: float, goal: Pose) -> float:
        end = start + self._between(self._manner.moving)
        self._moves.append(_Move(start, end, goal))
        return end

    def _between(self, ends: tuple[float, float]) -> float:
        return float(self._rng.uniform(*ends))


def _between(start: Pose, goal: Pose, part: float) -> Pose:
    s = part**3 * (10 - 15 * part + 6 * part**2)
    return Pose(yaw=start.yaw + s * (goal.yaw - start.yaw), nearer=start.nearer + s * (goal.nearer - start.nearer))
