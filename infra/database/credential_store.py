"""The status lists of journey credentials: an epoch, a place and a bit."""

from __future__ import annotations

from sqlalchemy import ColumnElement, delete, select, update
from sqlalchemy.orm import Session

from biometrics.credentials import StatusPlace
from infra.database.insert_once import insert_once
from infra.database.tables import CredentialStatusRow


class SqlCredentialStatuses:
    """The places taken; with `lock` one that is read stays locked until the transaction ends."""

    def __init__(self, session: Session, *, lock: bool) -> None:
        self._session = session
        self._lock = lock

    def add(self, place: StatusPlace) -> bool:
        """Take a place; say whether it was free."""
        values = {"epoch": place.epoch, "index": place.index, "revoked": False}
        return insert_once(self._session, CredentialStatusRow, values)

    def revoked(self, place: StatusPlace) -> bool | None:
        """Say whether a credential is revoked, None for one that was never issued."""
        query = select(CredentialStatusRow.revoked).where(_at(place))
        # SQLite's single write lock is held already and its compiler leaves FOR UPDATE out.
        return self._session.scalar(query.with_for_update() if self._lock else query)

    def revoke(self, place: StatusPlace) -> None:
        """Revoke a credential for good."""
        self._session.execute(update(CredentialStatusRow).where(_at(place)).values(revoked=True))

    def all_revoked(self, epoch: int) -> list[int]:
        """Return the revoked places of a list, in order."""
        query = select(CredentialStatusRow.index).where(
            CredentialStatusRow.epoch == epoch, CredentialStatusRow.revoked.is_(True)
        )
        return list(self._session.scalars(query.order_by(CredentialStatusRow.index)))

    def expired(self, epoch: int, limit: int) -> list[tuple[StatusPlace, bool]]:
        """Return up to `limit` places of lists up to `epoch`, oldest first, each with whether it is revoked."""
        query = select(CredentialStatusRow).where(CredentialStatusRow.epoch <= epoch)
        query = query.order_by(CredentialStatusRow.epoch, CredentialStatusRow.index).limit(limit)
        rows = self._session.scalars(query.with_for_update(skip_locked=True) if self._lock else query)
        return [(StatusPlace(row.epoch, row.index), row.revoked) for row in rows]

    def delete(self, place: StatusPlace) -> bool:
        """Give a place up; say whether it was taken."""
        statement = delete(CredentialStatusRow).where(_at(place)).returning(CredentialStatusRow.index)
        return self._session.execute(statement).first() is not None


def _at(place: StatusPlace) -> ColumnElement[bool]:
    return (CredentialStatusRow.epoch == place.epoch) & (CredentialStatusRow.index == place.index)
