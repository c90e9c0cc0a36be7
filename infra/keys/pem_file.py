"""An Ed25519 private key in a file of its own, for a gate's device or a witness: PEM (PKCS #8), mode 0600."""

from __future__ import annotations

import os
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, load_pem_private_key

from biometrics.errors import MalformedInput


def read_key(path: Path) -> Ed25519PrivateKey:
    """Read a key; raise `MalformedInput` if others may read the file or it holds no Ed25519 key."""
    if path.stat().st_mode & 0o077:
        raise MalformedInput("Others may read the key file: chmod 600 it.", code="key_file_exposed")
    try:
        key = load_pem_private_key(path.read_bytes(), password=None)
    except (ValueError, TypeError):
        key = None
    if not isinstance(key, Ed25519PrivateKey):
        raise MalformedInput("This file holds no Ed25519 key.", code="malformed_key_file")
    return key


def write_key(path: Path, key: Ed25519PrivateKey) -> None:
    """Write a key to a new file that only its owner may read; raise `FileExistsError`."""
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        os.fchmod(descriptor, 0o600)
        file.write(pem)
