"""Token Status List (draft-ietf-oauth-status-list): the revocations of one hour's credentials as one signed bit array.

Bit `index % 8`, counted from the least significant, of byte `index // 8` is 1 for a revoked credential; the array is
compressed with zlib. A list does not show which of its places are taken.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable
from datetime import datetime
from typing import Annotated, Literal

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from pydantic import BaseModel, Field, ValidationError

from biometrics.credentials import LIST_SIZE, StatusPlace
from biometrics.errors import MalformedInput, NotPermitted
from infra.credentials.jose import PublicKey, decode, encode, sign, verify

TYP = "statuslist+jwt"
MEDIA_TYPE = "application/statuslist+jwt"
TTL_SECONDS = 60
"""How long who verifies elsewhere may keep a copy; our own gates ask the database at each check."""

_BYTES = LIST_SIZE // 8


class _Bits(BaseModel):
    bits: Literal[1]
    lst: str


class _Payload(BaseModel):
    sub: str
    exp: int
    ttl: Annotated[int, Field(gt=0)]
    status_list: _Bits


def list_uri(site: str, epoch: int) -> str:
    """Return where a list is to be had."""
    return f"https://{site}/v1/status/{epoch}"


def sign_status_list(
    epoch: int, revoked: Iterable[int], key: Ed25519PrivateKey, kid: str, *, site: str, now: datetime
) -> str:
    """Return the token of one epoch's list."""
    array = bytearray(_BYTES)
    for index in revoked:
        array[index // 8] |= 1 << index % 8
    return sign(
        {
            "sub": list_uri(site, epoch),
            "iat": int(now.timestamp()),
            "exp": int(StatusPlace(epoch, 0).expires_at.timestamp()),
            "ttl": TTL_SECONDS,
            "status_list": {"bits": 1, "lst": encode(zlib.compress(bytes(array), 9))},
        },
        key,
        kid=kid,
        typ=TYP,
    )


def is_revoked(token: str, place: StatusPlace, key: PublicKey, *, site: str) -> bool:
    """Say what a status list token says of a credential; raise `MalformedInput` or, for another's, `NotPermitted`."""
    try:
        payload = _Payload.model_validate_json(verify(token, key, typ=TYP))
        inflate = zlib.decompressobj()
        array = inflate.decompress(decode(payload.status_list.lst), _BYTES + 1)
    except (ValidationError, ValueError, zlib.error):
        raise MalformedInput("This is not a status list.", code="malformed_status_list") from None
    if payload.sub != list_uri(site, place.epoch) or len(array) != _BYTES or not inflate.eof:
        raise NotPermitted("This is another status list.", code="credential_invalid")
    return bool(array[place.index // 8] >> place.index % 8 & 1)
