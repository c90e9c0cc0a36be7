"""Who is signed in at a page: sessions known by a random cookie of which only a hash is kept.

A session belongs to a caller's key, or to the holder of a travel token. The server must not be able to read a token at
rest, so it is sealed under the cookie, which only the browser has:

    lookup        SHA-256("dwarpal/web-session/v1/lookup" | cookie)
    sealed_token  nonce 12 | AES-256-GCM(key; token, AAD = lookup),
                  key = HKDF-SHA256(cookie, info = "dwarpal/web-session/v1/token")
    csrf          HMAC-SHA256(cookie, "dwarpal/web-session/v1/csrf"), told to the page and never kept

Signing in always makes a new cookie, so a session that somebody prepared is never the one that is signed in.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import os
import secrets
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from sqlalchemy import delete, update
from sqlalchemy.orm import Session

from biometrics.errors import NotAuthenticated
from biometrics.records import TravelToken
from infra.api_keys import ApiKey, Role, active_key
from infra.database.tables import WebSessionRow
from infra.keys.derived import derived

_LABEL: Final = b"dwarpal/web-session/v1/"
_NONCE: Final = 12
_COOKIE_BYTES: Final = 32


@dataclass(frozen=True, slots=True)
class Lifetime:
    """How long a session lives unused, and at most."""

    idle: timedelta
    longest: timedelta


HOLDER: Final = Lifetime(timedelta(minutes=10), timedelta(hours=1))
STAFF: Final = Lifetime(timedelta(minutes=15), timedelta(hours=12))
GATE: Final = Lifetime(timedelta(hours=24), timedelta(days=30))
"""A gate's screen stands behind the gate's own locks, and nobody signs it in every morning."""

RENEWED_BY_TENTH: Final = 10
"""A use moves the end once a tenth of the idle time has passed, so that reading a page seldom writes."""


@dataclass(frozen=True, slots=True)
class WebSession:
    """A session in force: of a key, or of the holder of a travel token; `csrf` is what its page must send along."""

    key: ApiKey | None
    token: TravelToken | None = field(repr=False)
    csrf: str = field(repr=False)
    stale: bool
    """Whether this use should be written down: see `renew`."""


def lifetime_of(role: Role | None) -> Lifetime:
    """Return how long a session of this role lives; None is a traveller."""
    return HOLDER if role is None else GATE if role is Role.GATE else STAFF


class WebSessions:
    """Sessions in the transaction of a database session."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def open(self, holder: ApiKey | TravelToken, now: datetime) -> str:
        """Sign in and return the cookie, 256 random bits in base64url."""
        secret = secrets.token_bytes(_COOKIE_BYTES)
        lookup = _lookup(secret)
        life = lifetime_of(None if isinstance(holder, TravelToken) else holder.role)
        sealed = None
        if isinstance(holder, TravelToken):
            nonce = os.urandom(_NONCE)
            with _sealing(secret) as key:
                sealed = nonce + AESGCM(key).encrypt(nonce, holder.text.encode(), lookup)
        self._session.add(
            WebSessionRow(
                lookup=lookup,
                key_id=None if isinstance(holder, TravelToken) else holder.id,
                sealed_token=sealed,
                expires_at=now + life.idle,
                ends_at=now + life.longest,
            )
        )
        self._session.flush()
        return base64.urlsafe_b64encode(secret).rstrip(b"=").decode()

    def find(self, cookie: str, now: datetime) -> WebSession:
        """Return the session in force; raise `NotAuthenticated` if there is none, it is over, or its key is revoked."""
        secret = _secret(cookie)
        row = self._session.get(WebSessionRow, _lookup(secret), populate_existing=True)
        if row is None or row.expires_at <= now or row.ends_at <= now:
            raise NotAuthenticated("You are not signed in, or were idle for too long.", code="signed_out")
        key = None if row.key_id is None else active_key(self._session, row.key_id)
        token = None if row.sealed_token is None else _unseal(secret, row.sealed_token)
        life = lifetime_of(key.role if key else None)
        renewed = min(now + life.idle, row.ends_at)
        return WebSession(key, token, csrf_of(cookie), renewed - row.expires_at > life.idle / RENEWED_BY_TENTH)

    def renew(self, cookie: str, session: WebSession, now: datetime) -> None:
        """Write down that a session was used."""
        lookup = _lookup(_secret(cookie))
        row = self._session.get(WebSessionRow, lookup, populate_existing=True)
        if row is not None and row.expires_at > now:
            idle = lifetime_of(session.key.role if session.key else None).idle
            end = min(now + idle, row.ends_at)
            self._session.execute(update(WebSessionRow).where(WebSessionRow.lookup == lookup).values(expires_at=end))

    def close(self, cookie: str) -> None:
        """Sign out; a cookie that is none, or of no session, changes nothing."""
        try:
            lookup = _lookup(_secret(cookie))
        except NotAuthenticated:
            return
        self._session.execute(delete(WebSessionRow).where(WebSessionRow.lookup == lookup))

    def forget_before(self, now: datetime) -> None:
        """Delete the sessions that are over."""
        self._session.execute(delete(WebSessionRow).where(WebSessionRow.expires_at <= now))


def csrf_of(cookie: str) -> str:
    """Return what the page of this session must send with everything that changes something."""
    return hmac.digest(_secret(cookie), _LABEL + b"csrf", "sha256").hex()


def _secret(cookie: str) -> bytes:
    try:
        secret = base64.b64decode(cookie + "=" * (-len(cookie) % 4), altchars=b"-_", validate=True)
    except ValueError:
        secret = b""
    if len(secret) != _COOKIE_BYTES:
        raise NotAuthenticated("You are not signed in, or were idle for too long.", code="signed_out")
    return secret


def _lookup(secret: bytes) -> bytes:
    return hashlib.sha256(_LABEL + b"lookup" + secret).digest()


def _sealing(secret: bytes) -> AbstractContextManager[bytearray]:
    return derived(secret, salt=None, info=_LABEL + b"token")


def _unseal(secret: bytes, sealed: bytes) -> TravelToken:
    try:
        with _sealing(secret) as key:
            text = AESGCM(key).decrypt(sealed[:_NONCE], sealed[_NONCE:], _lookup(secret))
    except (InvalidTag, ValueError):
        raise NotAuthenticated("You are not signed in, or were idle for too long.", code="signed_out") from None
    return TravelToken.parse(text.decode("ascii"))
