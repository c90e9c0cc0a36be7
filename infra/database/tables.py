"""The tables that hold travellers, gates, nonces, keys of callers and answers to repeated requests.

The log's tables stand in `infra/audit/tables.py`. Times are whole microseconds since 1970 (`UtcTime`). Invariant 2 of
the design, a template never outlives its purpose, is a constraint here and not only a habit of the code.
"""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import BigInteger, CheckConstraint, Index, LargeBinary, SmallInteger, String, false
from sqlalchemy.orm import Mapped, mapped_column

from biometrics.records import RETENTION, LivenessPolicy
from infra.database.base import Base, UtcTime

RETENTION_MICROSECONDS = int(RETENTION.total_seconds()) * 1_000_000

# `departs_at IS NOT NULL` matters: without it the comparison with NULL is unknown, and an unknown check passes.
_RETENTION_RULE = (
    f"expires_at <= enrolled_at + {RETENTION_MICROSECONDS}"
    f" OR (departs_at IS NOT NULL AND expires_at <= departs_at + {RETENTION_MICROSECONDS})"
)


class EnrollmentRow(Base):
    """One traveller's enrollment; `purposes` are the consented ones, sorted, separated by commas."""

    __tablename__ = "enrollment"
    __table_args__ = (
        CheckConstraint(_RETENTION_RULE, name="retention"),
        CheckConstraint("expires_at >= enrolled_at", name="expires_after_enrollment"),
        CheckConstraint("walk_through OR for_gallery IS NULL", name="gallery_key_needs_consent"),
        Index("ix_enrollment_gallery", "walk_through", "departs_at"),
    )

    id: Mapped[str] = mapped_column(String(32), primary_key=True)
    flight: Mapped[str] = mapped_column(String(100))
    enrolled_at: Mapped[datetime] = mapped_column(UtcTime)
    departs_at: Mapped[datetime | None] = mapped_column(UtcTime)
    expires_at: Mapped[datetime] = mapped_column(UtcTime, index=True)
    purposes: Mapped[str] = mapped_column(String(200))
    walk_through: Mapped[bool]
    notice_version: Mapped[str] = mapped_column(String(100))
    notice_sha256: Mapped[str] = mapped_column(String(64))
    language: Mapped[str] = mapped_column(String(35))
    consent_given_at: Mapped[datetime] = mapped_column(UtcTime)
    model_digest: Mapped[str] = mapped_column(String(64))
    envelope: Mapped[bytes] = mapped_column(LargeBinary)
    for_holder: Mapped[bytes] = mapped_column(LargeBinary)
    for_gallery: Mapped[bytes | None] = mapped_column(LargeBinary)
    holder_verifier: Mapped[bytes] = mapped_column(LargeBinary(32))
    duplicate_suspected: Mapped[bool]
    failed_checks: Mapped[int]
    locked_until: Mapped[datetime | None] = mapped_column(UtcTime)


class GateRow(Base):
    """A place where a face is checked, for one purpose."""

    __tablename__ = "gate"

    id: Mapped[str] = mapped_column(String(100), primary_key=True)
    purpose: Mapped[str] = mapped_column(String(32))
    walk_through: Mapped[bool]
    liveness: Mapped[str] = mapped_column(String(32), server_default=LivenessPolicy.PASSIVE.value)
    signed_captures: Mapped[bool] = mapped_column(server_default=false())


class DeviceKeyRow(Base):
    """The public half of a key with which a gate's device signs captures; the primary key lets no key serve twice."""

    __tablename__ = "device_key"

    id: Mapped[str] = mapped_column(String(32), primary_key=True)
    gate_id: Mapped[str] = mapped_column(String(100), index=True)
    public: Mapped[bytes] = mapped_column(LargeBinary(32))
    created_at: Mapped[datetime] = mapped_column(UtcTime)
    revoked_at: Mapped[datetime | None] = mapped_column(UtcTime)


class NonceRow(Base):
    """A capture that a gate has sent; the primary key is what stops a second one, also at the same moment."""

    __tablename__ = "nonce"

    gate_id: Mapped[str] = mapped_column(String(100), primary_key=True)
    nonce: Mapped[str] = mapped_column(String(200), primary_key=True)
    at: Mapped[datetime] = mapped_column(UtcTime, index=True)


