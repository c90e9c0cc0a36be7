"""Ed25519 for captures: the verifier that the service runs, and the key file with which a device signs."""

from __future__ import annotations

from pathlib import Path

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from biometrics.records import DeviceKey
from infra.keys.pem_file import read_key, write_key
from liveness.injection import CaptureSignature, Signed

PUBLIC_BYTES = 32


class Ed25519Verifier:
    """A `SignatureVerifier` after RFC 8032."""

    def valid(self, public: bytes, message: bytes, signature: bytes) -> bool:
        """Say whether the 64-byte signature of a message is by the 32-byte public key."""
        try:
            Ed25519PublicKey.from_public_bytes(public).verify(signature, message)
        except (InvalidSignature, ValueError):
            return False
        return True


class DeviceSigner:
    """The private half of a device's key: signs captures; silent when printed."""

    def __init__(self, key: Ed25519PrivateKey) -> None:
        self._key = key

    @classmethod
    def new(cls) -> DeviceSigner:
        """Make a key."""
        return cls(Ed25519PrivateKey.generate())

    @classmethod
    def read(cls, path: Path) -> DeviceSigner:
        """Read a key file; raise `MalformedInput` if others may read it or it holds no Ed25519 key."""
        return cls(read_key(path))

    def write(self, path: Path) -> None:
        """Write the key as PEM (PKCS #8) to a new file that only its owner may read; raise `FileExistsError`."""
        write_key(path, self._key)

    @property
    def public(self) -> bytes:
        """The 32 bytes to register."""
        return self._key.public_key().public_bytes_raw()

    def sign(self, claim: Signed) -> CaptureSignature:
        """Sign a capture."""
        return CaptureSignature(DeviceKey.id_of(self.public), self._key.sign(claim.payload))


def is_public_key(public: bytes) -> bool:
    """Say whether these bytes are a point that signatures can be checked with.

    The points of small order are refused: whoever registers one lets anybody sign.
    """
    if len(public) != PUBLIC_BYTES or _masked(public) in _SMALL_ORDER:
        return False
    try:
        Ed25519PublicKey.from_public_bytes(public)
    except ValueError:
        return False
    return True


def _masked(public: bytes) -> bytes:
    return public[:-1] + bytes([public[-1] & 0x7F])


_SMALL_ORDER = frozenset(
    bytes.fromhex(point)
    for point in (
        "0000000000000000000000000000000000000000000000000000000000000000",
        "0100000000000000000000000000000000000000000000000000000000000000",
        "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
        "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
        "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    )
)
"""The eight points whose order divides 8, and their other spellings, without the sign bit of x."""
