"""Liveness sessions on fakes: their states, their ends, their only use, and what is left in memory."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from datetime import timedelta

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from biometrics.errors import Conflict, NotFound, NotReady, TooManyAttempts, UnusableFace
from biometrics.quality import QualityPolicy
from biometrics.records import EventKind
from biometrics.sessions import LivenessSession, LivenessStatus
from biometrics.types import Box, Face, Pixels, Template
from liveness.challenge import STEP_TIME, Refusal, Step
from liveness.frame_judge import FrameJudge
from liveness.session_service import LivenessSessions, SessionPolicy
from liveness.session_state import FrameClaim, SessionState
from tests.factories import NOON, make_template
from tests.fakes import FakeClock, FakeKeyStore, FakeTables, FakeUnitOfWork, Journal
from tests.unit.liveness.test_challenge import FRAME, POSES, landmarks

GATE, OWNER = "entry", "gate:entry"
POLICY = SessionPolicy(timedelta(minutes=2), 3, timedelta(seconds=60), 3, timedelta(minutes=5))
SHARP = QualityPolicy(0, 0, 0, 255, 0, 90, 90, 90, 0, 0)


class Puppets:
    """A detector and an embedder that read out of a picture's first pixels who is in it, and in which pose."""

    model_digest = "d" * 64

    def __init__(self) -> None:
        self._seen: list[int] = []

    @staticmethod
    def picture(shot: int, *people: int, yaw: float = 0.0, nearer: float = 0.0) -> Pixels:
        pixels = np.random.default_rng(shot).integers(0, 255, (200, 200, 3), np.uint8)
        pixels[0, :4, 0] = [len(people), *people, 0, 0, 0][:4]
        pixels[1, :3, 0] = [round(yaw) + 100, round(10 * nearer), shot % 200]
        return pixels

    def detect(self, image: Pixels) -> list[Face]:
        yaw, nearer, shot = (int(n) for n in image[1, :3, 0])
        self._seen = [int(n) for n in image[0, 1 : 1 + image[0, 0, 0], 0]]
        noise = np.random.default_rng(shot).normal(0, 0.3, (5, 2))
        points = np.asarray(landmarks(yaw=yaw - 100, nearer=nearer / 10) + noise, np.float32)
        return [Face(Box(40, 40, 120, 120), 0.99, points) for _ in self._seen]

    def embed(self, aligned: Pixels) -> Template:
        return make_template(self._seen[0])


class Booth:
    """One site's liveness sessions, and somebody before the camera."""

    def __init__(self) -> None:
        self.clock, self.tables, self.keys = FakeClock(NOON), FakeTables(), FakeKeyStore()
        self.ended: list[LivenessSession] = []
        self.shot = 0
        self.restart()

    def restart(self) -> None:
        puppets = Puppets()
        self.sessions = LivenessSessions(
            FrameJudge(puppets, puppets, SHARP),
            POLICY,
            same_person=0.5,
            unit_of_work=self.unit,
            clock=self.clock,
            on_end=self.ended.append,
        )

    def unit(self) -> FakeUnitOfWork:
        return FakeUnitOfWork(self.tables, self.keys, Journal())

    def open(self, owner: str = OWNER) -> SessionState:
        return self.sessions.open(owner, GATE if owner == OWNER else None)

    def send(
        self, state: SessionState, *people: int, frames: int = 4, nonce: str | None = None, **pose: float
    ) -> SessionState:
        claims, pictures = [], []
        for _ in range(frames):
            self.clock.time += FRAME
            self.shot += 1
            claims.append(FrameClaim(nonce or state.nonce or "", self.clock.time))
            pictures.append(Puppets.picture(self.shot, *(people or (1,)), **pose))
        return self.give(state, claims, pictures)

    def give(self, state: SessionState, claims: list[FrameClaim], pictures: Sequence[Pixels]) -> SessionState:
        self.clock.time += timedelta(milliseconds=50)
        return self.sessions.take(state.session.id, state.session.owner, claims, lambda: nullcontext(pictures))

    def do(self, state: SessionState, step: Step | None, person: int = 1) -> SessionState:
        """Face the camera, then do a step, until another is told."""
        before, state = state.nonce, self.send(state, person)
        for _ in range(3):
            if state.session.status.is_open and state.nonce == before:
                state = self.send(state, person, **POSES[step])
        return state

    def succeed(self) -> SessionState:
        state = self.open()
        while state.session.status.is_open:
            state = self.do(state, state.step)
        return state

    def redeem(self, session_id: str, *, gate: str = GATE, person: int = 1) -> bool:
        with self.unit() as unit:
            done = self.sessions.redeem(unit, session_id, gate, make_template(person), self.clock.now())
            unit.commit()
        return done

    def log(self) -> list[tuple[str | None, str | None]]:
        return [(e.decision, e.reason) for e in self.tables.events if e.kind is EventKind.LIVENESS_ENDED]


@pytest.fixture
def booth() -> Booth:
    return Booth()


