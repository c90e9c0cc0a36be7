"""A liveness session as it is kept: what was asked and what became of it. No landmark, template or score is in it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum


class LivenessStatus(StrEnum):
    """How far a session has come; the last three are final."""

    CREATED = "CREATED"
    IN_PROGRESS = "IN_PROGRESS"
    SUCCEEDED = "SUCCEEDED"
    FAILED = "FAILED"
    EXPIRED = "EXPIRED"

    @property
    def is_open(self) -> bool:
        """Whether frames may still come."""
        return self in (LivenessStatus.CREATED, LivenessStatus.IN_PROGRESS)


@dataclass(frozen=True, slots=True)
class LivenessSession:
    """One session; `owner` is the gate or the key that opened it, `gate_id` is None for a kiosk's.

    `failures` counts this owner's sessions in a row before this one that did not succeed, `reason` is a code that says
    why it failed, `redeemed_at` when a gate check used it up.
    """

    id: str
    owner: str
    gate_id: str | None
    status: LivenessStatus
    created_at: datetime
    expires_at: datetime
    failures: int = 0
    ended_at: datetime | None = None
    reason: str | None = None
    redeemed_at: datetime | None = None
