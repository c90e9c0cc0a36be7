"""The key store of many machines: keys that HashiCorp Vault holds and never gives out (docs/adr/0019).

Each epoch has a transit key; its epoch key and its audit key are HMACs over two labels under it, so that deleting the
transit key ends both, with nothing kept elsewhere. The signing key's seed is made in the same way, from a transit key
for each generation. What exists, and what was destroyed, stands in one entry of KV version 2, without secrets:

    epochs      hours with keys
    destroyed   hours whose keys were destroyed, above the watermark; unlogged: those the log may not know of yet
    watermark   hours up to here without keys may never have keys any more
    generation  of the signing key; next: whether its successor is prepared
    retired     public halves of former signing keys, with the second of their end
    doomed      generations whose transit key is still to be deleted

Every change is a check-and-set of that entry (intent), then the transit key, then the entry again where that is needed,
so that a crash anywhere is finished by whoever comes next, and of two processes one begins again.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable
from datetime import UTC, datetime
from time import monotonic

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from pydantic import BaseModel, Field

from biometrics.errors import KeyDestroyed, NotReady
from biometrics.records import epoch_end
from infra.keys.state import raised_watermark
from infra.keys.store import RetiredKey
from infra.keys.vault_client import Changed, Unknown, VaultClient

EPOCH_LABEL = b"dwarpal/epoch-key/v1"
AUDIT_LABEL = b"dwarpal/audit-key/v1"
SIGNING_LABEL = b"dwarpal/signing-seed/v1"
KEPT_SECONDS = 2.0
"""How long a process uses what it asked for: a key that another process destroyed is gone here, too, after that."""

_MOST_KEPT = 64
_TRIES = 20


class Retired(BaseModel):
    """The public half of a former signing key, hexadecimal, and the second of its end."""

    public: str
    at: int


class VaultState(BaseModel):
    """The entry, without secrets."""

    epochs: set[int] = Field(default_factory=set)
    destroyed: set[int] = Field(default_factory=set)
    unlogged: set[int] = Field(default_factory=set)
    watermark: int = -(2**63)
    generation: int = 0
    next: bool = False
    retired: list[Retired] = Field(default_factory=list)
    doomed: list[int] = Field(default_factory=list)

    def over(self, epoch: int) -> bool:
        """Say whether an epoch without keys may never have any more."""
        return epoch not in self.epochs and (epoch <= self.watermark or epoch in self.destroyed)

    def destroy(self, epoch: int) -> None:
        """Note that an epoch's keys are to be destroyed."""
        if epoch in self.epochs:
            self.epochs.discard(epoch)
            self.unlogged.add(epoch)
        if epoch > self.watermark:
            self.destroyed.add(epoch)
        self.watermark = raised_watermark(self.destroyed, self.watermark)


