"""The key that seals the key file: from a passphrase, or from a file that only this machine's service may read.

Header of a key file, authenticated with its content:

    DWKS | version 01 | source (0 machine, 1 scrypt) | log2 of scrypt's N | salt 32

scrypt is RFC 7914 with r = 8, p = 1; for `machine` the salt enters HKDF-SHA256 over the machine key.
"""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

from biometrics.errors import NotReady, SealBroken
from infra.keys.replace import destroy_file, replace_file

MAGIC = b"DWKS\x01"
SALT_BYTES = 32
HEADER_BYTES = len(MAGIC) + 2 + SALT_BYTES
SCRYPT_LOG2_N = 17
"""128 MiB and about 0.3 s, as OWASP's password storage guidance asks."""

_MACHINE, _SCRYPT = 0, 1
_MOST_LOG2_N = 20


@dataclass(frozen=True, slots=True)
class Header:
    """The readable start of a key file."""

    source: int
    log2_n: int
    salt: bytes

    @property
    def encoded(self) -> bytes:
        """The header's bytes."""
        return MAGIC + bytes((self.source, self.log2_n)) + self.salt

    @classmethod
    def parse(cls, content: bytes) -> Header:
        """Read the start of a key file; raise `SealBroken` if it is not one."""
        if len(content) < HEADER_BYTES or not content.startswith(MAGIC):
            raise SealBroken("This is not a key file.")
        source, log2_n = content[len(MAGIC)], content[len(MAGIC) + 1]
        if source not in (_MACHINE, _SCRYPT) or log2_n > _MOST_LOG2_N or (source == _SCRYPT and log2_n < 1):
            raise SealBroken("This is not a key file.")
        return cls(source, log2_n, content[len(MAGIC) + 2 : HEADER_BYTES])


class RootKey(Protocol):
    """Where the root key comes from."""

    def header(self) -> Header:
        """Return a header, with a fresh salt, for a new key file."""
        ...

    def opens(self, header: Header) -> bool:
        """Say whether the header's root key comes from here."""
        ...

    def derive(self, header: Header) -> bytearray:
        """Return the 32-byte root key for a header from here."""
        ...


class PassphraseRoot:
    """A root key from a passphrase."""

    def __init__(self, passphrase: str, *, log2_n: int = SCRYPT_LOG2_N) -> None:
        self._passphrase = passphrase.encode()
        self._log2_n = log2_n

    def __repr__(self) -> str:
        return "<PassphraseRoot>"

    def header(self) -> Header:
        """Return a header, with a fresh salt, for a new key file."""
        return Header(_SCRYPT, self._log2_n, os.urandom(SALT_BYTES))

    def opens(self, header: Header) -> bool:
        """Say whether the header's root key comes from a passphrase."""
        return header.source == _SCRYPT

    def derive(self, header: Header) -> bytearray:
        """Return the 32-byte root key."""
        key = bytearray(32)
        Scrypt(salt=header.salt, length=32, n=2**header.log2_n, r=8, p=1).derive_into(self._passphrase, key)
        return key


class MachineRoot:
    """A root key from a file of 32 random bytes, mode 0600, made together with the first key file.

    While the machine key is being replaced, its successor lies beside it as `….next`; `successor` is the root of that
    file.
    """

    def __init__(self, path: Path, *, optional: bool = False) -> None:
        """Name the file; one that is `optional` opens nothing where it is missing, instead of being missed."""
        self._path = path
        self._optional = optional

    @property
    def successor(self) -> MachineRoot:
        """The root that `succeed` will put in this one's place."""
        return MachineRoot(self._path.with_name(self._path.name + ".next"), optional=True)

    def renew(self) -> None:
        """Make the file anew."""
        replace_file(self._path, os.urandom(32))

    def succeed(self) -> None:
        """Put the successor in this one's place, and overwrite what was there; a crash between leaves both."""
        successor = self.successor
        replace_file(self._path, successor._read())
        destroy_file(successor._path)

    def header(self) -> Header:
        """Return a header for a new key file and make the machine key if there is none."""
        if not self._path.exists():
            replace_file(self._path, os.urandom(32))
        return Header(_MACHINE, 0, os.urandom(SALT_BYTES))

    def opens(self, header: Header) -> bool:
        """Say whether the header's root key comes from a machine key, which may be this one."""
        return header.source == _MACHINE and not (self._optional and not self._path.exists())

    def derive(self, header: Header) -> bytearray:
        """Return the 32-byte root key; raise `NotReady` if the machine key is missing or others may read it."""
        key = bytearray(32)
        HKDF(SHA256(), 32, header.salt, b"dwarpal/key-file/v1").derive_into(self._read(), key)
        return key

    def _read(self) -> bytes:
        try:
            descriptor = os.open(self._path, os.O_RDONLY | os.O_NOFOLLOW)
        except OSError:
            raise NotReady("The machine key is missing or cannot be read.", code="machine_key_missing") from None
        with os.fdopen(descriptor, "rb") as file:
            if stat.S_IMODE(os.fstat(descriptor).st_mode) & 0o077:
                raise NotReady(
                    "The machine key can be read by others: set its mode to 0600.", code="machine_key_exposed"
                )
            content = file.read(33)
        if len(content) != 32:
            raise NotReady("The machine key is not 32 bytes.", code="machine_key_missing")
        return content
