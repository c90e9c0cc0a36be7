"""Keys that are derived from others and live for one block."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

KEY_BYTES = 32


@contextmanager
def derived(secret: bytes, *, salt: bytes | None, info: bytes) -> Iterator[bytearray]:
    """Lend 32 bytes of HKDF-SHA256 (RFC 5869) of a secret, and overwrite them when the block ends."""
    key = bytearray(KEY_BYTES)
    HKDF(algorithm=SHA256(), length=KEY_BYTES, salt=salt, info=info).derive_into(secret, key)
    try:
        yield key
    finally:
        key[:] = bytes(KEY_BYTES)
