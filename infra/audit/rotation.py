"""A new signing key, vouched for by the former one: what a rotation leaves in the log, and how others follow it.

The entry `signing_key_rotated` names both keys. The checkpoint that ends with it is signed by both, and by the former
ML-DSA-44 key where there is one; from the next entry on the new keys sign. So whoever trusts the former key can follow
to the new one, and a former key that is stolen later signs nothing beyond its own rotation.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from biometrics.errors import LogInconsistent
from biometrics.records import KeyRotation
from infra.audit import merkle
from infra.audit.checkpoint import parse_checkpoint, sign_checkpoint, verify_checkpoint
from infra.audit.cosignature import NO_TIME, cosign, post_quantum_key


@dataclass(frozen=True, slots=True)
class LoggedRotation:
    """A rotation as it stands in the log, with the checkpoint of `index` + 1 entries and the entry's proof in it."""

    index: int
    time: datetime
    leaf: bytes
    keys: KeyRotation
    checkpoint: str
    proof: tuple[bytes, ...]


def rotation_between(old: Ed25519PrivateKey, new: Ed25519PrivateKey) -> KeyRotation:
    """Return the public halves of two signing keys and of the ML-DSA-44 keys that belong to them."""
    return KeyRotation(hex_of(old.public_key()), hex_of(new.public_key()), _pq_hex(old), _pq_hex(new))


def sign_by_both(site: str, size: int, root: bytes, old: Ed25519PrivateKey, new: Ed25519PrivateKey) -> str:
    """Return the checkpoint that vouches for the new key: signed by both, and by the former ML-DSA-44 key."""
    text = sign_checkpoint(site, size, root, old)
    text += parse_checkpoint(sign_checkpoint(site, size, root, new)).signatures[0].line
    second = post_quantum_key(old)
    return text if second is None else text + cosign(parse_checkpoint(text), site, second, NO_TIME)


def follow(site: str, trusted: Ed25519PublicKey, rotations: Iterable[LoggedRotation]) -> list[Ed25519PublicKey]:
    """Return the trusted key and all that follow it, each vouched for by the one before; the last one is in force.

    Rotations from before the trusted key are passed over. Raises `LogInconsistent` if one is not what it says.
    """
    keys = [trusted]
    for rotation in rotations:
        if rotation.keys.old_key == hex_of(keys[-1]):
            keys.append(_vouched(site, keys[-1], rotation))
        elif len(keys) > 1:
            raise LogInconsistent("The rotations of the signing key are no chain.", code="rotation_chain")
    return keys


def _vouched(site: str, old: Ed25519PublicKey, rotation: LoggedRotation) -> Ed25519PublicKey:
    new = public_key(rotation.keys.new_key)
    vouching = verify_checkpoint(rotation.checkpoint, site, old)
    verify_checkpoint(rotation.checkpoint, site, new)
    proven = merkle.verify_inclusion(
        merkle.leaf_hash(rotation.leaf), rotation.index, vouching.size, rotation.proof, vouching.root
    )
    if not proven or vouching.size != rotation.index + 1 or keys_in(rotation.leaf) != rotation.keys:
        raise LogInconsistent("A rotation of the signing key does not stand in the log.", code="rotation_unproven")
    return new


def keys_in(leaf: bytes) -> KeyRotation | None:
    """Return the keys that a leaf names if it is that of a rotation."""
    try:
        fields = json.loads(leaf)
        if fields["event"] != "signing_key_rotated":
            return None
        return KeyRotation(fields["old_key"], fields["new_key"], fields.get("old_pq_key"), fields.get("new_pq_key"))
    except (ValueError, KeyError, TypeError):
        return None


def public_key(text: str) -> Ed25519PublicKey:
    """Return the public key that stands in a rotation; raise `LogInconsistent` if it is none."""
    try:
        return Ed25519PublicKey.from_public_bytes(bytes.fromhex(text))
    except ValueError:
        raise LogInconsistent("A rotation names no key.", code="rotation_unproven") from None


def hex_of(key: Ed25519PublicKey) -> str:
    """Return a public key as an entry names it."""
    return key.public_bytes_raw().hex()


def _pq_hex(key: Ed25519PrivateKey) -> str | None:
    second = post_quantum_key(key)
    return None if second is None else second.public_key().public_bytes_raw().hex()
