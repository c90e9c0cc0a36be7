"""How a site is doing, as its officers see it: gates, purge, keys of callers, and what waits for an officer."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import func, select

from biometrics.records import Gate
from infra.api_keys import ApiKey, list_keys
from infra.audit.activity import Activity
from infra.database.tables import EnrollmentRow, RightsRequestRow
from infra.database.unit_of_work import SqlUnitOfWork

SPANS = (timedelta(minutes=15), timedelta(hours=1))


@dataclass(frozen=True, slots=True)
class GateHealth:
    """A gate, its checks of the last quarter of an hour and of the last hour by decision, and the last one's time."""

    gate: Gate
    quarter: dict[str, int]
    hour: dict[str, int]
    last: datetime | None


@dataclass(frozen=True, slots=True)
class Held:
    """Templates that exist, those past their expiry, when the oldest was made and must go, and when the next goes."""

    templates: int
    overdue: int
    oldest: datetime | None
    oldest_expiry: datetime | None
    next_expiry: datetime | None
    duplicates_suspected: int


@dataclass(frozen=True, slots=True)
class Requests:
    """Rights requests that are open."""

    open: int
    overdue: int
    next_due: datetime | None


def gates(unit: SqlUnitOfWork, now: datetime) -> list[GateHealth]:
    """Return the health of every gate."""
    quarter, hour = (Activity(unit.session).by_gate(now - span) for span in SPANS)
    return [
        GateHealth(
            gate,
            {c.decision: c.count for c in quarter if c.gate_id == gate.id},
            {c.decision: c.count for c in hour if c.gate_id == gate.id},
            max((c.last for c in hour if c.gate_id == gate.id), default=None),
        )
        for gate in unit.gates.all()
    ]


def held(unit: SqlUnitOfWork, now: datetime) -> Held:
    """Count the templates in the database."""
    row = EnrollmentRow
    overdue = func.count().filter(row.expires_at <= now)
    suspected = func.count().filter(row.duplicate_suspected.is_(True))
    query = select(func.count(), overdue, func.min(row.enrolled_at), func.min(row.expires_at), suspected)
    templates, late, oldest, following, duplicates = unit.session.execute(query.select_from(row)).one()
    limit = select(row.expires_at).where(row.enrolled_at == oldest).order_by(row.expires_at.desc()).limit(1)
    return Held(templates, late, oldest, unit.session.execute(limit).scalar_one_or_none(), following, duplicates)


def requests(unit: SqlUnitOfWork, now: datetime) -> Requests:
    """Count the rights requests that wait for an answer."""
    row = RightsRequestRow
    query = select(func.count(), func.count().filter(row.due_at < now), func.min(row.due_at))
    return Requests(*unit.session.execute(query.where(row.closed_at.is_(None))).one())


def callers(unit: SqlUnitOfWork) -> list[ApiKey]:
    """Return all callers' keys, without their secrets; those in force first."""
    return sorted(list_keys(unit.session), key=lambda key: (key.revoked_at is not None, key.created_at))
