"""Honest runs of the active challenge and eight attacks on it, rendered from photographs, in simulated time.

A run talks to a `Stage`, behind which stands the real service. What an attacker lacks is the next instruction;
what each attack does is said at its name.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Final, Protocol

import cv2
import numpy as np

from evaluation.acquisition import Progress, silent
from evaluation.acting import Actor, Manner
from evaluation.camera import CameraSettings, photograph_jpeg
from evaluation.head_motion import Head, Pose
from evaluation.intervals import Interval, clopper_pearson
from liveness.challenge import MOVEMENTS, SEQUENCES, Step, movements

CALL_FRAMES: Final = 4
FRAME_SECONDS: Final = (0.12, 0.18)
LATENCY_SECONDS: Final = (0.03, 0.15)
LONGEST_RUN: Final = 180.0
SUCCEEDED: Final = "SUCCEEDED"
OPEN: Final = ("CREATED", "IN_PROGRESS")


class Kind(StrEnum):
    """What is played."""

    HONEST = "honest"
    OTHER_VIDEO = "video of another sequence"
    """A recording of a living head that begins with the right movement, chosen once that is known."""
    WRONG_ORDER = "wrong order"
    """A living head that makes another movement than the one asked for."""
    TOO_FAST = "too fast"
    """Movements that are made and over as soon as they are asked for."""
    TOO_LATE = "too late"
    """The right movements after the step's time, or after the session's."""
    REUSED = "reused session"
    """A session that succeeded and opened a gate, sent frames again and shown to the gate again."""
    SWAPPED_FACE = "face swapped half-way"
    """Another head goes on from the middle."""
    IDENTICAL_FRAMES = "identical frames"
    """One frame again and again, as it is or compressed anew."""
    FLAT_PHOTOGRAPH = "flat photograph, moved and tilted"
    """A printed photograph that is turned, tilted and brought closer as is asked for."""


@dataclass(frozen=True, slots=True)
class Frame:
    """One frame as the gate sends it."""

    jpeg: bytes = field(repr=False)
    nonce: str = field(repr=False)
    captured_at: datetime


@dataclass(frozen=True, slots=True)
class Told:
    """What the service answered; `reason` also names a refusal of the whole call."""

    session_id: str
    status: str
    step: Step | None
    nonce: str | None
    reason: str | None = None


class Stage(Protocol):
    """The service at one gate whose clock is ours."""

    def open(self) -> Told:
        """Open a session."""
        ...

    def send(self, session_id: str, frames: Sequence[Frame]) -> Told:
        """Send frames; a refused call is answered with the session's last state and the refusal's code."""
        ...

    def gate_reason(self, session_id: str, jpeg: bytes) -> str:
        """Show a face with a session to a gate that demands one, and return the reason of its decision."""
        ...

    def now(self) -> datetime:
        """Return the time."""
        ...

    def wait(self, seconds: float) -> None:
        """Let time pass."""
        ...


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a run: whether the gate was told that somebody lives, and why not."""

    accepted: bool
    reason: str
    same_by_chance: bool = False


@dataclass(frozen=True, slots=True)
class KindFigures:
    """Runs of one kind: `passed` were accepted; `ci95` is the exact interval of that rate.

    `redrawn` recordings were of the very sequence that was then asked for, and are not counted.
    """

    runs: int
    passed: int
    ci95: Interval
    reasons: dict[str, int]
    redrawn: int = 0


