"""What the log's columns tell in numbers: who was turned away lately, and how a site's gates are doing.

Every query is bounded by a time and goes by an index. Nothing here reads a subject.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import ColumnElement, func, select
from sqlalchemy.orm import Session

from biometrics.records import EventKind
from infra.audit.tables import AuditEntry

TURNED_AWAY = ("deny", "refer")


@dataclass(frozen=True, slots=True)
class GateCount:
    """How often a gate decided in one way, and when it did so last."""

    gate_id: str
    decision: str
    count: int
    last: datetime


class Activity:
    """Reads the log's columns in the transaction of a session."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def turned_away(self, since: datetime, limit: int) -> list[int]:
        """Return the indices of the newest checks since a time that did not admit, oldest first."""
        query = select(AuditEntry.index).where(AuditEntry.decision.in_(TURNED_AWAY), AuditEntry.time >= since)
        query = query.where(_is(EventKind.CHECKED)).order_by(AuditEntry.time.desc(), AuditEntry.index.desc())
        return sorted(self._session.execute(query.limit(limit)).scalars())

    def by_hand(self, since: datetime) -> Iterator[bytes]:
        """Yield the leaves of officers' decisions since a time, oldest first."""
        query = select(AuditEntry.leaf).where(_is(EventKind.OFFICER_DECIDED), AuditEntry.time >= since)
        yield from self._session.execute(query.order_by(AuditEntry.index)).scalars()

    def by_gate(self, since: datetime) -> list[GateCount]:
        """Count the checks since a time by gate and decision."""
        query = (
            select(AuditEntry.gate_id, AuditEntry.decision, func.count(), func.max(AuditEntry.time))
            .where(_is(EventKind.CHECKED), AuditEntry.time >= since)
            .group_by(AuditEntry.gate_id, AuditEntry.decision)
        )
        rows = self._session.execute(query)
        return [GateCount(gate, decision, count, last) for gate, decision, count, last in rows if gate and decision]


def _is(kind: EventKind) -> ColumnElement[bool]:
    return AuditEntry.event == kind.value
