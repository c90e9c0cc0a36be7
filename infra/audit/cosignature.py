"""What signs a checkpoint beside the log's Ed25519 key: witnesses, and the log's own ML-DSA-44 key.

A cosignature is a line of the checkpoint's signed note whose bytes are `key id 4 | timestamp 8 | signature`.

    0x04  cosignature/v1: Ed25519 over "cosignature/v1\\ntime <timestamp>\\n" and the checkpoint's text
    0x06  subtree/v1: ML-DSA-44 over a binary message with the cosigner's name, the log's, size and root

A witness's timestamp is the second at which it saw the log grow consistently to this size. The log's own ML-DSA-44
line has the timestamp zero, which says nothing about time. Source: https://c2sp.org/tlog-cosignature.
"""

from __future__ import annotations

import base64
import hashlib
import struct
from dataclasses import dataclass

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA44PrivateKey, MLDSA44PublicKey
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from biometrics.errors import LogInconsistent, MalformedInput
from infra.audit.checkpoint import Checkpoint, NoteSignature, check_name, decode

COSIGNATURE_V1 = 0x04
ML_DSA_44 = 0x06
NO_TIME = 0

_PUBLIC_BYTES = {COSIGNATURE_V1: 32, ML_DSA_44: 1312}
_TIMESTAMP = struct.Struct(">Q")


@dataclass(frozen=True, slots=True)
class CosignerKey:
    """A public key that cosigns: its name, `COSIGNATURE_V1` or `ML_DSA_44`, and its raw bytes."""

    name: str
    algorithm: int
    public: bytes

    @property
    def key_id(self) -> bytes:
        """The 4-byte key id: SHA-256(name || 0x0A || algorithm || public key), its first four bytes."""
        return hashlib.sha256(self.name.encode() + b"\n" + self._encoded).digest()[:4]

    @property
    def text(self) -> str:
        """The key as one line, `name+hash+base64`: what an auditor pins."""
        return f"{self.name}+{self.key_id.hex()}+{base64.b64encode(self._encoded).decode()}"

    @property
    def _encoded(self) -> bytes:
        return bytes([self.algorithm]) + self.public

    def made(self, line: NoteSignature) -> bool:
        """Say whether a line names this key; whether it is genuine, `verify` says."""
        return (line.name, line.key_id) == (self.name, self.key_id)

    def verify(self, line: NoteSignature, checkpoint: Checkpoint) -> int:
        """Return the line's timestamp (seconds since 1970); raise `LogInconsistent` if the key did not sign this."""
        if not self.made(line) or len(line.signature) <= _TIMESTAMP.size:
            raise LogInconsistent("The cosignature is not of this key.", code="cosignature_of_another_key")
        (time,) = _TIMESTAMP.unpack_from(line.signature)
        signature = line.signature[_TIMESTAMP.size :]
        try:
            if self.algorithm == COSIGNATURE_V1:
                Ed25519PublicKey.from_public_bytes(self.public).verify(signature, _v1_message(checkpoint, time))
            else:
                message = _subtree_message(self.name, checkpoint, time)
                MLDSA44PublicKey.from_public_bytes(self.public).verify(signature, message)
        except InvalidSignature:
            raise LogInconsistent("The cosignature is wrong.", code="cosignature_wrong") from None
        return int(time)


def parse_cosigner_key(text: str) -> CosignerKey:
    """Read a `CosignerKey.text`; raise `MalformedInput` if it is none."""
    parts = text.strip().split("+", 2)
    encoded = decode(parts[2]) if len(parts) == 3 else b""
    if not encoded or len(encoded) - 1 != _PUBLIC_BYTES.get(encoded[0]) or not 0 < len(parts[0].encode()) < 256:
        raise MalformedInput("This is not a cosigner's key.", code="malformed_verifier_key")
    key = CosignerKey(parts[0], encoded[0], encoded[1:])
    if key.key_id.hex() != parts[1]:
        raise MalformedInput("The cosigner key's hash is wrong.", code="malformed_verifier_key")
    return key


def parse_cosigner_keys(setting: str) -> tuple[CosignerKey, ...]:
    """Read the keys of a site's witnesses, separated by spaces; raise `MalformedInput` if one is none."""
    return tuple(parse_cosigner_key(text) for text in setting.split())


def cosigner_key(name: str, key: Ed25519PrivateKey | MLDSA44PrivateKey) -> CosignerKey:
    """Return the public half of a key that cosigns under a name."""
    check_name(name)
    algorithm = COSIGNATURE_V1 if isinstance(key, Ed25519PrivateKey) else ML_DSA_44
    return CosignerKey(name, algorithm, key.public_key().public_bytes_raw())


def cosign(checkpoint: Checkpoint, name: str, key: Ed25519PrivateKey | MLDSA44PrivateKey, time: int) -> str:
    """Return the line, with its newline, with which a key cosigns a checkpoint at `time` (seconds since 1970)."""
    if isinstance(key, Ed25519PrivateKey):
        signature = key.sign(_v1_message(checkpoint, time))
    else:
        signature = key.sign(_subtree_message(name, checkpoint, time))
    return NoteSignature(name, cosigner_key(name, key).key_id, _TIMESTAMP.pack(time) + signature).line


def post_quantum_key(signing_key: Ed25519PrivateKey) -> MLDSA44PrivateKey | None:
    """Return the ML-DSA-44 key that belongs to a log's signing key; None where the library has no ML-DSA.

    Its seed is HKDF-SHA256 of the Ed25519 seed. Whoever computes the Ed25519 scalar from its public key has no
    seed, only a hash of it, so that this key outlives the other one; and both are kept, lost and rotated together.
    """
    derive = HKDF(hashes.SHA256(), 32, salt=None, info=b"dwarpal/checkpoint/ml-dsa-44/v1")
    try:
        return MLDSA44PrivateKey.from_seed_bytes(derive.derive(signing_key.private_bytes_raw()))
    except UnsupportedAlgorithm:
        return None


def _v1_message(checkpoint: Checkpoint, time: int) -> bytes:
    return f"cosignature/v1\ntime {time}\n{checkpoint.signed_text}".encode()


def _subtree_message(name: str, checkpoint: Checkpoint, time: int) -> bytes:
    """Return `cosigned_message`: label, name and origin with their lengths, time, start 0, size, root."""
    origin = checkpoint.origin.encode()
    return b"".join(
        (
            b"subtree/v1\n\x00",
            struct.pack(">B", len(name.encode())) + name.encode(),
            _TIMESTAMP.pack(time),
            struct.pack(">B", len(origin)) + origin,
            struct.pack(">QQ", 0, checkpoint.size),
            checkpoint.root,
        )
    )
