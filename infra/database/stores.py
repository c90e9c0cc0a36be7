"""Enrollments, gates and nonces: rows on one side, the domain's records on the other."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, delete, exists, insert, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from biometrics.errors import Conflict, NotFound
from biometrics.records import (
    Consent,
    DeviceKey,
    EnrollmentRecord,
    Gate,
    LivenessPolicy,
    Purpose,
    SealedTemplate,
    TravelToken,
    latest_expiry,
)
from infra.database.insert_once import insert_once
from infra.database.tables import DeviceKeyRow, EnrollmentRow, GateRow, NonceRow

_BATCH = 100


class SqlEnrollmentStore:
    """Enrollments; with `lock` a row that is read stays locked until the transaction ends."""

    def __init__(self, session: Session, *, lock: bool) -> None:
        self._session = session
        self._lock = lock

    def add(self, record: EnrollmentRecord) -> None:
        """Add a new enrollment; raise `Conflict` if the id is taken or it would be kept too long."""
        _refuse_overlong(record)
        try:
            inserted = insert_once(self._session, EnrollmentRow, _values(record))
        except IntegrityError:
            raise Conflict("The enrollment breaks a rule of the database.", code="constraint") from None
        if not inserted:
            raise Conflict("This enrollment exists already.")

    def get(self, enrollment_id: str, now: datetime) -> EnrollmentRecord | None:
        """Return the enrollment if it exists and `expires_at > now`."""
        return self._one(EnrollmentRow.id == enrollment_id, EnrollmentRow.expires_at > now)

    def held(self, token: TravelToken, now: datetime) -> EnrollmentRecord | None:
        """Return the enrollment as `get` does, if this is its token.

        The database compares: a row that is read takes time that a caller could tell from none. A comparison that ends
        at the first wrong byte tells of the verifier only, which opens nothing.
        """
        holder = EnrollmentRow.holder_verifier == token.verifier
        record = self._one(EnrollmentRow.id == token.enrollment_id, EnrollmentRow.expires_at > now, holder)
        return record if record is not None and token.opens(record) else None

    def _one(self, *conditions: ColumnElement[bool]) -> EnrollmentRecord | None:
        query = select(EnrollmentRow).where(*conditions)
        # SQLite's single write lock is held already and its compiler leaves FOR UPDATE out.
        row = self._session.scalars(
            query.with_for_update() if self._lock else query, execution_options={"populate_existing": True}
        ).one_or_none()
        return None if row is None else _record(row)

    def replace(self, record: EnrollmentRecord) -> None:
        """Overwrite the enrollment of the same id; raise `NotFound` if there is none, `Conflict` if kept too long."""
        _refuse_overlong(record)
        statement = update(EnrollmentRow).where(EnrollmentRow.id == record.id).values(**_values(record))
        try:
            changed = self._session.execute(statement.returning(EnrollmentRow.id)).first()
        except IntegrityError:
            raise Conflict("The enrollment breaks a rule of the database.", code="constraint") from None
        if changed is None:
            raise NotFound

    def delete(self, enrollment_id: str) -> bool:
        """Delete the row; say whether there was one."""
        statement = delete(EnrollmentRow).where(EnrollmentRow.id == enrollment_id).returning(EnrollmentRow.id)
        return self._session.execute(statement).first() is not None

    def delete_many(self, enrollment_ids: Collection[str]) -> set[str]:
        """Delete rows in one statement; return the ids of those that there were."""
        statement = delete(EnrollmentRow).where(EnrollmentRow.id.in_(enrollment_ids)).returning(EnrollmentRow.id)
        return set(self._session.scalars(statement, execution_options={"synchronize_session": False}))

    def expired(self, now: datetime, limit: int) -> list[EnrollmentRecord]:
        """Return up to `limit` enrollments with `expires_at <= now`, oldest first."""
        query = select(EnrollmentRow).where(EnrollmentRow.expires_at <= now)
        query = query.order_by(EnrollmentRow.expires_at, EnrollmentRow.id).limit(limit)
        # Two purgers share the work instead of waiting for each other.
        rows = self._session.scalars(query.with_for_update(skip_locked=True) if self._lock else query)
        return [_record(row) for row in rows]

    def walk_through(self, now: datetime, window: timedelta) -> Iterator[EnrollmentRecord]:
        """Yield unexpired enrollments with a gallery key whose departure is not past and at most `window` away."""
        query = select(EnrollmentRow).where(
            EnrollmentRow.walk_through,
            EnrollmentRow.for_gallery.is_not(None),
            EnrollmentRow.departs_at >= now,
            EnrollmentRow.departs_at <= now + window,
            EnrollmentRow.expires_at > now,
        )
        for row in self._session.scalars(query.order_by(EnrollmentRow.departs_at).execution_options(yield_per=_BATCH)):
            yield _record(row)


class SqlGateStore:
    """Gates."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def add(self, gate: Gate) -> None:
        """Add a gate; raise `Conflict` if the id is taken."""
        if not insert_once(self._session, GateRow, _gate_values(gate)):
            raise Conflict("There is a gate of this name already.", code="gate_exists")

    def get(self, gate_id: str) -> Gate | None:
        """Return a gate or None."""
        row = self._session.get(GateRow, gate_id, populate_existing=True)
        return None if row is None else _gate(row)

    def replace(self, gate: Gate) -> None:
        """Overwrite the gate of the same id; raise `NotFound` if there is none."""
        statement = update(GateRow).where(GateRow.id == gate.id).values(**_gate_values(gate))
        if self._session.execute(statement.returning(GateRow.id)).first() is None:
            raise NotFound

    def all(self) -> Sequence[Gate]:
        """Return all gates, by id."""
        return [_gate(row) for row in self._session.scalars(select(GateRow).order_by(GateRow.id))]


