"""Signed tree heads: C2SP tlog-checkpoint in a C2SP signed-note, with Ed25519.

    <origin>                                   the site's name
    <size>                                     decimal, no leading zeros
    <base64 of the root>
                                               an empty line
    — <name> <base64(key id || signature)>     one line for each signer; those of unknown keys are ignored

Sources: https://c2sp.org/tlog-checkpoint and https://c2sp.org/signed-note.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from biometrics.errors import LogInconsistent, MalformedInput

_ED25519 = b"\x01"
_SIZE = re.compile(r"0|[1-9][0-9]{0,18}", re.ASCII)
_NAME = re.compile(r"[^\s+\x00-\x20\x7f]{1,200}")
_MAX_CHARACTERS = 100_000


@dataclass(frozen=True, slots=True)
class NoteSignature:
    """One signature line: the signer's name, the 4-byte key id and the signature's bytes."""

    name: str
    key_id: bytes
    signature: bytes

    @property
    def line(self) -> str:
        """The line as it stands in the note, with its newline."""
        return f"— {self.name} {base64.b64encode(self.key_id + self.signature).decode()}\n"


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """What a checkpoint says (`origin`, `size`, 32-byte `root`) and who signed it; not verified yet."""

    origin: str
    size: int
    root: bytes
    signed_text: str
    signatures: tuple[NoteSignature, ...]


def key_id(name: str, public: Ed25519PublicKey) -> bytes:
    """Return the 4-byte key id: SHA-256(name || 0x0A || 0x01 || public key), its first four bytes."""
    return hashlib.sha256(name.encode() + b"\n" + _ED25519 + public.public_bytes_raw()).digest()[:4]


def verifier_key(name: str, public: Ed25519PublicKey) -> str:
    """Return the public key as one line of text, `name+hash+base64`: what an auditor pins."""
    check_name(name)
    key = base64.b64encode(_ED25519 + public.public_bytes_raw()).decode()
    return f"{name}+{key_id(name, public).hex()}+{key}"


def parse_verifier_key(vkey: str) -> tuple[str, Ed25519PublicKey]:
    """Return name and key of a `verifier_key` text; raise `MalformedInput` if it is not one."""
    parts = vkey.strip().split("+", 2)
    if len(parts) != 3 or not _NAME.fullmatch(parts[0]):
        raise MalformedInput("This is not a verifier key.", code="malformed_verifier_key")
    key = decode(parts[2])
    if len(key) != 33 or key[:1] != _ED25519:
        raise MalformedInput("This is not an Ed25519 verifier key.", code="malformed_verifier_key")
    public = Ed25519PublicKey.from_public_bytes(key[1:])
    if key_id(parts[0], public).hex() != parts[1]:
        raise MalformedInput("The verifier key's hash is wrong.", code="malformed_verifier_key")
    return parts[0], public


def sign_checkpoint(origin: str, size: int, root: bytes, key: Ed25519PrivateKey) -> str:
    """Return the checkpoint's text, signed under the name `origin`."""
    check_name(origin)
    if size < 0 or len(root) != 32:
        raise ValueError("a checkpoint has a size and a root of 32 bytes")
    text = f"{origin}\n{size}\n{base64.b64encode(root).decode()}\n"
    signature = NoteSignature(origin, key_id(origin, key.public_key()), key.sign(text.encode()))
    return f"{text}\n{signature.line}"


def parse_checkpoint(text: str) -> Checkpoint:
    """Read a checkpoint without verifying it; raise `MalformedInput` if it is not in the format."""
    body, separator, notes = text[:_MAX_CHARACTERS].rpartition("\n\n")
    lines = body.split("\n")
    if not separator or not notes.endswith("\n") or len(text) > _MAX_CHARACTERS or len(lines) < 3 or not all(lines):
        raise MalformedInput("This is not a checkpoint.", code="malformed_checkpoint")
    root = decode(lines[2])
    if not lines[0].isprintable() or not _SIZE.fullmatch(lines[1]) or len(root) != 32:
        raise MalformedInput("This is not a checkpoint.", code="malformed_checkpoint")
    signatures = tuple(_parse_signature(line) for line in notes[:-1].split("\n"))
    return Checkpoint(lines[0], int(lines[1]), root, body + "\n", signatures)


def verify_checkpoint(text: str, name: str, public: Ed25519PublicKey) -> Checkpoint:
    """Return the checkpoint if the named key signed it and `name` is its origin.

    Raises `MalformedInput` for another format, `LogInconsistent` if the signature is missing or wrong.
    """
    checkpoint = parse_checkpoint(text)
    if checkpoint.origin != name:
        raise LogInconsistent("The checkpoint belongs to another log.", code="checkpoint_of_another_log")
    identifier = key_id(name, public)
    mine = [s for s in checkpoint.signatures if (s.name, s.key_id) == (name, identifier)]
    if not mine:
        raise LogInconsistent("The checkpoint is not signed by the expected key.", code="checkpoint_unsigned")
    try:
        for signature in mine:
            public.verify(signature.signature, checkpoint.signed_text.encode())
    except InvalidSignature:
        raise LogInconsistent("The checkpoint's signature is wrong.", code="checkpoint_signature") from None
    return checkpoint


def verify_by_any(text: str, name: str, keys: Sequence[Ed25519PublicKey]) -> Checkpoint:
    """Return the checkpoint if one of these keys signed it; raise as `verify_checkpoint` does for the last of them."""
    for key in keys[:-1]:
        with suppress(LogInconsistent):
            return verify_checkpoint(text, name, key)
    return verify_checkpoint(text, name, keys[-1])


def _parse_signature(line: str) -> NoteSignature:
    dash, _, rest = line.partition(" ")
    name, _, encoded = rest.partition(" ")
    blob = decode(encoded)
    if dash != "—" or not _NAME.fullmatch(name) or len(blob) < 5:
        raise MalformedInput("This is not a checkpoint.", code="malformed_checkpoint")
    return NoteSignature(name, blob[:4], blob[4:])


def check_name(name: str) -> None:
    """Raise `ValueError` for what the format forbids as the name of a key."""
    if not _NAME.fullmatch(name):
        raise ValueError("a key name is text without spaces and plus signs")


def decode(text: str) -> bytes:
    """Decode base64 in its one canonical spelling; anything else gives no bytes, which no field accepts."""
    try:
        data = base64.b64decode(text, validate=True)
    except (ValueError, binascii.Error):
        return b""
    return data if base64.b64encode(data).decode() == text else b""
