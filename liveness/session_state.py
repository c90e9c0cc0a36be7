"""What a gate says of its frames, what memory holds of a session, and what its owner sees of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from threading import Lock

from biometrics.sessions import LivenessSession
from biometrics.types import Template
from liveness.challenge import Challenge, Step
from liveness.continuity import Continuity
from liveness.pace import Pace


@dataclass(frozen=True, slots=True)
class FrameClaim:
    """What a gate says about one frame: the nonce that it was captured for, and when."""

    nonce: str
    captured_at: datetime


@dataclass(frozen=True, slots=True)
class SessionState:
    """A session as its owner sees it; what follows `session` counts while it is open."""

    session: LivenessSession
    step: Step | None = None
    steps_done: int = 0
    steps_total: int | None = None
    nonce: str | None = None


@dataclass
class LiveSession:
    """What memory holds of a session; after success the template alone counts."""

    session: LivenessSession
    challenge: Challenge
    pace: Pace
    continuity: Continuity
    nonce: str = field(repr=False)
    frames: int = 0
    face: Template | None = None
    lock: Lock = field(default_factory=Lock, repr=False)

    def forget(self) -> None:
        """Overwrite the template."""
        self.continuity.zero()
        if self.face is not None:
            self.face.zero()
            self.face = None

    def state(self) -> SessionState:
        """Return what its owner may see."""
        if not self.session.status.is_open:
            return SessionState(self.session)
        going = self.challenge
        return SessionState(self.session, going.step, going.done, len(going.steps), self.nonce)