class LivenessSessionRow(Base):
    """A liveness session: when, whose, and what became of it; see `LivenessSession`."""

    __tablename__ = "liveness_session"
    __table_args__ = (Index("ix_liveness_session_owner", "owner", "created_at"),)

    id: Mapped[str] = mapped_column(String(32), primary_key=True)
    owner: Mapped[str] = mapped_column(String(110))
    gate_id: Mapped[str | None] = mapped_column(String(100))
    status: Mapped[str] = mapped_column(String(16))
    created_at: Mapped[datetime] = mapped_column(UtcTime)
    expires_at: Mapped[datetime] = mapped_column(UtcTime, index=True)
    failures: Mapped[int]
    ended_at: Mapped[datetime | None] = mapped_column(UtcTime)
    reason: Mapped[str | None] = mapped_column(String(32))
    redeemed_at: Mapped[datetime | None] = mapped_column(UtcTime)


class RightsRequestRow(Base):
    """What a traveller asked for; `text` and `answer` are sealed, see `infra/keys/text_sealing.py`."""

    __tablename__ = "rights_request"
    __table_args__ = (
        CheckConstraint("(closed_at IS NULL) = (erase_at IS NULL)", name="closed_is_erased"),
        CheckConstraint("(state IN ('done', 'refused')) = (closed_at IS NOT NULL)", name="state_is_closed"),
        Index("ix_rights_request_open", "closed_at", "due_at"),
    )

    id: Mapped[str] = mapped_column(String(32), primary_key=True)
    kind: Mapped[str] = mapped_column(String(16))
    state: Mapped[str] = mapped_column(String(16))
    received_at: Mapped[datetime] = mapped_column(UtcTime)
    due_at: Mapped[datetime] = mapped_column(UtcTime)
    epoch: Mapped[int] = mapped_column(BigInteger)
    text: Mapped[bytes | None] = mapped_column(LargeBinary)
    answer: Mapped[bytes | None] = mapped_column(LargeBinary)
    enrollment_id: Mapped[str | None] = mapped_column(String(32), index=True)
    holder_verifier: Mapped[bytes | None] = mapped_column(LargeBinary(32))
    closed_at: Mapped[datetime | None] = mapped_column(UtcTime)
    erase_at: Mapped[datetime | None] = mapped_column(UtcTime, index=True)


class CredentialStatusRow(Base):
    """One taken place of an hour's status list; without a row id, which would tell the order of issue."""

    __tablename__ = "credential_status"
    __table_args__ = {"sqlite_with_rowid": False}  # noqa: RUF012 - what SQLAlchemy asks for

    epoch: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    index: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    revoked: Mapped[bool]


class ApiKeyRow(Base):
    """A caller's key: only the SHA-256 of its secret is kept. A gate's key names its gate, and no other key does."""

    __tablename__ = "api_key"
    __table_args__ = (CheckConstraint("(role = 'gate') = (gate_id IS NOT NULL)", name="gate_key_has_gate"),)

    id: Mapped[str] = mapped_column(String(32), primary_key=True)
    role: Mapped[str] = mapped_column(String(32))
    gate_id: Mapped[str | None] = mapped_column(String(100), index=True)
    secret_sha256: Mapped[bytes] = mapped_column(LargeBinary(32))
    created_at: Mapped[datetime] = mapped_column(UtcTime)
    revoked_at: Mapped[datetime | None] = mapped_column(UtcTime)


class IdempotencyRow(Base):
    """A sealed answer to a request that may be repeated; see `infra/idempotency.py` for what each field is."""

    __tablename__ = "idempotency"

    lookup: Mapped[bytes] = mapped_column(LargeBinary(32), primary_key=True)
    body_mac: Mapped[bytes] = mapped_column(LargeBinary(32))
    epoch: Mapped[int] = mapped_column(BigInteger)
    status: Mapped[int] = mapped_column(SmallInteger)
    sealed: Mapped[bytes] = mapped_column(LargeBinary)
    expires_at: Mapped[datetime] = mapped_column(UtcTime, index=True)


class WebSessionRow(Base):
    """Somebody signed in at a page; see `infra/web_sessions.py` for what each field is."""

    __tablename__ = "web_session"
    __table_args__ = (CheckConstraint("(key_id IS NULL) = (sealed_token IS NOT NULL)", name="key_or_token"),)

    lookup: Mapped[bytes] = mapped_column(LargeBinary(32), primary_key=True)
    key_id: Mapped[str | None] = mapped_column(String(32))
    sealed_token: Mapped[bytes | None] = mapped_column(LargeBinary)
    expires_at: Mapped[datetime] = mapped_column(UtcTime, index=True)
    ends_at: Mapped[datetime] = mapped_column(UtcTime)
