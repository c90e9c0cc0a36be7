"""What a key store can do; `file_store.py` is the one for a single machine."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey


@dataclass(frozen=True, slots=True)
class RetiredKey:
    """The public half of a former signing key, and when it was retired, in whole seconds."""

    public: Ed25519PublicKey
    retired_at: datetime


class KeyStore(Protocol):
    """Holds epoch keys, epoch audit keys and the signing key outside the application database."""

    def epoch_key(self, epoch: int, *, create: bool = False) -> bytes:
        """Return the epoch's 32-byte key-encryption key; raise `KeyDestroyed` if it is gone or was never made.

        With `create` a missing key is made, unless the epoch was destroyed before.
        """
        ...

    def audit_key(self, epoch: int, *, create: bool = False) -> bytes:
        """Return the epoch's 32-byte audit pseudonym key; rules as for `epoch_key`, destroyed together with it."""
        ...

    def signing_key(self) -> Ed25519PrivateKey:
        """Return the site's signing key for checkpoints and receipts; made at first use."""
        ...

    def next_signing_key(self) -> Ed25519PrivateKey:
        """Return the key that will follow; made and kept at first use, the same until it is promoted."""
        ...

    def prepared_signing_key(self) -> Ed25519PrivateKey | None:
        """Return what `next_signing_key` made, or None if nothing is prepared."""
        ...

    def promote_signing_key(self, now: datetime) -> None:
        """Make the prepared key the signing key and destroy the former's private half; nothing if none is prepared."""
        ...

    def retired_signing_keys(self) -> tuple[RetiredKey, ...]:
        """Return the public halves of all former signing keys, oldest first."""
        ...

    def ended_epochs(self, now: datetime) -> list[int]:
        """Return the epochs that are over and have keys or an unconfirmed destruction, oldest first."""
        ...

    def destroy_epoch(self, epoch: int) -> None:
        """Destroy both keys of an epoch for good; does nothing if they are gone already."""
        ...

    def confirm_destroyed(self, epoch: int) -> None:
        """Note that an epoch's destruction stands in the log: `ended_epochs` names it no more."""
        ...


def public_signing_keys(keys: KeyStore) -> tuple[Ed25519PublicKey, ...]:
    """Return the public signing key and all former ones, newest first."""
    return keys.signing_key().public_key(), *(former.public for former in reversed(keys.retired_signing_keys()))
