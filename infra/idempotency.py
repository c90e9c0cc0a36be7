"""Answers to requests that may be repeated, kept so that only the one who repeats a request can read its answer.

An answer may hold a travel token, whose key share this server must never be able to read at rest. So an answer is
sealed under a key that needs both the caller's Idempotency-Key, which is not kept, and an epoch key, which is
destroyed:

    key      HKDF-SHA256(epoch key, salt = SHA-256(Idempotency-Key), info = "dwarpal/idempotency/v1/seal" | scope)
    sealed   nonce 12 | AES-256-GCM(key; answer, AAD = lookup | body_mac | status | expires_at) | tag 16
    lookup   HMAC-SHA256(Idempotency-Key, "dwarpal/idempotency/v1/lookup" | scope)
    body_mac HMAC-SHA256(Idempotency-Key, "dwarpal/idempotency/v1/body" | scope | SHA-256 of the body)

Whoever has the database and the epoch keys can still try Idempotency-Keys one by one: clients use random ones (a UUID).
"""

from __future__ import annotations

import hashlib
import hmac
import os
import re
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from sqlalchemy import delete, select, text
from sqlalchemy.orm import Session

from biometrics.errors import Conflict, MalformedInput, SealBroken
from biometrics.records import epoch_of
from infra.database.insert_once import insert_once
from infra.database.tables import IdempotencyRow
from infra.keys.derived import derived
from infra.keys.store import KeyStore

LIFETIME = timedelta(hours=24)
"""How long an answer is kept."""

_KEY = re.compile(r"[A-Za-z0-9_-]{16,128}", re.ASCII)
_LABEL = b"dwarpal/idempotency/v1/"
_NONCE = 12


@dataclass(frozen=True, slots=True)
class StoredResponse:
    """An answer given before: HTTP status and body."""

    status: int
    body: bytes = field(repr=False)


class IdempotencyStore:
    """Sealed answers in the transaction of a session.

    `scope` names the caller's key and the route: the same Idempotency-Key elsewhere is another one. `body_digest` is
    the SHA-256 of the request's body. Call `find` before the work and `save` in the transaction that does
    it: then the work is done once, whoever else sends the same request meanwhile.
    """

    def __init__(self, session: Session, keys: KeyStore) -> None:
        self._session = session
        self._keys = keys

    def find(self, scope: str, key: str, body_digest: bytes, now: datetime) -> StoredResponse | None:
        """Return the answer to an earlier request, or None if there was none in the last 24 hours.

        Raises `MalformedInput` for a key of the wrong form, and `Conflict` with code `idempotency_mismatch` if the
        earlier request had another body or `in_progress` if it is being worked on at this moment.
        """
        names = _Names.of(scope, key, body_digest)
        self._claim(names.lookup)
        query = select(IdempotencyRow).where(IdempotencyRow.lookup == names.lookup, IdempotencyRow.expires_at > now)
        row = self._session.scalars(query, execution_options={"populate_existing": True}).one_or_none()
        if row is None:
            return None
        if not hmac.compare_digest(row.body_mac, names.body_mac):
            raise Conflict("This Idempotency-Key was used for another request.", code="idempotency_mismatch")
        epoch_key = self._keys.epoch_key(row.epoch)
        bound = names.bind(row.status, row.expires_at)
        try:
            with names.sealing_key(epoch_key) as sealing_key:
                body = AESGCM(sealing_key).decrypt(row.sealed[:_NONCE], row.sealed[_NONCE:], bound)
        except (InvalidTag, ValueError):
            raise SealBroken("A stored answer does not open.") from None
        return StoredResponse(row.status, body)

    def save(self, scope: str, key: str, body_digest: bytes, status: int, response: bytes, now: datetime) -> None:
        """Keep an answer for 24 hours; raise `Conflict` with code `in_progress` if a request beside this one did."""
        names = _Names.of(scope, key, body_digest)
        expires_at = now + LIFETIME
        epoch = epoch_of(expires_at)
        nonce = os.urandom(_NONCE)
        with names.sealing_key(self._keys.epoch_key(epoch, create=True)) as sealing_key:
            sealed = nonce + AESGCM(sealing_key).encrypt(nonce, response, names.bind(status, expires_at))
        stale = (IdempotencyRow.lookup == names.lookup) & (IdempotencyRow.expires_at <= now)
        self._session.execute(delete(IdempotencyRow).where(stale))
        values = {
            "lookup": names.lookup,
            "body_mac": names.body_mac,
            "epoch": epoch,
            "status": status,
            "sealed": sealed,
            "expires_at": expires_at,
        }
        if not insert_once(self._session, IdempotencyRow, values):
            raise Conflict("The same request is being worked on.", code="in_progress")

    def forget_before(self, now: datetime) -> int:
        """Delete the answers whose time is over; return how many."""
        statement = delete(IdempotencyRow).where(IdempotencyRow.expires_at <= now).returning(IdempotencyRow.epoch)
        return len(self._session.execute(statement).all())

    def _claim(self, lookup: bytes) -> None:
        """Let one transaction at a time work on a lookup; SQLite's write lock does so already."""
        if self._session.get_bind().dialect.name != "postgresql":
            return
        number = int.from_bytes(lookup[:8], "big", signed=True)
        if not self._session.scalar(text("SELECT pg_try_advisory_xact_lock(:number)"), {"number": number}):
            raise Conflict("The same request is being worked on.", code="in_progress")


@dataclass(frozen=True, slots=True, repr=False)
class _Names:
    """What is derived from an Idempotency-Key."""

    salt: bytes
    scope: bytes
    lookup: bytes
    body_mac: bytes

    @classmethod
    def of(cls, scope: str, key: str, body_digest: bytes) -> _Names:
        if not _KEY.fullmatch(key):
            raise MalformedInput(
                "An Idempotency-Key has 16 to 128 characters of A-Z, a-z, 0-9, _ and -.",
                code="malformed_idempotency_key",
            )
        if len(body_digest) != 32:
            raise ValueError("a body digest is 32 bytes")
        secret, where = key.encode(), scope.encode()
        framed = len(where).to_bytes(4, "big") + where
        return cls(
            salt=hashlib.sha256(secret).digest(),
            scope=where,
            lookup=hmac.digest(secret, _LABEL + b"lookup" + framed, "sha256"),
            body_mac=hmac.digest(secret, _LABEL + b"body" + framed + body_digest, "sha256"),
        )

    def sealing_key(self, epoch_key: bytes) -> AbstractContextManager[bytearray]:
        return derived(epoch_key, salt=self.salt, info=_LABEL + b"seal" + self.scope)

    def bind(self, status: int, expires_at: datetime) -> bytes:
        return self.lookup + self.body_mac + f"{status}|{expires_at.isoformat()}".encode()