class SqlDeviceKeyStore:
    """The keys with which gates sign their captures."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def add(self, key: DeviceKey) -> None:
        """Add a key; raise `Conflict` if it was ever registered, at this gate or another."""
        values = {"id": key.id, "gate_id": key.gate_id, "public": key.public, "created_at": key.created_at}
        if not insert_once(self._session, DeviceKeyRow, values | {"revoked_at": key.revoked_at}):
            raise Conflict("This key is or was registered already: make a new one.", code="device_key_exists")

    def get(self, gate_id: str, key_id: str) -> DeviceKey | None:
        """Return a gate's key, also a revoked one; another gate's key is not found."""
        row = self._session.get(DeviceKeyRow, key_id, populate_existing=True)
        return None if row is None or row.gate_id != gate_id else _device_key(row)

    def all(self, gate_id: str) -> Sequence[DeviceKey]:
        """Return a gate's keys, also revoked ones, oldest first."""
        query = select(DeviceKeyRow).where(DeviceKeyRow.gate_id == gate_id)
        return [_device_key(row) for row in self._session.scalars(query.order_by(DeviceKeyRow.created_at))]

    def revoke(self, key: DeviceKey, at: datetime) -> None:
        """Revoke a key from `at` on, which leaves an earlier revocation as it was."""
        unrevoked = (DeviceKeyRow.id == key.id) & DeviceKeyRow.revoked_at.is_(None)
        self._session.execute(update(DeviceKeyRow).where(unrevoked).values(revoked_at=at))


class SqlNonceStore:
    """Which captures a gate has already sent."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def seen(self, gate_id: str, nonce: str) -> bool:
        """Say whether the gate used this nonce before."""
        match = exists().where(NonceRow.gate_id == gate_id, NonceRow.nonce == nonce)
        return bool(self._session.scalar(select(match)))

    def add(self, gate_id: str, nonce: str, at: datetime) -> None:
        """Record a nonce; raise `Conflict` (code `replayed`) if it was used, also by a request running beside this."""
        if not insert_once(self._session, NonceRow, {"gate_id": gate_id, "nonce": nonce, "at": at}):
            raise Conflict("This capture was sent before.", code="replayed")

    def forget_before(self, at: datetime) -> int:
        """Delete nonces older than `at`; return how many."""
        statement = delete(NonceRow).where(NonceRow.at < at).returning(NonceRow.nonce)
        return len(self._session.execute(statement).all())


def add_many(session: Session, records: Sequence[EnrollmentRecord]) -> None:
    """Add new enrollments in one statement; raise `Conflict` if one would be kept too long."""
    for record in records:
        _refuse_overlong(record)
    session.execute(insert(EnrollmentRow), [_values(record) for record in records])


def _refuse_overlong(record: EnrollmentRecord) -> None:
    # The table's constraint says the same. Saying it here keeps the row out of the database's own error and log.
    if record.expires_at > latest_expiry(record.enrolled_at, record.departs_at):
        raise Conflict("A template may not be kept this long.", code="retention_exceeded")


def _values(record: EnrollmentRecord) -> dict[str, object]:
    consent, sealed = record.consent, record.sealed
    return {
        "id": record.id,
        "flight": record.flight,
        "enrolled_at": record.enrolled_at,
        "departs_at": record.departs_at,
        "expires_at": record.expires_at,
        "purposes": ",".join(sorted(consent.purposes)),
        "walk_through": Purpose.WALK_THROUGH in consent.purposes,
        "notice_version": consent.notice_version,
        "notice_sha256": consent.notice_sha256,
        "language": consent.language,
        "consent_given_at": consent.given_at,
        "model_digest": record.model_digest,
        "envelope": sealed.envelope,
        "for_holder": sealed.for_holder,
        "for_gallery": sealed.for_gallery,
        "holder_verifier": record.holder_verifier,
        "duplicate_suspected": record.duplicate_suspected,
        "failed_checks": record.failed_checks,
        "locked_until": record.locked_until,
    }


def _record(row: EnrollmentRow) -> EnrollmentRecord:
    return EnrollmentRecord(
        id=row.id,
        flight=row.flight,
        enrolled_at=row.enrolled_at,
        departs_at=row.departs_at,
        expires_at=row.expires_at,
        consent=Consent(
            purposes=frozenset(Purpose(name) for name in row.purposes.split(",") if name),
            notice_version=row.notice_version,
            notice_sha256=row.notice_sha256,
            language=row.language,
            given_at=row.consent_given_at,
        ),
        model_digest=row.model_digest,
        sealed=SealedTemplate(row.envelope, row.for_holder, row.for_gallery),
        holder_verifier=row.holder_verifier,
        duplicate_suspected=row.duplicate_suspected,
        failed_checks=row.failed_checks,
        locked_until=row.locked_until,
    )


def _gate(row: GateRow) -> Gate:
    return Gate(row.id, Purpose(row.purpose), row.walk_through, LivenessPolicy(row.liveness), row.signed_captures)


def _gate_values(gate: Gate) -> dict[str, object]:
    return {
        "id": gate.id,
        "purpose": gate.purpose.value,
        "walk_through": gate.walk_through,
        "liveness": gate.liveness.value,
        "signed_captures": gate.signed_captures,
    }


def _device_key(row: DeviceKeyRow) -> DeviceKey:
    return DeviceKey(row.id, row.gate_id, row.public, row.created_at, row.revoked_at)