class Show:
    """One run before a stage; the random generator makes it repeatable but for what the service draws."""

    def __init__(self, stage: Stage, head: Head, other: Head, rng: np.random.Generator) -> None:
        self._stage, self._head, self._other, self._rng = stage, head, other, rng
        self._camera = CameraSettings(
            gain=rng.uniform(0.85, 1.1), shot_noise=rng.uniform(0.006, 0.015), jpeg_quality=int(rng.integers(85, 95))
        )
        self._actor = Actor(rng, Manner())
        self._asked: list[Step] = []
        self._video: tuple[Step, ...] = ()
        self._start = stage.now()

    def play(self, kind: Kind) -> Outcome:
        """Play one run of a kind."""
        told = self._run(kind)
        if kind is Kind.REUSED and told.status == SUCCEEDED:
            return self._used_again(told)
        asked = movements(self._asked)
        same = kind is Kind.OTHER_VIDEO and told.status == SUCCEEDED and self._video[: len(asked)] == asked
        return Outcome(told.status == SUCCEEDED, told.reason or told.status.lower(), same)

    def _run(self, kind: Kind) -> Told:
        told = self._stage.open()
        self._start = self._stage.now()  # a lock-out may have been waited for
        swing = int(self._rng.integers(1, 3))  # at which step some attacks begin
        self._hear(told, kind, swing)
        frozen: bytes | None = None
        while told.status in OPEN and self._time() < LONGEST_RUN:
            attacking = len(self._asked) > swing
            pace = 0.05 if kind is Kind.TOO_FAST and attacking else 0.0
            frames = []
            for _ in range(CALL_FRAMES):
                self._stage.wait(pace or self._rng.uniform(*FRAME_SECONDS))
                jpeg = self._capture(kind, attacking)
                if kind is Kind.IDENTICAL_FRAMES and attacking:
                    frozen = jpeg if frozen is None else _compressed_anew(frozen) if swing > 1 else frozen
                    jpeg = frozen
                frames.append(Frame(jpeg, told.nonce or "", self._stage.now()))
            self._stage.wait(self._rng.uniform(*LATENCY_SECONDS))
            before, told = told, self._stage.send(told.session_id, frames)
            if told.status in OPEN and told.nonce != before.nonce:
                self._hear(told, kind, swing)
            elif told.step is not None and kind is not Kind.OTHER_VIDEO:
                self._actor.still_told(told.step, self._time())
        return told

    def _hear(self, told: Told, kind: Kind, swing: int) -> None:
        """Let the actor react to a new instruction, or not."""
        if told.step is None:
            return
        self._asked.append(told.step)
        attacking, step = len(self._asked) > swing, told.step
        if kind is Kind.OTHER_VIDEO:
            if len(self._asked) == 2:  # the first movement; before it, the recording looks at the camera
                self._roll_video(tuple(self._asked))
            return
        if attacking and kind is Kind.TOO_LATE:
            self._stage.wait(float(self._rng.choice([12.0, 130.0])))
        if attacking and kind is Kind.TOO_FAST:
            self._actor.hurry()
        if attacking and kind is Kind.WRONG_ORDER and step in MOVEMENTS:
            step = Step(self._rng.choice(sorted(MOVEMENTS - {step})))
        self._actor.told(step, self._time())

    def _roll_video(self, begun: tuple[Step, ...]) -> None:
        """Play a recording that begins as asked, each movement when its own script says so."""
        fitting = [steps for steps in SEQUENCES if steps[: len(begun)] == begun]
        steps = fitting[self._rng.integers(len(fitting))]
        self._video = movements(steps)
        at = self._time()
        for step in steps[1:]:
            at = self._actor.told(step, at) + self._rng.uniform(0.2, 1.2)

    def _capture(self, kind: Kind, attacking: bool) -> bytes:
        pose = self._actor.pose(self._time())
        head = self._other if kind is Kind.SWAPPED_FACE and attacking else self._head
        if kind is Kind.FLAT_PHOTOGRAPH:
            tilted = Pose(1.3 * pose.yaw, 4 * pose.pitch, pose.right + pose.yaw / 90, pose.down, pose.nearer)
            scene = head.sheet(tilted)
        else:
            scene = head.turned(pose)
        return photograph_jpeg(scene, self._camera, self._rng)

    def _used_again(self, told: Told) -> Outcome:
        """Use a successful session as it should be, then send it frames and show it to the gate again."""
        face = photograph_jpeg(self._head.turned(Pose()), self._camera, self._rng)
        first = self._stage.gate_reason(told.session_id, face)
        again = photograph_jpeg(self._head.turned(Pose()), self._camera, self._rng)
        sent = self._stage.send(told.session_id, [Frame(again, "0" * 32, self._stage.now())])
        second = self._stage.gate_reason(told.session_id, again)
        used = first != LIVENESS_REQUIRED
        refused = sent.reason == "session_over" and second == LIVENESS_REQUIRED
        return Outcome(not (used and refused), "session_over" if used and refused else f"{first}/{second}")

    def _time(self) -> float:
        return (self._stage.now() - self._start).total_seconds()


LIVENESS_REQUIRED: Final = "liveness_required"


def _compressed_anew(jpeg: bytes) -> bytes:
    picture = np.asarray(cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR))
    return bytes(cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, 97])[1])


def run_all(
    heads: Sequence[Head],
    stage: Stage,
    *,
    runs: int,
    rng: np.random.Generator,
    kinds: Sequence[Kind] = tuple(Kind),
    progress: Progress = silent,
) -> dict[Kind, KindFigures]:
    """Play so many runs of each kind, the heads by turns; a swapped face is the next head's."""
    outcomes: dict[Kind, list[Outcome]] = {kind: [] for kind in kinds}
    redrawn: Counter[Kind] = Counter()
    for number in range(runs):
        head, other = heads[number % len(heads)], heads[(number + 1) % len(heads)]
        for kind in kinds:
            while (outcome := Show(stage, head, other, rng).play(kind)).same_by_chance:
                redrawn[kind] += 1
            outcomes[kind].append(outcome)
            progress(sum(map(len, outcomes.values())), runs * len(kinds))
    return {kind: _figures(played, redrawn[kind]) for kind, played in outcomes.items()}


def _figures(outcomes: Sequence[Outcome], redrawn: int) -> KindFigures:
    passed = sum(outcome.accepted for outcome in outcomes)
    reasons = Counter(outcome.reason for outcome in outcomes)
    return KindFigures(
        len(outcomes), passed, clopper_pearson(passed, len(outcomes)), dict(reasons.most_common()), redrawn
    )
