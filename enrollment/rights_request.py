"""A rights request as it is kept and as people see it."""

from __future__ import annotations

import hmac
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from biometrics.records import TravelToken


class RightsKind(StrEnum):
    """What is asked for."""

    ACCESS = "access"
    CORRECTION = "correction"
    ERASURE = "erasure"
    GRIEVANCE = "grievance"
    NOMINATION = "nomination"


WORDLESS = frozenset({RightsKind.ACCESS, RightsKind.ERASURE})
"""What can be asked for without saying more."""


class RightsState(StrEnum):
    """How far a request is; `overdue` is never stored: it is an open request whose time has passed."""

    RECEIVED = "received"
    IN_PROGRESS = "in_progress"
    DONE = "done"
    REFUSED = "refused"
    OVERDUE = "overdue"


CLOSED = frozenset({RightsState.DONE, RightsState.REFUSED})


@dataclass(frozen=True, slots=True)
class RightsRequest:
    """A request as the database holds it; `text` and `answer` are sealed under the keys of `epoch`.

    An officer may write one down for somebody without an enrollment; it then has neither id nor verifier of a holder.
    """

    id: str
    kind: RightsKind
    received_at: datetime
    due_at: datetime
    epoch: int
    text: bytes | None = field(repr=False)
    state: RightsState = RightsState.RECEIVED
    enrollment_id: str | None = None
    holder_verifier: bytes | None = field(default=None, repr=False)
    closed_at: datetime | None = None
    erase_at: datetime | None = None
    answer: bytes | None = field(default=None, repr=False)

    def state_at(self, now: datetime) -> RightsState:
        """Return the state as people see it."""
        return RightsState.OVERDUE if self.closed_at is None and self.due_at < now else self.state

    def belongs_to(self, token: TravelToken) -> bool:
        """Say, in constant time, whether this token's holder filed it; also after the enrollment is gone."""
        if self.holder_verifier is None or self.enrollment_id != token.enrollment_id:
            return False
        return hmac.compare_digest(self.holder_verifier, token.verifier)


@dataclass(frozen=True, slots=True)
class OpenedRequest:
    """A request with its words; None where there are none, or where their key is gone."""

    request: RightsRequest
    text: str | None = field(repr=False)
    answer: str | None = field(repr=False)
