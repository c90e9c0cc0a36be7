"""What the log's figures look like as they are sent."""

from __future__ import annotations

from datetime import datetime

from pydantic import BaseModel, Field


class Step(BaseModel):
    """One step of the span: checks by decision, and all entries."""

    start: datetime
    admit: int
    deny: int
    refer: int
    entries: int


class Refusal(BaseModel):
    """Checks that did not admit, by decision and reason."""

    decision: str
    reason: str
    count: int


class Retention(BaseModel):
    """Templates of the database: how many, how many past their end, and the oldest with its limit."""

    held: int
    overdue: int
    oldest_enrolled_at: datetime | None
    oldest_expires_at: datetime | None = Field(description="when the oldest must be gone at the latest")
    next_expiry_at: datetime | None


class AuditFigures(BaseModel):
    """Counts over a span of the log, and the templates held now."""

    since: datetime
    until: datetime
    step_seconds: int
    steps: list[Step]
    refusals: list[Refusal]
    events: dict[str, int] = Field(description="entries of the span by event")
    size: int = Field(description="entries of the whole log")
    retention: Retention
