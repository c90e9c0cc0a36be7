"""The keys of callers: random, shown once, kept as a hash, each with one role."""

from __future__ import annotations

import hashlib
import re
import secrets
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from biometrics.errors import MalformedInput, NotAuthenticated, NotFound
from biometrics.records import new_id
from infra.database.tables import ApiKeyRow

PREFIX = "dwk"
SECRET_BYTES = 32

_TEXT = re.compile(rf"{PREFIX}_([0-9a-f]{{32}})_([A-Za-z0-9_-]{{43}})", re.ASCII)


class Role(StrEnum):
    """What a caller may do."""

    ENROLLER = "enroller"
    GATE = "gate"
    AUDITOR = "auditor"
    OFFICER = "officer"
    ADMIN = "admin"


@dataclass(frozen=True, slots=True)
class ApiKey:
    """A caller's key without its secret; `gate_id` is set for the role `gate` and for no other."""

    id: str
    role: Role
    gate_id: str | None
    created_at: datetime
    revoked_at: datetime | None


def create_key(session: Session, role: Role, gate_id: str | None, now: datetime) -> tuple[str, str]:
    """Add a key and return its id and its text, `dwk_<id>_<secret>`, which can never be shown again.

    Raises `MalformedInput` if a gate's key names no gate or another key names one.
    """
    if (role is Role.GATE) != (gate_id is not None):
        raise MalformedInput("A key of the role gate, and no other, names a gate.", code="gate_key_needs_gate")
    identifier, secret = new_id(), secrets.token_urlsafe(SECRET_BYTES)
    row = ApiKeyRow(
        id=identifier,
        role=role.value,
        gate_id=gate_id,
        secret_sha256=_digest(secret),
        created_at=now,
        revoked_at=None,
    )
    session.add(row)
    session.flush()
    return identifier, f"{PREFIX}_{identifier}_{secret}"


def authenticate(session: Session, text: str) -> ApiKey:
    """Return the key whose text this is; raise `NotAuthenticated` for every other text, without saying why.

    A fast hash suffices: the secret has 256 random bits. The database compares id and hash at once, for reading a row
    takes time: a known id with a wrong secret would differ from an unknown one. A comparison that ends at the first
    wrong byte tells of the hash only, which opens nothing.
    """
    match = _TEXT.fullmatch(text)
    identifier, secret = match.groups() if match else ("", "")
    query = select(ApiKeyRow).where(ApiKeyRow.id == identifier, ApiKeyRow.secret_sha256 == _digest(secret))
    row = session.scalars(query, execution_options={"populate_existing": True}).one_or_none()
    if row is None or row.revoked_at is not None:
        raise NotAuthenticated("The key is missing, unknown or revoked.")
    return _key(row)


def active_key(session: Session, key_id: str) -> ApiKey:
    """Return a key that is in force by its id; raise `NotAuthenticated` if it is unknown or revoked."""
    row = session.get(ApiKeyRow, key_id, populate_existing=True)
    if row is None or row.revoked_at is not None:
        raise NotAuthenticated("The key is missing, unknown or revoked.")
    return _key(row)


def revoke_key(session: Session, key_id: str, now: datetime) -> ApiKey:
    """Revoke a key from this moment on, which leaves an earlier revocation as it was; raise `NotFound` if unknown."""
    unrevoked = (ApiKeyRow.id == key_id) & ApiKeyRow.revoked_at.is_(None)
    session.execute(update(ApiKeyRow).where(unrevoked).values(revoked_at=now))
    row = session.get(ApiKeyRow, key_id, populate_existing=True)
    if row is None:
        raise NotFound
    return _key(row)


def list_keys(session: Session) -> list[ApiKey]:
    """Return all keys, also revoked ones, oldest first."""
    return [_key(row) for row in session.scalars(select(ApiKeyRow).order_by(ApiKeyRow.created_at, ApiKeyRow.id))]


def _digest(secret: str) -> bytes:
    return hashlib.sha256(secret.encode()).digest()


def _key(row: ApiKeyRow) -> ApiKey:
    return ApiKey(row.id, Role(row.role), row.gate_id, row.created_at, row.revoked_at)
