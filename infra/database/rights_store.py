"""Rights requests: rows on one side, the domain's records on the other."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import delete, select, update
from sqlalchemy.orm import Session

from biometrics.errors import Conflict, NotFound
from enrollment.rights_request import RightsKind, RightsRequest, RightsState
from infra.database.insert_once import insert_once
from infra.database.tables import RightsRequestRow

_FRESH = {"populate_existing": True}


class SqlRightsStore:
    """Requests in the transaction of a session; `lock` holds what is read until a writing transaction ends."""

    def __init__(self, session: Session, *, lock: bool) -> None:
        self._session = session
        self._lock = lock

    def add(self, request: RightsRequest) -> None:
        """Add a new request; raise `Conflict` if the id is taken."""
        if not insert_once(self._session, RightsRequestRow, _values(request)):
            raise Conflict("This request exists already.")

    def get(self, request_id: str) -> RightsRequest | None:
        """Return a request or None, locked until a writing unit of work ends."""
        query = select(RightsRequestRow).where(RightsRequestRow.id == request_id)
        if self._lock:
            query = query.with_for_update()
        row = self._session.scalars(query, execution_options=_FRESH).one_or_none()
        return None if row is None else _request(row)

    def replace(self, request: RightsRequest) -> None:
        """Overwrite the request of the same id; raise `NotFound` if there is none."""
        statement = update(RightsRequestRow).where(RightsRequestRow.id == request.id).values(**_values(request))
        if self._session.execute(statement.returning(RightsRequestRow.id)).first() is None:
            raise NotFound

    def page(self, start: int, limit: int, *, open_only: bool) -> Sequence[RightsRequest]:
        """Return a page: open requests first, then by due date."""
        query = select(RightsRequestRow).order_by(
            RightsRequestRow.closed_at.is_not(None), RightsRequestRow.due_at, RightsRequestRow.id
        )
        if open_only:
            query = query.where(RightsRequestRow.closed_at.is_(None))
        rows = self._session.scalars(query.offset(start).limit(limit), execution_options=_FRESH)
        return [_request(row) for row in rows]

    def of_enrollment(self, enrollment_id: str) -> Sequence[RightsRequest]:
        """Return an enrollment's requests, oldest first."""
        query = select(RightsRequestRow).where(RightsRequestRow.enrollment_id == enrollment_id)
        query = query.order_by(RightsRequestRow.received_at, RightsRequestRow.id)
        return [_request(row) for row in self._session.scalars(query, execution_options=_FRESH)]

    def fading(self, epoch: int, limit: int) -> Sequence[RightsRequest]:
        """Return up to `limit` open requests that are sealed under `epoch` or an earlier one."""
        query = select(RightsRequestRow).where(RightsRequestRow.closed_at.is_(None), RightsRequestRow.epoch <= epoch)
        query = query.order_by(RightsRequestRow.epoch).limit(limit)
        if self._lock:
            query = query.with_for_update()
        return [_request(row) for row in self._session.scalars(query, execution_options=_FRESH)]

    def erase(self, now: datetime) -> int:
        """Delete the requests with `erase_at <= now`; return how many."""
        statement = delete(RightsRequestRow).where(RightsRequestRow.erase_at <= now)
        return len(self._session.execute(statement.returning(RightsRequestRow.id)).all())


def _values(request: RightsRequest) -> dict[str, object]:
    return {
        "id": request.id,
        "kind": request.kind.value,
        "state": request.state.value,
        "received_at": request.received_at,
        "due_at": request.due_at,
        "epoch": request.epoch,
        "text": request.text,
        "answer": request.answer,
        "enrollment_id": request.enrollment_id,
        "holder_verifier": request.holder_verifier,
        "closed_at": request.closed_at,
        "erase_at": request.erase_at,
    }


def _request(row: RightsRequestRow) -> RightsRequest:
    return RightsRequest(
        row.id,
        RightsKind(row.kind),
        row.received_at,
        row.due_at,
        row.epoch,
        row.text,
        RightsState(row.state),
        row.enrollment_id,
        row.holder_verifier,
        row.closed_at,
        row.erase_at,
        row.answer,
    )
