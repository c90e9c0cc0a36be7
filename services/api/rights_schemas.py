"""What the HTTP interface takes and gives about rights requests."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from pydantic import BaseModel, Field

from enrollment.rights_request import OpenedRequest, RightsKind, RightsRequest, RightsState
from services.api.schemas import Id, Request


class RightsBody(Request):
    """What is asked for; an officer may add whose enrollment it is about, a holder's own is known."""

    kind: RightsKind
    text: str = Field("", max_length=2000, description="needed for correction, grievance and nomination")
    enrollment_id: Id | None = Field(None, description="for officers")


class RightsDecision(Request):
    """An officer's decision; closing one takes an answer to the traveller."""

    state: Literal[RightsState.IN_PROGRESS, RightsState.DONE, RightsState.REFUSED]
    answer: str = Field("", max_length=2000)


class RightsSummary(BaseModel):
    """A request without its words; `overdue` is an open one whose due date has passed."""

    request_id: Id
    kind: RightsKind
    state: RightsState
    received_at: datetime
    due_at: datetime
    closed_at: datetime | None
    erase_at: datetime | None = Field(description="when it is deleted with its words")
    enrollment_id: Id | None

    @classmethod
    def of(cls, request: RightsRequest, now: datetime) -> RightsSummary:
        """Describe a request as it stands now."""
        return cls(**_summary(request, now))


class RightsDetail(RightsSummary):
    """A request with its words; null where there are none."""

    text: str | None
    answer: str | None

    @classmethod
    def opened(cls, found: OpenedRequest, now: datetime) -> RightsDetail:
        """Describe a request with its words."""
        return cls(**_summary(found.request, now), text=found.text, answer=found.answer)


def _summary(request: RightsRequest, now: datetime) -> dict[str, object]:
    return {
        "request_id": request.id,
        "kind": request.kind,
        "state": request.state_at(now),
        "received_at": request.received_at,
        "due_at": request.due_at,
        "closed_at": request.closed_at,
        "erase_at": request.erase_at,
        "enrollment_id": request.enrollment_id,
    }
