"""What a key file holds, in memory and as bytes.

    signing   1 byte (0 or 1) and 32 bytes: the Ed25519 seed, zero when there is none
    watermark 8 bytes signed: epochs up to here without keys were destroyed, or may never have keys any more
    destroyed 4 bytes count, then 8 bytes signed each: epochs above the watermark that were destroyed
    unlogged  4 bytes count, then 8 bytes signed each: destroyed epochs of which the log may not know yet
    epochs    4 bytes count, then for each 8 bytes signed, 32 bytes epoch key, 32 bytes audit key
    next      1 byte (0 or 1) and 32 bytes: the seed of the signing key that will follow, zero when there is none
    retired   4 bytes count, then for each former signing key 8 bytes signed, seconds since 1970, 32 bytes public key

Files from before signing keys could be rotated end with the epochs, and are still read. All numbers are big-endian.
Keys live in bytearrays, so that they can be overwritten.
"""

from __future__ import annotations

import secrets
import struct
from dataclasses import dataclass, field
from datetime import UTC, datetime

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from biometrics.errors import KeyDestroyed, SealBroken
from infra.keys.store import RetiredKey

KEY_BYTES = 32
MOST_DESTROYED = 1024
"""Destroyed epochs kept one by one, six weeks of them; beyond, the older half goes under the watermark."""

_BEFORE_ALL = -(2**63)
_HEAD = struct.Struct(">B32sq")
_COUNT = struct.Struct(">I")
_EPOCH = struct.Struct(">q")
_NEXT = struct.Struct(">B32s")
_RETIRED = struct.Struct(">q32s")


