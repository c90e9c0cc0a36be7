"""Which key signs for a log: the key store's, or the one that the log itself says has taken its place."""

from __future__ import annotations

from datetime import datetime

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from sqlalchemy import select
from sqlalchemy.orm import Session

from biometrics.errors import Conflict, LogInconsistent
from biometrics.records import EventKind, KeyRotation
from infra.audit.checkpoint import sign_checkpoint
from infra.audit.rotation import hex_of, keys_in, rotation_between, sign_by_both
from infra.audit.tables import AuditCheckpoint, AuditEntry
from infra.database.insert_once import insert_once
from infra.keys.store import KeyStore


class LogSigner:
    """Signs the checkpoints of one log; it never commits."""

    def __init__(self, session: Session, keys: KeyStore, site: str) -> None:
        self._session = session
        self._keys = keys
        self._site = site

    def key(self) -> Ed25519PrivateKey:
        """Return the key in force: a prepared one from the moment when its rotation stands in the log.

        What the key store holds may lag behind, by the moment between commit and promotion or by a crash. Whoever
        signs a size of the log reads that size first: then a former key never signs what lies beyond its rotation.
        """
        prepared = self._keys.prepared_signing_key()
        if prepared is not None and self.time_of(prepared) is not None:
            return prepared
        return self._keys.signing_key()

    def time_of(self, key: Ed25519PrivateKey) -> datetime | None:
        """Return when the log changed to a key; None if it never did."""
        new = hex_of(key.public_key())
        return next((time for _, time, keys in self._rotations() if keys.new_key == new), None)

    def sign(self, size: int, root: bytes) -> str:
        """Return the checkpoint of a size; at the size of a rotation, the one that vouches for the new key."""
        last = select(AuditEntry.event).where(AuditEntry.index == size - 1)
        if self._session.execute(last).scalar_one_or_none() == EventKind.SIGNING_KEY_ROTATED.value:
            kept = select(AuditCheckpoint.text).where(AuditCheckpoint.size == size)
            if (text := self._session.execute(kept).scalar_one_or_none()) is None:
                raise LogInconsistent("The audit log lacks the checkpoint of a rotation.", code="log_incomplete")
            return text
        return sign_checkpoint(self._site, size, root, self.key())

    def keys_to_log(self) -> KeyRotation:
        """Return what the entry of a rotation says: from the key in force to the one that is prepared here."""
        following = self._keys.next_signing_key()
        return rotation_between(self._keys.signing_key(), following)

    def vouch(self, size: int, root: bytes) -> None:
        """Keep the checkpoint of a rotation, whose entry is the last of these `size`.

        Raises `Conflict` (`rotated_meanwhile`) if the rotation does not follow the one before it.
        """
        *before, (_, _, keys) = self._rotations()
        old, new = self._keys.signing_key(), self._keys.next_signing_key()
        broken = bool(before) and before[-1][2].new_key != keys.old_key
        if broken or (keys.old_key, keys.new_key) != (hex_of(old.public_key()), hex_of(new.public_key())):
            raise Conflict("Somebody else rotated the signing key meanwhile.", code="rotated_meanwhile")
        text = sign_by_both(self._site, size, root, old, new)
        insert_once(self._session, AuditCheckpoint, {"size": size, "text": text})

    def _rotations(self) -> list[tuple[int, datetime, KeyRotation]]:
        query = select(AuditEntry.index, AuditEntry.time, AuditEntry.leaf).order_by(AuditEntry.index)
        rows = self._session.execute(query.where(AuditEntry.event == EventKind.SIGNING_KEY_ROTATED.value))
        return [(index, time, keys) for index, time, leaf in rows if (keys := keys_in(leaf)) is not None]