def test_an_honest_run_succeeds_and_is_redeemed_once(booth: Booth) -> None:
    state = booth.open()
    assert state.session.status is LivenessStatus.CREATED
    nonces = {state.nonce}
    state = booth.send(state)
    assert (state.session.status, state.steps_done) == (LivenessStatus.IN_PROGRESS, 1)
    while state.session.status.is_open:
        state = booth.do(state, state.step)
        nonces.add(state.nonce)
    assert state.session.status is LivenessStatus.SUCCEEDED
    assert (state.step, state.nonce) == (None, None)
    assert len(nonces) >= 4, "a new nonce for each step, and none at the end"
    assert booth.log() == [("succeeded", None)]
    assert booth.ended == [state.session]
    assert booth.redeem(state.session.id) is True
    assert booth.redeem(state.session.id) is False
    assert booth.sessions.state(state.session.id, OWNER).session.redeemed_at == booth.clock.now()


def test_no_other_gate_and_no_other_face_redeems_it(booth: Booth) -> None:
    session_id = booth.succeed().session.id
    assert booth.redeem(session_id, gate="boarding") is False
    assert booth.redeem(session_id, person=2) is False
    assert booth.redeem(session_id) is False, "the other face has used it up"


def test_it_is_not_redeemed_after_its_time_or_before_its_end(booth: Booth) -> None:
    assert booth.redeem(booth.open().session.id) is False
    session_id = booth.succeed().session.id
    booth.clock.time += POLICY.lifetime
    assert booth.redeem(session_id) is False


def test_the_template_is_overwritten_when_it_is_used_expired_or_closed(booth: Booth) -> None:
    for ending in (
        lambda session_id: booth.redeem(session_id),
        lambda session_id: (setattr(booth.clock, "time", booth.clock.time + POLICY.lifetime), booth.sessions.sweep()),
        lambda session_id: booth.sessions.close(),
        lambda session_id: booth.open(),
    ):
        session_id = booth.succeed().session.id
        face = booth.sessions._live[session_id].face
        assert face is not None
        assert face.vector.any()
        ending(session_id)
        assert not face.vector.any()
        assert session_id not in booth.sessions._live


@pytest.mark.parametrize(
    ("attack", "reason"),
    [
        (lambda b, s: b.send(s, nonce="0" * 32), Refusal.WRONG_NONCE),
        (lambda b, s: b.send(b.send(s), 2), Refusal.FACE_CHANGED),
        (lambda b, s: b.send(b.send(s), 1, 1), Refusal.MULTIPLE_FACES),
        (
            lambda b, s: b.do(s := b.send(s), Step.TURN_LEFT if s.step is Step.TURN_RIGHT else Step.TURN_RIGHT),
            Refusal.WRONG_MOVEMENT,
        ),
        (lambda b, s: (setattr(b.clock, "time", b.clock.time + STEP_TIME), b.send(s))[1], Refusal.TOO_SLOW),
    ],
)
def test_an_attack_fails_the_session_with_its_reason(booth: Booth, attack: object, reason: Refusal) -> None:
    state = attack(booth, booth.open())  # type: ignore[operator]
    assert state.session.status is LivenessStatus.FAILED
    assert state.session.reason == reason
    assert booth.log() == [("failed", reason)]
    assert booth.sessions._live == {}
    with pytest.raises(Conflict) as caught:
        booth.send(state)
    assert caught.value.code == "session_over"


@pytest.mark.parametrize("strange", [(2,), (1, 1)])
def test_one_strange_frame_counts_for_nothing(booth: Booth, strange: tuple[int, ...]) -> None:
    """One frame alone may be an error of the detector or the embedder: it ends nothing, and it proves nothing."""
    state = booth.send(booth.open())
    turn = POSES[state.step]
    for _ in range(2):
        booth.send(state, 1, frames=1)
        before = booth.tables.liveness[state.session.id]
        if len(strange) > 1:
            with pytest.raises(UnusableFace):
                booth.send(state, *strange, frames=1, **turn)
        else:
            booth.send(state, *strange, frames=1, **turn)
        assert booth.tables.liveness[state.session.id] == before
    assert booth.do(state, state.step).steps_done == 2


def test_repeated_frames_fail_within_a_call_and_across_calls(booth: Booth) -> None:
    for across in (False, True):
        state, picture = booth.open(), Puppets.picture(1 + across, 1)
        times = [booth.clock.time + FRAME, booth.clock.time + 2 * FRAME]
        booth.clock.time += 2 * FRAME
        claims = [FrameClaim(state.nonce or "", time) for time in times]
        if across:
            booth.give(state, claims[:1], [picture])
            state = booth.give(state, claims[1:], [picture.copy()])
        else:
            state = booth.give(state, claims, [picture, picture.copy()])
        assert state.session.reason == Refusal.FRAMES_REPEATED