def raised_watermark(destroyed: set[int], watermark: int) -> int:
    """Return the watermark, raised over the older half of the destroyed epochs, which then go, where these are many."""
    if len(destroyed) <= MOST_DESTROYED:
        return watermark
    oldest = sorted(destroyed)[: MOST_DESTROYED // 2]
    destroyed.difference_update(oldest)
    return oldest[-1]


@dataclass(slots=True, repr=False)
class EpochPair:
    """An epoch's key-encryption key and its audit pseudonym key."""

    epoch_key: bytearray
    audit_key: bytearray

    def zero(self) -> None:
        """Overwrite both."""
        for key in (self.epoch_key, self.audit_key):
            key[:] = bytes(len(key))


@dataclass(slots=True, repr=False)
class KeyState:
    """All keys of a site and the memory of those destroyed."""

    signing_seed: bytearray | None = None
    watermark: int = _BEFORE_ALL
    destroyed: set[int] = field(default_factory=set)
    unlogged: set[int] = field(default_factory=set)
    epochs: dict[int, EpochPair] = field(default_factory=dict)
    next_seed: bytearray | None = None
    retired: list[RetiredKey] = field(default_factory=list)

    def promote(self, now: datetime) -> bool:
        """Put the prepared signing key in the former's place, whose seed is overwritten; say whether there was one."""
        if self.next_seed is None:
            return False
        if self.signing_seed is not None:
            public = Ed25519PrivateKey.from_private_bytes(self.signing_seed).public_key()
            self.retired.append(RetiredKey(public, now.astimezone(UTC).replace(microsecond=0)))
            self.signing_seed[:] = bytes(KEY_BYTES)
        self.signing_seed, self.next_seed = self.next_seed, None
        return True

    def pair(self, epoch: int) -> EpochPair:
        """Return an epoch's keys; raise `KeyDestroyed` if they are gone or were never made."""
        try:
            return self.epochs[epoch]
        except KeyError:
            raise KeyDestroyed("The key of this epoch does not exist.") from None

    def create(self, epoch: int) -> None:
        """Make an epoch's keys; raise `KeyDestroyed` if it had some before."""
        if epoch <= self.watermark or epoch in self.destroyed:
            raise KeyDestroyed("The key of this epoch was destroyed.")
        self.epochs[epoch] = EpochPair(
            bytearray(secrets.token_bytes(KEY_BYTES)), bytearray(secrets.token_bytes(KEY_BYTES))
        )

    def destroy(self, epoch: int) -> bool:
        """Overwrite and forget an epoch's keys for good; say whether anything changed."""
        pair = self.epochs.pop(epoch, None)
        if pair is not None:
            pair.zero()
            self.unlogged.add(epoch)
        elif epoch <= self.watermark or epoch in self.destroyed:
            return False
        if epoch > self.watermark:
            self.destroyed.add(epoch)
        self.watermark = raised_watermark(self.destroyed, self.watermark)
        return True

    def zero(self) -> None:
        """Overwrite all keys in memory."""
        for seed in (self.signing_seed, self.next_seed):
            if seed is not None:
                seed[:] = bytes(KEY_BYTES)
        for pair in self.epochs.values():
            pair.zero()

    def encode(self) -> bytearray:
        """Return the bytes to seal; the caller overwrites them."""
        out = bytearray(
            _HEAD.pack(self.signing_seed is not None, bytes(self.signing_seed or bytes(32)), self.watermark)
        )
        for epochs in (self.destroyed, self.unlogged):
            out += _COUNT.pack(len(epochs))
            for epoch in sorted(epochs):
                out += _EPOCH.pack(epoch)
        out += _COUNT.pack(len(self.epochs))
        for epoch, pair in sorted(self.epochs.items()):
            out += _EPOCH.pack(epoch)
            out += pair.epoch_key
            out += pair.audit_key
        out += _NEXT.pack(self.next_seed is not None, bytes(self.next_seed or bytes(32)))
        out += _COUNT.pack(len(self.retired))
        for key in self.retired:
            out += _RETIRED.pack(int(key.retired_at.timestamp()), key.public.public_bytes_raw())
        return out

    @classmethod
    def decode(cls, data: bytearray) -> KeyState:
        """Read what `encode` wrote; raise `SealBroken` for anything else."""
        try:
            has_seed, seed, watermark = _HEAD.unpack_from(data)
            destroyed, at = _decode_set(data, _HEAD.size)
            unlogged, at = _decode_set(data, at)
            (count,) = _COUNT.unpack_from(data, at)
            at += _COUNT.size
            epochs: dict[int, EpochPair] = {}
            for _ in range(count):
                (epoch,) = _EPOCH.unpack_from(data, at)
                at += _EPOCH.size
                epochs[epoch] = EpochPair(data[at : at + KEY_BYTES], data[at + KEY_BYTES : at + 2 * KEY_BYTES])
                at += 2 * KEY_BYTES
            has_next, following = 0, bytes(KEY_BYTES)
            retired: list[RetiredKey] = []
            if at < len(data):
                has_next, following = _NEXT.unpack_from(data, at)
                retired, at = _decode_retired(data, at + _NEXT.size)
        except (struct.error, OverflowError, OSError, ValueError):  # the latter three: no time that a calendar has
            raise SealBroken("The key file's content is not what it should be.") from None
        if at != len(data) or has_seed not in (0, 1) or has_next not in (0, 1):
            raise SealBroken("The key file's content is not what it should be.")
        return cls(
            bytearray(seed) if has_seed else None,
            watermark,
            destroyed,
            unlogged,
            epochs,
            bytearray(following) if has_next else None,
            retired,
        )


def _decode_set(data: bytearray, at: int) -> tuple[set[int], int]:
    (count,) = _COUNT.unpack_from(data, at)
    start = at + _COUNT.size
    end = start + count * _EPOCH.size
    if end > len(data):
        raise struct.error
    return {epoch for (epoch,) in _EPOCH.iter_unpack(data[start:end])}, end


def _decode_retired(data: bytearray, at: int) -> tuple[list[RetiredKey], int]:
    (count,) = _COUNT.unpack_from(data, at)
    start = at + _COUNT.size
    end = start + count * _RETIRED.size
    if end > len(data):
        raise struct.error
    keys = [
        RetiredKey(Ed25519PublicKey.from_public_bytes(public), datetime.fromtimestamp(seconds, UTC))
        for seconds, public in _RETIRED.iter_unpack(data[start:end])
    ]
    return keys, end
