"""An active challenge: a random sequence of movements, shown one at a time and measured on landmarks. No clock inside.

First the face is looked at from the front, at rest: that is what all turns are measured against, and until it is known
no movement is told. Each movement begins from the front, too: the head must face the camera again before it counts. A
movement that was not asked for ends the challenge, and so does one that is over sooner than a person can react, or that
takes too long. A turn is a turn of a body in space (`geometry`): a flat picture, however tilted, does not make one.

Left and right are the person's own, on pictures that are not mirrored. Limits: docs/liveness.md.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from itertools import pairwise, product
from typing import Final

from biometrics.quality import head_pose
from biometrics.types import FloatArray
from liveness.geometry import change, displacement, mean_shape, size


class Step(StrEnum):
    """What a person is asked to do."""

    FACE_CAMERA = "face_camera"
    TURN_LEFT = "turn_left"
    TURN_RIGHT = "turn_right"
    COME_CLOSER = "come_closer"
    HOLD_STILL = "hold_still"


class Refusal(StrEnum):
    """Why a liveness session failed, in words that never change and tell no score."""

    WRONG_MOVEMENT = "wrong_movement"
    TOO_FAST = "too_fast"
    TOO_SLOW = "too_slow"
    FLAT_SURFACE = "flat_surface"
    FRAMES_REPEATED = "frames_repeated"
    FRAMES_OUT_OF_ORDER = "frames_out_of_order"
    CAMERA_CHANGED = "camera_changed"
    FACE_CHANGED = "face_changed"
    MULTIPLE_FACES = "multiple_faces"
    WRONG_NONCE = "wrong_nonce"
    TOO_MANY_FRAMES = "too_many_frames"
    SUPERSEDED = "superseded"
    INTERRUPTED = "interrupted"


TURNS: Final = frozenset({Step.TURN_LEFT, Step.TURN_RIGHT})
MOVEMENTS: Final = TURNS | {Step.COME_CLOSER}

FRONT_FRAMES: Final = 3
"""So many frames in a row from the front, at rest, begin a challenge: their mean is what turns are measured against."""

FRONTAL_YAW: Final = 15.0
"""Degrees within which a face looks at the camera when the challenge begins."""

FRONT_TURN: Final = 0.06
"""A head that is turned by less than this faces the camera again."""

TURN: Final = 0.12
"""The nose's parallax that makes a turn, in distances between the eyes; 20 to 35 degrees give it."""

CLOSER: Final = 1.2
"""By what factor the face grows when somebody comes closer: a step forward at arm's length and a half."""

STILL: Final = 0.15
"""How far a landmark of a head that is held still may move, in distances between the eyes."""

FLAT_FORESHORTENING: Final = 0.82
FLAT_PARALLAX: Final = 0.4
"""A face that has become narrower than the former part of its front, and whose nose shows less parallax than the latter
part of what was lost, is a tilted picture: a head that turns by 35 degrees loses 0.18 and shows 0.25."""

CONFIRMING_FRAMES: Final = 2
"""So many frames in a row must show a movement, or the front before it: one alone may be an error of the detector."""

FLAT_FRAMES: Final = 4
"""So many flat ones in a row name a tilted picture. One that looks flat is no turn in any case, and a head on its way
may look so once or twice."""

STILL_TIME: Final = timedelta(seconds=1)
REACTION: Final = timedelta(seconds=0.5)
"""Nobody reads an instruction, reacts (0.2 s at the very least) and has moved the head in less."""

STEP_TIME: Final = timedelta(seconds=10)


FEWEST_MOVEMENTS: Final = 3


def movements(steps: Sequence[Step]) -> tuple[Step, ...]:
    """Return the steps that ask for a movement: holding still is no evidence against a video that pauses."""
    return tuple(step for step in steps if step in MOVEMENTS)


def _allowed(steps: Sequence[Step]) -> bool:
    varied = all(one is not next_one for one, next_one in pairwise(steps))
    turns, closer = sum(step in TURNS for step in steps), steps.count(Step.COME_CLOSER)
    return varied and turns >= 2 and closer <= 1 and len(movements(steps)) >= FEWEST_MOVEMENTS


SEQUENCES: Final = tuple(
    (Step.FACE_CAMERA, *steps)
    for length in (3, 4)
    for steps in product([step for step in Step if step is not Step.FACE_CAMERA], repeat=length)
    if _allowed(steps)
)
"""Every sequence that may be drawn: facing the camera, then three movements or four, at least two of them turns, closer
at most once, holding still at most once, and never the same step twice in a row."""


def draw_steps() -> tuple[Step, ...]:
    """Draw a sequence, each as likely as any other."""
    return secrets.choice(SEQUENCES)


def is_frontal(landmarks: FloatArray) -> bool:
    """Say whether a face looks at the camera."""
    yaw, _, _ = head_pose(landmarks)
    return abs(yaw) <= FRONTAL_YAW