def test_frames_without_a_usable_face_change_nothing(booth: Booth) -> None:
    state = booth.open()
    with pytest.raises(UnusableFace):
        booth.send(state, 1, yaw=40)
    assert booth.sessions.state(state.session.id, OWNER).session.status is LivenessStatus.CREATED
    assert booth.do(state, state.step).steps_done == 1


def test_a_session_expires(booth: Booth) -> None:
    state = booth.open()
    booth.clock.time += POLICY.lifetime
    assert booth.sessions.state(state.session.id, OWNER).session.status is LivenessStatus.EXPIRED
    late = booth.open()
    booth.clock.time += POLICY.lifetime
    assert booth.send(late).session.status is LivenessStatus.EXPIRED
    assert booth.log() == [("expired", None)] * 2


def test_nobody_else_sees_a_session(booth: Booth) -> None:
    state = booth.open()
    for session_id, owner in ((state.session.id, "key:other"), ("0" * 32, OWNER)):
        with pytest.raises(NotFound):
            booth.sessions.state(session_id, owner)
        with pytest.raises(NotFound):
            booth.sessions.take(session_id, owner, [], lambda: nullcontext([]))
    assert booth.sessions.state(state.session.id, OWNER) == state


def test_a_restart_fails_what_was_open_and_proves_nothing(booth: Booth) -> None:
    proven = booth.succeed().session.id
    opened = booth.open("key:kiosk")
    booth.restart()
    assert booth.redeem(proven) is False
    assert booth.sessions.state(proven, OWNER).session.status is LivenessStatus.SUCCEEDED
    assert booth.sessions.state(opened.session.id, "key:kiosk").session.reason == Refusal.INTERRUPTED
    assert booth.log()[-1] == ("failed", "interrupted")


def test_what_nobody_asks_for_again_is_swept_and_in_time_forgotten(booth: Booth) -> None:
    session_id = booth.open().session.id
    booth.restart()
    booth.clock.time += POLICY.lifetime
    booth.sessions.sweep()
    assert booth.tables.liveness[session_id].status is LivenessStatus.EXPIRED
    booth.clock.time += timedelta(days=2)
    booth.sessions.sweep()
    assert booth.tables.liveness == {}


def test_opening_another_gives_up_the_first(booth: Booth) -> None:
    first, other, second = booth.open(), booth.open("key:kiosk"), booth.open()
    assert booth.sessions.state(first.session.id, OWNER).session.reason == Refusal.SUPERSEDED
    assert other.session.id in booth.sessions._live
    assert second.session.failures == 1


def test_memory_is_bounded(booth: Booth) -> None:
    for number in range(POLICY.most_held):
        booth.open(f"key:{number}")
    with pytest.raises(NotReady) as caught:
        booth.open("key:one-more")
    assert caught.value.code == "busy"
    booth.clock.time += POLICY.lifetime
    booth.open("key:one-more")


def test_failures_in_a_row_lock_out_for_minutes(booth: Booth) -> None:
    for _ in range(POLICY.lockout_failures):
        booth.send(booth.open(), nonce="0" * 32)
    with pytest.raises(TooManyAttempts) as caught:
        booth.open()
    assert caught.value.code == "locked_out"
    assert caught.value.retry_after == POLICY.lockout.total_seconds()
    booth.open("key:kiosk")
    booth.restart()
    with pytest.raises(TooManyAttempts):
        booth.open()
    booth.clock.time += POLICY.lockout
    assert booth.open().session.failures == 0


def test_a_success_ends_the_row(booth: Booth) -> None:
    for _ in range(POLICY.lockout_failures - 1):
        booth.send(booth.open(), nonce="0" * 32)
    booth.succeed()
    assert booth.open().session.failures == 0


@settings(max_examples=25)
@given(st.lists(st.sampled_from([*Step, None, "swap", "wait", "nonce"]), min_size=1, max_size=14))
def test_whatever_happens_only_what_was_asked_for_succeeds(acts: list[Step | str | None]) -> None:
    """Every state is one of the five, ended sessions never change, and steps are done only as they were asked for."""
    booth = Booth()
    state, done = booth.open(), 0
    asked = []
    for act in acts:
        if not state.session.status.is_open:
            break
        before, step = state, state.step
        if act == "wait":
            booth.clock.time += timedelta(seconds=30)
        elif act == "nonce":
            state = booth.send(state, nonce="f" * 32)
        elif act == "swap":
            state = booth.send(state, 2)
        else:
            state = booth.do(state, None if act is None else Step(act))
        if state.steps_done > before.steps_done:
            done += 1
            asked.append(step)
            assert step in (Step.FACE_CAMERA, Step.HOLD_STILL) or act is step
    assert state.steps_done in (0, done)
    if state.session.status is LivenessStatus.SUCCEEDED:
        assert len(asked) >= 3, "the last step ends the session and is not counted"
    told = booth.sessions.state(state.session.id, OWNER).session  # first: asking ends a session that is overdue
    kept = booth.tables.liveness[state.session.id]
    assert kept.status is told.status
    assert len(booth.log()) == (0 if kept.status.is_open else 1)
