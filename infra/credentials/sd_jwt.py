"""SD-JWT (RFC 9901): a JWT whose holder chooses which of the withheld claims to show.

    <JWS> ~ <disclosure> ~ ... ~

A disclosure is base64url of [salt, name, value]; the JWS holds its SHA-256 in `_sd`. There is no key binding: the face
is what binds a credential to its holder (docs/adr/0016).
"""

from __future__ import annotations

import hashlib
import re
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from pydantic import JsonValue, TypeAdapter, ValidationError

from biometrics.errors import MalformedInput, NotPermitted
from infra.credentials.jose import PublicKey, compact, decode, encode, sign, verify

TYP = "dc+sd-jwt"
MOST_CHARACTERS = 2953
"""What one QR code holds in bytes mode (ISO/IEC 18004, version 40-L)."""

_FORM = re.compile(r"[\w-]+\.[\w-]+\.[\w-]+~(?:[\w-]+~){0,4}", re.ASCII)
_CLAIMS = TypeAdapter(dict[str, JsonValue])
_DISCLOSURE = TypeAdapter(tuple[str, str, JsonValue])
_SALT = 16


@dataclass(frozen=True, slots=True)
class SdJwt:
    """The two kinds of parts of an SD-JWT; nothing is verified yet."""

    token: str
    disclosures: tuple[str, ...]

    @classmethod
    def parse(cls, text: str) -> SdJwt:
        """Take a text apart; raise `MalformedInput`."""
        if len(text) > MOST_CHARACTERS or not _FORM.fullmatch(text):
            raise MalformedInput("This is not a journey credential.", code="malformed_credential")
        token, *disclosures, _ = text.split("~")
        return cls(token, tuple(disclosures))

    @property
    def text(self) -> str:
        """The compact form."""
        return "~".join((self.token, *self.disclosures, ""))

    def verified(self, key: PublicKey) -> dict[str, JsonValue]:
        """Return the claims, those disclosed in their place; raise as `jose.verify` does."""
        try:
            claims = _CLAIMS.validate_json(verify(self.token, key, typ=TYP))
            disclosed = [_read(disclosure) for disclosure in self.disclosures]
        except ValueError:
            raise MalformedInput("This is not a journey credential.", code="malformed_credential") from None
        promised = claims.pop("_sd", [])
        names = [name for name, _ in disclosed]
        if (
            not isinstance(promised, list)
            or any(_digest(disclosure) not in promised for disclosure in self.disclosures)
            or len(set(names)) != len(names)
            or any(name in claims or name in ("_sd", "...") for name in names)
        ):
            raise NotPermitted("What is disclosed was not signed.", code="credential_invalid")
        return claims | dict(disclosed)

    def without(self, *names: str) -> SdJwt:
        """Leave disclosures out, as the holder may; raise `MalformedInput` if one cannot be read."""
        try:
            kept = tuple(part for part in self.disclosures if _read(part)[0] not in names)
        except ValueError:
            raise MalformedInput("This is not a journey credential.", code="malformed_credential") from None
        return SdJwt(self.token, kept)


def issue_sd_jwt(
    claims: Mapping[str, JsonValue],
    withheld: Mapping[str, JsonValue],
    key: Ed25519PrivateKey,
    kid: str,
    *,
    random: Callable[[int], bytes] = secrets.token_bytes,
) -> SdJwt:
    """Sign `claims` and the digests of `withheld`; `_sd_alg` is left out, since SHA-256 is what its absence means."""
    disclosures = tuple(encode(compact([encode(random(_SALT)), name, value])) for name, value in withheld.items())
    digests: list[JsonValue] = [*sorted(_digest(disclosure) for disclosure in disclosures)]
    return SdJwt(sign({**claims, "_sd": digests}, key, kid=kid, typ=TYP), disclosures)


def _digest(disclosure: str) -> str:
    return encode(hashlib.sha256(disclosure.encode()).digest())


def _read(disclosure: str) -> tuple[str, JsonValue]:
    try:
        _, name, value = _DISCLOSURE.validate_json(decode(disclosure))
    except ValidationError:
        raise ValueError("not a disclosure") from None
    return name, value