class VaultKeyStore:
    """Keys of one site in Vault; see the module. What is kept in memory for seconds is overwritten when it goes."""

    def __init__(self, client: VaultClient, site: str) -> None:
        self._vault = client
        digest = hashlib.sha256(site.encode()).hexdigest()[:16]
        self._prefix = f"dwarpal-{digest}"
        self._path = f"dwarpal/{digest}/state"
        self._lock = threading.RLock()
        self._kept: dict[str, tuple[bytearray, float]] = {}
        self._state: tuple[VaultState, int, float] | None = None

    def __repr__(self) -> str:
        return "<VaultKeyStore>"

    def epoch_key(self, epoch: int, *, create: bool = False) -> bytes:
        """Return the epoch's 32-byte key-encryption key; raise `KeyDestroyed` if it is gone or was never made.

        With `create` a missing key is made, unless the epoch was destroyed before.
        """
        return self._epoch(epoch, EPOCH_LABEL, create)

    def audit_key(self, epoch: int, *, create: bool = False) -> bytes:
        """Return the epoch's 32-byte audit pseudonym key; rules as for `epoch_key`, destroyed together with it."""
        return self._epoch(epoch, AUDIT_LABEL, create)

    def signing_key(self) -> Ed25519PrivateKey:
        """Return the site's signing key for checkpoints and receipts; made at first use."""
        with self._lock:
            return self._signing(0)

    def next_signing_key(self) -> Ed25519PrivateKey:
        """Return the key that will follow; made and kept at first use, the same until it is promoted."""
        with self._lock:
            self._change(lambda state: setattr(state, "next", True))
            return self._signing(1)

    def prepared_signing_key(self) -> Ed25519PrivateKey | None:
        """Return what `next_signing_key` made, or None if nothing is prepared."""
        with self._lock:
            return self._signing(1) if self._read(fresh=True)[0].next else None

    def promote_signing_key(self, now: datetime) -> None:
        """Make the prepared key the signing key and destroy the former's private half; nothing if none is prepared."""
        with self._lock:
            public = self.signing_key().public_key().public_bytes_raw().hex()
            generation = self._read(fresh=True)[0].generation

            def promote(state: VaultState) -> None:
                if state.next and state.generation == generation:
                    state.retired.append(Retired(public=public, at=int(now.timestamp())))
                    state.doomed.append(state.generation)
                    state.generation += 1
                    state.next = False

            self._change(promote)
            self._forget()
            self._finish_doomed()

    def retired_signing_keys(self) -> tuple[RetiredKey, ...]:
        """Return the public halves of all former signing keys, oldest first."""
        with self._lock:
            return tuple(
                RetiredKey(
                    Ed25519PublicKey.from_public_bytes(bytes.fromhex(key.public)), datetime.fromtimestamp(key.at, UTC)
                )
                for key in self._read()[0].retired
            )

    def ended_epochs(self, now: datetime) -> list[int]:
        """Return the epochs that are over and have keys or an unconfirmed destruction, oldest first."""
        with self._lock:
            state = self._read(fresh=True)[0]
            if state.doomed:
                self._finish_doomed()
            return sorted(epoch for epoch in state.epochs | state.unlogged if epoch_end(epoch) <= now)

    def destroy_epoch(self, epoch: int) -> None:
        """Destroy both keys of an epoch for good; does nothing if they are gone already."""
        with self._lock:
            self._change(lambda state: state.destroy(epoch))
            self._forget()
            self._vault.destroy(self._epoch_name(epoch))

    def confirm_destroyed(self, epoch: int) -> None:
        """Note that an epoch's destruction stands in the log: `ended_epochs` names it no more."""
        with self._lock:
            if epoch in self._read(fresh=True)[0].unlogged:
                self._vault.destroy(self._epoch_name(epoch))  # a crash may have come between intent and act
                self._change(lambda state: state.unlogged.discard(epoch))

    def _epoch(self, epoch: int, label: bytes, create: bool) -> bytes:
        with self._lock:
            state = self._read()[0]
            if epoch not in state.epochs:
                state = self._begin(epoch, create)
            name = self._epoch_name(epoch)
            try:
                return self._derived(name, label)
            except Unknown:
                return self._made(name, label, epoch)

    def _begin(self, epoch: int, create: bool) -> VaultState:
        """Note that an epoch has keys from now on."""

        def begin(state: VaultState) -> None:
            if state.over(epoch):
                raise KeyDestroyed("The key of this epoch was destroyed.")
            if epoch not in state.epochs and not create:
                raise KeyDestroyed("The key of this epoch does not exist.")
            state.epochs.add(epoch)

        return self._change(begin)

    def _made(self, name: str, label: bytes, epoch: int) -> bytes:
        """Make the transit key that the entry speaks of; undo it if the epoch was destroyed meanwhile."""
        self._vault.create(name)
        if epoch not in self._read(fresh=True)[0].epochs:
            self._vault.destroy(name)
            raise KeyDestroyed("The key of this epoch was destroyed.")
        return self._derived(name, label)

    def _signing(self, ahead: int) -> Ed25519PrivateKey:
        """Return the signing key, or with 1 its successor; always of the newest entry, since the log may not lag."""
        for _ in range(_TRIES):
            generation = self._read(fresh=True)[0].generation + ahead
            try:
                return Ed25519PrivateKey.from_private_bytes(
                    self._derived(self._signing_name(generation), SIGNING_LABEL)
                )
            except Unknown:
                self._vault.create(self._signing_name(generation))
                if self._read(fresh=True)[0].generation + ahead != generation:  # it was promoted away meanwhile
                    self._vault.destroy(self._signing_name(generation))
        raise NotReady("Too many processes change the keys at once.", code="vault_busy")

    def _finish_doomed(self) -> None:
        for generation in self._read(fresh=True)[0].doomed:
            self._vault.destroy(self._signing_name(generation))
        self._change(lambda state: state.doomed.clear())

    def _derived(self, name: str, label: bytes) -> bytes:
        place, now = f"{name}/{label.decode()}", monotonic()
        for old in [kept for kept, (_, until) in self._kept.items() if until <= now or len(self._kept) > _MOST_KEPT]:
            _zero(self._kept.pop(old)[0])
        if place not in self._kept:
            self._kept[place] = bytearray(self._vault.hmac(name, label)), now + KEPT_SECONDS
        return bytes(self._kept[place][0])

    def _forget(self) -> None:
        for key, _ in self._kept.values():
            _zero(key)
        self._kept.clear()

    def _signing_name(self, generation: int) -> str:
        return f"{self._prefix}-signing-{generation}"

    def _epoch_name(self, epoch: int) -> str:
        return f"{self._prefix}-epoch-{epoch}"

    def _read(self, *, fresh: bool = False) -> tuple[VaultState, int]:
        if self._state is None or fresh or self._state[2] <= monotonic():
            entry, version = self._vault.read(self._path)
            self._state = VaultState.model_validate(entry), version, monotonic() + KEPT_SECONDS
        return self._state[0], self._state[1]

    def _change(self, change: Callable[[VaultState], object]) -> VaultState:
        """Change the entry by check-and-set, from its newest version, until nobody else was quicker."""
        for _ in range(_TRIES):
            before, version = self._read(fresh=True)
            state = before.model_copy(deep=True)
            change(state)
            if state == before:
                return before
            try:
                self._vault.write(self._path, state.model_dump(mode="json"), version)
            except Changed:
                continue
            self._state = state, version + 1, monotonic() + KEPT_SECONDS
            return state
        raise NotReady("Too many processes change the keys at once.", code="vault_busy")


def _zero(key: bytearray) -> None:
    key[:] = bytes(len(key))
