"""What the officer's desk sends and receives."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from services.api.schemas import GateState, KeyState
from services.desk import Decided, HandReason, Waiting


class HandDecision(BaseModel):
    """An officer's decision about a check that did not admit."""

    model_config = ConfigDict(extra="forbid", strict=True)

    audit_index: Annotated[int, Field(ge=0, le=2**62)]
    check_id: Annotated[str, Field(min_length=1, max_length=100)]
    decision: Literal["admit", "deny"]
    reason: Annotated[HandReason, Field(strict=False)]


class WaitingState(BaseModel):
    """A check after which somebody goes to an officer."""

    model_config = ConfigDict(from_attributes=True)

    audit_index: int
    check_id: str
    gate_id: str
    purpose: str
    decision: str
    reason: str
    time: AwareDatetime

    @classmethod
    def of(cls, check: Waiting) -> WaitingState:
        """Return a check as it is sent."""
        return cls.model_validate(check)


class DecidedState(BaseModel):
    """A decision by hand, as it stands in the log."""

    model_config = ConfigDict(from_attributes=True)

    audit_index: int
    check_id: str
    gate_id: str
    decision: str
    reason: str
    time: AwareDatetime

    @classmethod
    def of(cls, decided: Decided) -> DecidedState:
        """Return a decision as it is sent."""
        return cls.model_validate(decided)


class Snapshot(BaseModel):
    """Who waits, longest first; every stream begins with it."""

    waiting: list[WaitingState]


class GateHealthState(BaseModel):
    """A gate and its checks by decision."""

    gate: GateState
    last_quarter: dict[str, int]
    last_hour: dict[str, int]
    last_check_at: datetime | None = Field(description="of the last hour")


class PurgeState(BaseModel):
    """Whether forgetting goes on; of the templates held, `overdue` are past their end and wait for the next sweep."""

    alive: bool
    last_sweep_at: datetime | None
    interval_seconds: float
    held: int
    overdue: int
    oldest_enrolled_at: datetime | None
    next_expiry_at: datetime | None


class RequestsState(BaseModel):
    """Rights requests that wait for an answer."""

    open: int
    overdue: int
    next_due_at: datetime | None


class DeskState(BaseModel):
    """How the site is doing."""

    time: datetime
    ready: bool
    networks: dict[str, str] = Field(description="what runs each network")
    gates: list[GateHealthState]
    purge: PurgeState
    requests: RequestsState
    duplicates_suspected: int
    keys: list[KeyState]
