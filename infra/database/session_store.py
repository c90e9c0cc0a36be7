"""Liveness sessions: rows on one side, the domain's records on the other."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import delete, select, update
from sqlalchemy.orm import Session

from biometrics.errors import Conflict, NotFound
from biometrics.sessions import LivenessSession, LivenessStatus
from infra.database.insert_once import insert_once
from infra.database.tables import LivenessSessionRow

_OPEN = tuple(status.value for status in LivenessStatus if status.is_open)


class SqlLivenessSessionStore:
    """What became of liveness sessions."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def add(self, session: LivenessSession) -> None:
        """Add a new session; raise `Conflict` if the id is taken."""
        if not insert_once(self._session, LivenessSessionRow, _values(session)):
            raise Conflict("This liveness session exists already.")

    def get(self, session_id: str) -> LivenessSession | None:
        """Return a session, also one that is over."""
        row = self._session.get(LivenessSessionRow, session_id, populate_existing=True)
        return None if row is None else _session(row)

    def replace(self, session: LivenessSession) -> None:
        """Overwrite the session of the same id; raise `NotFound` if there is none."""
        statement = update(LivenessSessionRow).where(LivenessSessionRow.id == session.id).values(**_values(session))
        if self._session.execute(statement.returning(LivenessSessionRow.id)).first() is None:
            raise NotFound

    def redeem(self, session_id: str, gate_id: str, now: datetime) -> bool:
        """Use up a session that succeeded at this gate and is unexpired; True for one caller, also of two at once."""
        # PostgreSQL evaluates the conditions anew on a row that it had to wait for.
        redeemable = (
            (LivenessSessionRow.id == session_id)
            & (LivenessSessionRow.gate_id == gate_id)
            & (LivenessSessionRow.status == LivenessStatus.SUCCEEDED.value)
            & (LivenessSessionRow.expires_at > now)
            & LivenessSessionRow.redeemed_at.is_(None)
        )
        statement = update(LivenessSessionRow).where(redeemable).values(redeemed_at=now)
        return self._session.execute(statement.returning(LivenessSessionRow.id)).first() is not None

    def latest(self, owner: str) -> LivenessSession | None:
        """Return an owner's newest session."""
        query = select(LivenessSessionRow).where(LivenessSessionRow.owner == owner)
        newest = query.order_by(LivenessSessionRow.created_at.desc(), LivenessSessionRow.id).limit(1)
        row = self._session.scalars(newest, execution_options={"populate_existing": True}).one_or_none()
        return None if row is None else _session(row)

    def overdue(self, now: datetime) -> Sequence[LivenessSession]:
        """Return the sessions that are open although `expires_at <= now`."""
        query = select(LivenessSessionRow).where(
            LivenessSessionRow.status.in_(_OPEN), LivenessSessionRow.expires_at <= now
        )
        return [_session(row) for row in self._session.scalars(query, execution_options={"populate_existing": True})]

    def forget_before(self, at: datetime) -> int:
        """Delete sessions that expired before `at`; return how many."""
        statement = delete(LivenessSessionRow).where(LivenessSessionRow.expires_at < at)
        return len(self._session.execute(statement.returning(LivenessSessionRow.id)).all())


def _values(session: LivenessSession) -> dict[str, object]:
    return {
        "id": session.id,
        "owner": session.owner,
        "gate_id": session.gate_id,
        "status": session.status.value,
        "created_at": session.created_at,
        "expires_at": session.expires_at,
        "failures": session.failures,
        "ended_at": session.ended_at,
        "reason": session.reason,
        "redeemed_at": session.redeemed_at,
    }


def _session(row: LivenessSessionRow) -> LivenessSession:
    return LivenessSession(
        row.id,
        row.owner,
        row.gate_id,
        LivenessStatus(row.status),
        row.created_at,
        row.expires_at,
        row.failures,
        row.ended_at,
        row.reason,
        row.redeemed_at,
    )