@dataclass(frozen=True, slots=True)
class Sight:
    """One face at a time of capture, in our clock: `landmarks` as in `Face`."""

    at: datetime
    landmarks: FloatArray = field(repr=False)


@dataclass
class Challenge:
    """How far somebody has come in a sequence; `issued_at` is when the present step was first told to them.

    The first of the `steps` is `FACE_CAMERA`, and no other; raises `ValueError` otherwise.
    """

    steps: tuple[Step, ...]
    issued_at: datetime
    done: int = 0
    _front: FloatArray | None = field(default=None, repr=False)
    _first: list[FloatArray] = field(default_factory=list, repr=False)
    _front_frames: int = 0
    _start_size: float | None = None
    _still_since: Sight | None = None
    _still_frames: int = 0
    _moved: Step | None = None
    _moved_frames: int = 0
    _flat_frames: int = 0

    def __post_init__(self) -> None:
        if [number for number, step in enumerate(self.steps) if step is Step.FACE_CAMERA] != [0]:
            raise ValueError("a challenge begins by facing the camera, once")

    @property
    def over(self) -> bool:
        """Whether every step was done."""
        return self.done == len(self.steps)

    @property
    def step(self) -> Step | None:
        """What is asked for at present; None when all is done."""
        return None if self.over else self.steps[self.done]

    @property
    def faced(self) -> bool:
        """Whether the front of the face is known."""
        return self._front is not None

    def turned(self, landmarks: FloatArray) -> float:
        """Say how far a face is turned from its front, as soon as that is known: 0 not at all, 1 a whole turn."""
        if self._front is None:
            return 0.0 if is_frontal(landmarks) else 1.0
        seen = change(self._front, landmarks)
        return 1.0 if seen is None else min(abs(seen.turn) / TURN, 1.0)

    def is_late(self, now: datetime) -> bool:
        """Say whether the present step's time is over."""
        return not self.over and now - self.issued_at > STEP_TIME

    def next_step(self, issued_at: datetime) -> None:
        """Go on to the next step, which is told now."""
        self.done += 1
        self.issued_at = issued_at
        self._start_size = self._still_since = self._moved = None
        self._front_frames = self._moved_frames = self._still_frames = 0

    def see(self, sight: Sight) -> Refusal | bool:
        """Take in one sight, in order of capture: True if it completes the present step, a refusal if it ends all."""
        if sight.at <= self.issued_at:
            return Refusal.TOO_FAST  # captured before the instruction was known
        if self.is_late(sight.at):
            return Refusal.TOO_SLOW
        if self.step is Step.FACE_CAMERA or self._front is None:
            return self._face_front(sight)
        moved = self._movement(sight, self._front)
        if isinstance(moved, Refusal):
            return moved
        self._moved_frames = self._moved_frames + 1 if moved is self._moved else 1
        self._moved = moved
        if moved is None:
            if self.step is not Step.HOLD_STILL or not self._held_still(sight):
                return False
        elif self._moved_frames < CONFIRMING_FRAMES:
            return False
        elif moved is not self.step:
            return Refusal.WRONG_MOVEMENT
        return Refusal.TOO_FAST if sight.at - self.issued_at < REACTION else True

    def _face_front(self, sight: Sight) -> bool:
        """Say whether the head has now been at rest from the front for long enough; nobody need react to that."""
        if not is_frontal(sight.landmarks):
            self._first = []
            return False
        if self._first and displacement(self._first[0], sight.landmarks) > STILL:
            self._first = []
        self._first.append(sight.landmarks)
        if len(self._first) < FRONT_FRAMES:
            return False
        self._front, self._first = mean_shape(self._first), []
        return True

    def _movement(self, sight: Sight, front: FloatArray) -> Step | Refusal | None:
        """Return what the head has done since this step's front, if anything."""
        seen = change(front, sight.landmarks)
        if seen is None:
            return None
        flat = seen.foreshortening < FLAT_FORESHORTENING and abs(seen.turn) < FLAT_PARALLAX * (1 - seen.foreshortening)
        self._flat_frames = self._flat_frames + 1 if flat else 0
        if self._flat_frames >= FLAT_FRAMES:
            return Refusal.FLAT_SURFACE
        if self._start_size is None:
            self._front_frames = self._front_frames + 1 if abs(seen.turn) < FRONT_TURN else 0
            if self._front_frames >= CONFIRMING_FRAMES:
                self._start_size = size(sight.landmarks)
            return None
        if abs(seen.turn) >= TURN and not flat:
            return Step.TURN_LEFT if seen.turn > 0 else Step.TURN_RIGHT
        return Step.COME_CLOSER if size(sight.landmarks) >= CLOSER * self._start_size else None

    def _held_still(self, sight: Sight) -> bool:
        since = self._still_since
        if self._start_size is None or since is None or displacement(since.landmarks, sight.landmarks) > STILL:
            self._still_since, self._still_frames = sight, 1
            return False
        self._still_frames += 1
        return sight.at - since.at >= STILL_TIME and self._still_frames > FRONT_FRAMES
