"""What the log's columns tell in numbers: who was turned away lately, and how a site's gates are doing.

Every query is bounded by a time and goes by an index. Nothing here reads a subject.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import BigInteger, ColumnElement, func, select, type_coerce
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


@dataclass(slots=True)
class Step:
    """A step of a span: checks by decision, and all entries."""

    start: datetime
    admit: int = 0
    deny: int = 0
    refer: int = 0
    entries: int = 0


class Activity:
    """Reads the log's columns in the transaction of a session."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def turned_away(self, since: datetime, limit: int) -> list[int]:
        """Return the indices of the newest checks since a time that did not admit, oldest first."""
        found: list[int] = []
        for decision in TURNED_AWAY:  # one by one: each is read from its end, in the index's order
            query = select(AuditEntry.index, AuditEntry.event, AuditEntry.time).where(AuditEntry.decision == decision)
            # Twice as many: an officer's denial of a check stands among the checks that denied.
            rows = self._session.execute(query.order_by(AuditEntry.index.desc()).limit(2 * limit))
            found += [i for i, event, time in rows if event == EventKind.CHECKED.value and time >= since]
        return sorted(found)[-limit:]

    def by_hand(self, since: datetime) -> Iterator[bytes]:
        """Yield the leaves of officers' decisions since a time."""
        query = select(AuditEntry.leaf).where(_is(EventKind.OFFICER_DECIDED), AuditEntry.time >= since)
        yield from self._session.execute(query).scalars()

    def steps(self, since: datetime, step: timedelta, count: int) -> list[Step]:
        """Count checks by decision, and all entries, in so many steps from a time on."""
        width = int(step.total_seconds() * 1e6)
        start = int(since.timestamp() * 1e6)
        number = (type_coerce(AuditEntry.time, BigInteger) - start) // width
        query = select(number, AuditEntry.event, AuditEntry.decision, func.count()).where(AuditEntry.time >= since)
        steps = [Step(since + n * step) for n in range(count)]
        for at, event, decision, found in self._session.execute(
            query.group_by(number, AuditEntry.event, AuditEntry.decision)
        ):
            place = steps[min(at, count - 1)]  # what was logged while we asked
            place.entries += found
            if event == EventKind.CHECKED.value and decision is not None:
                setattr(place, decision, getattr(place, decision) + found)
        return steps

    def refusals(self, since: datetime) -> list[tuple[str, str, int]]:
        """Count the checks since a time that did not admit, by decision and reason, the most frequent first."""
        query = (
            select(AuditEntry.decision, AuditEntry.reason, func.count())
            .where(_is(EventKind.CHECKED), AuditEntry.decision.in_(TURNED_AWAY), AuditEntry.time >= since)
            .group_by(AuditEntry.decision, AuditEntry.reason)
            .order_by(func.count().desc(), AuditEntry.reason)
        )
        return [(decision, reason, n) for decision, reason, n in self._session.execute(query) if decision and reason]

    def events(self, since: datetime) -> dict[str, int]:
        """Count the entries since a time by event."""
        query = select(AuditEntry.event, func.count()).where(AuditEntry.time >= since).group_by(AuditEntry.event)
        return {event: found for event, found in self._session.execute(query)}  # noqa: C416 - dict() loses the types

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
