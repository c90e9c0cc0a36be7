"""Liveness sessions: an active challenge from its first instruction to its only use.

The database knows what was opened and what became of it. Landmarks and the template are in this process's memory only:
after a restart an open session fails, and one that succeeded proves nothing any more.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from threading import Lock
from typing import Final, Generic, TypeVar

from biometrics.comparison import cosine
from biometrics.errors import Conflict, NotFound, NotReady, TooManyAttempts
from biometrics.ports import Clock, UnitOfWork
from biometrics.records import AuditEvent, EventKind, new_id
from biometrics.sessions import LivenessSession, LivenessStatus
from biometrics.types import Pixels, Template
from liveness.challenge import Challenge, Refusal, draw_steps
from liveness.continuity import Continuity
from liveness.frame_judge import FrameJudge
from liveness.pace import Pace
from liveness.session_state import FrameClaim, LiveSession, SessionState

Unit = TypeVar("Unit", bound=UnitOfWork)

POLICY_VERSION: Final = "challenge/1"

KEPT: Final = timedelta(days=1)
"""How long the database remembers a session that is over, unless a lock-out needs it longer."""


@dataclass(frozen=True, slots=True)
class SessionPolicy:
    """How long a session lives, how many may be in memory, how far a capture's time may be from ours.

    After `lockout_failures` sessions of one gate or kiosk in a row that did not succeed, none is opened for `lockout`.
    """

    lifetime: timedelta
    most_held: int
    window: timedelta
    lockout_failures: int
    lockout: timedelta


class LivenessSessions(Generic[Unit]):
    """Opens, drives and ends sessions; a `LivenessProofs` for gate checks. Safe for several threads."""

    def __init__(
        self,
        judge: FrameJudge,
        policy: SessionPolicy,
        *,
        same_person: float,
        unit_of_work: Callable[[], Unit],
        clock: Clock,
        on_end: Callable[[LivenessSession], None] = lambda session: None,
    ) -> None:
        self._judge = judge
        self._policy = policy
        self._same_person = same_person
        self._unit_of_work = unit_of_work
        self._clock = clock
        self._on_end = on_end
        self._live: dict[str, LiveSession] = {}
        self._opening = Lock()

    def open(
        self,
        owner: str,
        gate_id: str | None,
        *,
        before_commit: Callable[[Unit, SessionState], None] = lambda unit, state: None,
    ) -> SessionState:
        """Open a session; one of the same owner that is still open fails, so that nobody picks among instructions.

        One that succeeded and was not used is lost, too. `before_commit` may add to the transaction.
        Raises `TooManyAttempts` during a lock-out, `NotReady` (code `busy`) if as many are open as memory may hold.
        """
        self.sweep()
        with self._opening:
            previous = [live for live in self._live.values() if live.session.owner == owner]
            if len(self._live) - len(previous) >= self._policy.most_held:
                raise NotReady("Too many liveness sessions at once: try again.", code="busy")
            for live in previous:
                with live.lock:
                    self._supersede(live)
            with self._unit_of_work() as unit:
                live = self._new(unit, owner, gate_id)
                unit.liveness.add(live.session)
                before_commit(unit, live.state())
                unit.commit()
            self._live[live.session.id] = live
        return live.state()

    def state(self, session_id: str, owner: str) -> SessionState:
        """Return a session to its owner; raise `NotFound` alike for an unknown one and another's."""
        live = self._live.get(session_id)
        if live is None or live.session.owner != owner:
            return SessionState(self._kept(session_id, owner))
        if live.lock.acquire(blocking=False):  # else a call is under way, which will find out
            try:
                self._expire(live)
            finally:
                live.lock.release()
        return live.state()

    def take(
        self,
        session_id: str,
        owner: str,
        claims: Sequence[FrameClaim],
        frames: Callable[[], AbstractContextManager[Sequence[Pixels]]],
    ) -> SessionState:
        """Take in frames, in order of capture; those behind one that completes a step are left aside.

        Raises `NotFound`, `Conflict` if the session is over (`session_over`), another call is under way
        (`session_busy`) or a time is far off (`stale_capture`), `UnusableFace` if no frame shows a usable face; the
        session stays as it was.
        """
        received = self._clock.now()
        live = self._live.get(session_id)
        if live is None or live.session.owner != owner:
            self._kept(session_id, owner)
            raise Conflict("This liveness session is over: open another.", code="session_over")
        with self._working(live):
            if not live.session.status.is_open:
                raise Conflict("This liveness session is over: open another.", code="session_over")
            if self._expire(live):
                return live.state()
            verdict = self._judge.judge(live, claims, frames, received)
            self._go_on(live, verdict)
            return live.state()

    def redeem(self, unit: UnitOfWork, session_id: str, gate_id: str, probe: Template, now: datetime) -> bool:
        """Use a session up, in the caller's transaction; see `LivenessProofs`.

        Another face uses it up too. If the caller's transaction fails, the session is lost: the gate stays shut.
        """
        live = self._live.get(session_id)
        face = None if live is None else live.face
        # No lock of ours is waited for inside the transaction: the database lets one caller through.
        if live is None or face is None or not unit.liveness.redeem(session_id, gate_id, now):
            return False
        same = cosine(face, probe) >= self._same_person
        self._drop(live)
        return same

    def sweep(self) -> None:
        """End what is overdue, overwrite the templates of sessions whose time is over, forget old rows."""
        now = self._clock.now()
        for live in list(self._live.values()):
            if live.session.expires_at <= now and live.lock.acquire(blocking=False):
                try:
                    self._expire(live)
                    self._drop(live)
                finally:
                    live.lock.release()
        with self._unit_of_work() as unit:
            ended = [
                self._ended(unit, session, LivenessStatus.EXPIRED, None)
                for session in unit.liveness.overdue(now)
                if session.id not in self._live
            ]
            unit.liveness.forget_before(now - max(KEPT, self._policy.lockout))
            unit.commit()
        for session in ended:
            self._on_end(session)

    def close(self) -> None:
        """Overwrite all templates: what is open now will fail."""
        for live in list(self._live.values()):
            self._drop(live)

    def _new(self, unit: UnitOfWork, owner: str, gate_id: str | None) -> LiveSession:
        now = self._clock.now()
        session = LivenessSession(
            id=new_id(),
            owner=owner,
            gate_id=gate_id,
            status=LivenessStatus.CREATED,
            created_at=now,
            expires_at=now + self._policy.lifetime,
            failures=self._failures(unit, owner, now),
        )
        challenge = Challenge(draw_steps(), now)
        return LiveSession(session, challenge, Pace(self._policy.window), Continuity(self._same_person), new_id())

    def _go_on(self, live: LiveSession, verdict: Refusal | bool) -> None:
        """Note what came of a call: in the database first, and where the session ends, in the log."""
        if isinstance(verdict, Refusal):
            self._end(live, LivenessStatus.FAILED, verdict)
        elif verdict and live.challenge.done + 1 == len(live.challenge.steps):
            self._end(live, LivenessStatus.SUCCEEDED, None)
        elif live.session.status is LivenessStatus.CREATED:
            session = replace(live.session, status=LivenessStatus.IN_PROGRESS)
            with self._unit_of_work() as unit:
                unit.liveness.replace(session)
                unit.commit()
            live.session = session
        if verdict is True and live.session.status.is_open:
            live.challenge.next_step(self._clock.now())
            live.nonce = new_id()

    # --- endings -----------------------------------------------------------------------------------------------------

    def _end(self, live: LiveSession, status: LivenessStatus, reason: Refusal | None) -> None:
        with self._unit_of_work() as unit:
            session = self._ended(unit, live.session, status, reason)
            unit.commit()
        live.session = session
        if status is LivenessStatus.SUCCEEDED:
            live.face = live.continuity.take_template()
        else:
            self._drop(live)
        self._on_end(session)

    def _ended(
        self, unit: UnitOfWork, session: LivenessSession, status: LivenessStatus, reason: Refusal | None
    ) -> LivenessSession:
        now = self._clock.now()
        ended = replace(session, status=status, ended_at=now, reason=reason)
        unit.liveness.replace(ended)
        unit.audit.append(
            AuditEvent(
                kind=EventKind.LIVENESS_ENDED,
                time=now,
                event_id=session.id,
                policy_version=POLICY_VERSION,
                gate_id=session.gate_id,
                decision=status.value.lower(),
                reason=reason,
            )
        )
        return ended

    def _expire(self, live: LiveSession) -> bool:
        if live.session.status.is_open and live.session.expires_at <= self._clock.now():
            self._end(live, LivenessStatus.EXPIRED, None)
            return True
        return False

    def _supersede(self, live: LiveSession) -> None:
        if live.session.status.is_open:
            self._end(live, LivenessStatus.FAILED, Refusal.SUPERSEDED)
        self._drop(live)

    def _drop(self, live: LiveSession) -> None:
        live.forget()
        self._live.pop(live.session.id, None)

    def _kept(self, session_id: str, owner: str) -> LivenessSession:
        """Return what the database holds; what is open there and not in memory fails now: its evidence is gone."""
        with self._unit_of_work() as unit:
            session = unit.liveness.get(session_id)
            if session is None or session.owner != owner:
                raise NotFound
            if not session.status.is_open:
                return session
            if session.expires_at <= self._clock.now():
                session = self._ended(unit, session, LivenessStatus.EXPIRED, None)
            else:
                session = self._ended(unit, session, LivenessStatus.FAILED, Refusal.INTERRUPTED)
            unit.commit()
        self._on_end(session)
        return session

    def _failures(self, unit: UnitOfWork, owner: str, now: datetime) -> int:
        """Return how many of the owner's sessions in a row did not succeed; raise `TooManyAttempts` if too many."""
        last = unit.liveness.latest(owner)
        if last is None or last.status is LivenessStatus.SUCCEEDED:
            return 0
        failures = last.failures + 1
        if failures < self._policy.lockout_failures:
            return failures
        wait = (last.ended_at or last.expires_at) + self._policy.lockout - now
        if wait > timedelta():
            raise TooManyAttempts(
                "Too many liveness sessions failed here: see an officer.",
                retry_after=math.ceil(wait.total_seconds()),
                code="locked_out",
            )
        return 0

    @contextmanager
    def _working(self, live: LiveSession) -> Iterator[None]:
        if not live.lock.acquire(blocking=False):
            raise Conflict("Another call for this liveness session is under way.", code="session_busy")
        try:
            yield
        finally:
            live.lock.release()
