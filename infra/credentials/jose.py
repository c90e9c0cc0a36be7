"""Signing (JWS, RFC 7515) and encryption (JWE, RFC 7516) with one algorithm each; the only file that knows joserfc.

Signatures are Ed25519 (RFC 8037, named as in RFC 9864). Encryption is ECDH-ES over X25519 with A256GCM. A JWS header is
not interpreted but compared with the only one that we would have written, so that nobody chooses an algorithm for us.
"""

from __future__ import annotations

import base64
import binascii
import ctypes
import json
from collections.abc import Mapping
from dataclasses import dataclass, field

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from joserfc import jwe, jws
from joserfc.errors import JoseError
from joserfc.jwk import OKPKey
from pydantic import JsonValue

from biometrics.errors import MalformedInput, NotPermitted, SealBroken

SIGNING = "Ed25519"
AGREEMENT, ENCRYPTION = "ECDH-ES", "A256GCM"
_BYTES_HEADER = bytes.__basicsize__ - 1
"""Where the content of a CPython bytes object begins."""


@dataclass(frozen=True, slots=True)
class PublicKey:
    """An issuer's public key and the `kid` under which it stands in headers."""

    kid: str
    key: Ed25519PublicKey = field(repr=False)

    def jwk(self) -> dict[str, JsonValue]:
        """Return the key as a JWK (RFC 8037)."""
        return {"kty": "OKP", "crv": SIGNING, "x": encode(self.key.public_bytes_raw()), "kid": self.kid, "alg": SIGNING}

    @classmethod
    def of_jwk(cls, jwk: Mapping[str, JsonValue]) -> PublicKey:
        """Read a JWK; raise `MalformedInput`."""
        kid, x = jwk.get("kid"), jwk.get("x")
        try:
            if (
                jwk.get("kty") != "OKP"
                or jwk.get("crv") != SIGNING
                or not isinstance(kid, str)
                or not isinstance(x, str)
            ):
                raise ValueError
            return cls(kid, Ed25519PublicKey.from_public_bytes(decode(x)))
        except ValueError:
            raise MalformedInput("This is not an Ed25519 key.", code="malformed_key") from None


def encode(data: bytes) -> str:
    """Return base64url without padding."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def decode(text: str) -> bytes:
    """Read base64url without padding; raise `ValueError` for any spelling but the one that `encode` writes."""
    try:
        data = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except binascii.Error:
        raise ValueError("not base64url") from None
    if encode(data) != text:
        raise ValueError("not the canonical spelling")
    return data


def compact(value: JsonValue) -> bytes:
    """Return JSON without spaces, keys in their order."""
    return json.dumps(value, separators=(",", ":")).encode()


def sign(payload: Mapping[str, JsonValue], key: Ed25519PrivateKey, *, kid: str, typ: str) -> str:
    """Return a compact JWS."""
    header = {"alg": SIGNING, "typ": typ, "kid": kid}
    return jws.serialize_compact(header, compact(dict(payload)), OKPKey.import_key(key), algorithms=[SIGNING])


def verify(token: str, key: PublicKey, *, typ: str) -> bytes:
    """Return the payload of a compact JWS.

    Raises `MalformedInput` for what is none, `NotPermitted` (`credential_invalid`) if not this key signed exactly this.
    """
    parts = token.split(".")
    try:
        if len(parts) != 3:
            raise ValueError
        header, _, _ = (decode(part) for part in parts)
    except ValueError:
        raise MalformedInput("This is not a signed token.", code="malformed_credential") from None
    try:
        if header != compact({"alg": SIGNING, "typ": typ, "kid": key.kid}):
            raise ValueError
        return jws.deserialize_compact(token, OKPKey.import_key(key.key), algorithms=[SIGNING]).payload
    except (JoseError, ValueError):
        raise NotPermitted("This was not signed here, or was changed since.", code="credential_invalid") from None


def encrypt(plain: bytearray, key: X25519PublicKey) -> str:
    """Return a compact JWE of `plain`, which the caller overwrites."""
    copy = bytes(plain)
    header = {"alg": AGREEMENT, "enc": ENCRYPTION}
    try:
        return jwe.encrypt_compact(header, copy, OKPKey.import_key(key), algorithms=[AGREEMENT, ENCRYPTION])
    finally:
        _overwrite(copy)


def decrypt(token: str, key: X25519PrivateKey) -> bytearray:
    """Return the plaintext, which the caller overwrites; raise `SealBroken`."""
    try:
        opened = jwe.decrypt_compact(token, OKPKey.import_key(key), algorithms=[AGREEMENT, ENCRYPTION])
    except (JoseError, InvalidTag, ValueError, TypeError, KeyError):
        raise SealBroken("Ciphertext and key do not belong together.") from None
    if opened.plaintext is None:
        raise SealBroken("Ciphertext and key do not belong together.")
    plain = bytearray(opened.plaintext)
    _overwrite(opened.plaintext)
    return plain


def _overwrite(secret: bytes) -> None:
    """Overwrite bytes that nobody else holds: the library takes and gives templates in no other type."""
    if len(secret) > 1:  # shorter ones are shared by the whole process
        ctypes.memset(id(secret) + _BYTES_HEADER, 0, len(secret))
