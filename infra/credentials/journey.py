"""Journey credentials of one site: an SD-JWT VC (draft-ietf-oauth-sd-jwt-vc) around a template encrypted to its gates.

    claim     what it says
    iss       https://<site>, where `/.well-known/jwt-vc-issuer` names the key
    vct       urn:dwarpal:journey:1
    exp       the end, a whole hour
    status    place in the hour's status list
    purposes  what the traveller consented to, separated by spaces
    model     the network that made the template: the first 64 bits of its SHA-256, in hexadecimal
    template  the template as 512 signed bytes (`biometrics/quantization.py`), as a JWE
    flight    withheld: shown only where the holder discloses it

Gates decrypt with a key of the epoch in which the credential expires: X25519, its 32 bytes derived from the epoch key
by HKDF-SHA-256. So the template in a phone that nobody emptied opens nowhere once the epoch's key is destroyed.
"""

from __future__ import annotations

import json
import re
from datetime import datetime, timedelta
from typing import Annotated, Literal

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from biometrics.credentials import END_OF_EPOCHS, LIST_SIZE, JourneyCredential, StatusPlace
from biometrics.errors import MalformedInput, NotPermitted
from biometrics.quantization import quantize, restore
from biometrics.records import EPOCH, Purpose
from biometrics.types import Template
from infra.audit.checkpoint import key_id
from infra.credentials.jose import PublicKey, decode, decrypt, encrypt
from infra.credentials.sd_jwt import SdJwt, issue_sd_jwt
from infra.credentials.status_list import list_uri
from infra.keys.derived import derived
from infra.keys.store import KeyStore

VCT = "urn:dwarpal:journey:1"
LONGEST_LIFE = timedelta(days=31)
"""From issue to expiry: a departure is at most 30 days ahead, and 24 hours more."""

GATE_KEY_LABEL = b"dwarpal/credential/gate-key/v1"
_SECONDS = int(EPOCH.total_seconds())
_MODEL = re.compile(f"[0-9a-f]{{{JourneyCredential.MODEL_DIGITS}}}")


class _StatusList(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    idx: Annotated[int, Field(ge=0, lt=LIST_SIZE)]
    uri: str


class _Status(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    status_list: _StatusList


class _Claims(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, hide_input_in_errors=True)

    iss: str
    vct: Literal["urn:dwarpal:journey:1"]
    exp: Annotated[int, Field(gt=0, lt=END_OF_EPOCHS * _SECONDS, multiple_of=_SECONDS)]
    status: _Status
    purposes: str
    model: Annotated[str, Field(pattern=_MODEL.pattern)]
    template: str
    flight: str | None = None
    digests: list[str] = Field([], alias="_sd")


def issuer_of(site: str) -> str:
    """Return the site as an issuer."""
    return f"https://{site}"


def read_credential(text: str, key: PublicKey, site: str) -> JourneyCredential:
    """Verify that `site` signed a credential with `key`, and read it.

    Raises `MalformedInput` (`malformed_credential`) for what has not the form of one, `NotPermitted`
    (`credential_invalid`) for one of another issuer, or an altered one. Expiry and revocation are not judged here.
    """
    try:
        claims = _Claims.model_validate(SdJwt.parse(text).verified(key))
        place = StatusPlace(claims.exp // _SECONDS, claims.status.status_list.idx)
        if claims.iss != issuer_of(site) or claims.status.status_list.uri != list_uri(site, place.epoch):
            raise ValueError
        purposes = frozenset(Purpose(name) for name in claims.purposes.split())
    except (ValidationError, ValueError):
        raise NotPermitted("This credential is not of this site.", code="credential_invalid") from None
    return JourneyCredential(place, purposes, claims.model, claims.template, claims.flight)


def claimed_place(text: str) -> StatusPlace:
    """Return the place that a credential names, without verifying anything; raise `MalformedInput`."""
    try:
        claims = _Claims.model_validate_json(decode(SdJwt.parse(text).token.split(".")[1]))
    except (ValidationError, ValueError):
        raise MalformedInput("This is not a journey credential.", code="malformed_credential") from None
    return StatusPlace(claims.exp // _SECONDS, claims.status.status_list.idx)


def issuing_kid(text: str) -> str | None:
    """Return the id of the key that a credential names, without verifying anything; raise `MalformedInput`."""
    try:
        kid = json.loads(decode(SdJwt.parse(text).token.split(".")[0])).get("kid")
    except (ValueError, AttributeError):
        raise MalformedInput("This is not a journey credential.", code="malformed_credential") from None
    return kid if isinstance(kid, str) else None


class SiteCredentials:
    """Issues and reads the credentials of one site: the `CredentialWriter` and `CredentialReader`."""

    def __init__(self, keys: KeyStore, site: str) -> None:
        self._keys = keys
        self._site = site

    def __repr__(self) -> str:
        return "<SiteCredentials>"

    @property
    def public_key(self) -> PublicKey:
        """The issuer's key: the one under receipts and checkpoints, with the same id."""
        return self._named(self._keys.signing_key().public_key())

    def issue(
        self, template: Template, *, place: StatusPlace, purposes: frozenset[Purpose], flight: str, model_digest: str
    ) -> str:
        """Encrypt a template to the gates and sign it as a credential; raise `KeyDestroyed` if the epoch has ended."""
        plain = quantize(template)
        try:
            sealed = encrypt(plain, self._gate_key(place.epoch, create=True).public_key())
        finally:
            plain[:] = bytes(len(plain))
        return issue_sd_jwt(
            {
                "iss": issuer_of(self._site),
                "vct": VCT,
                "exp": int(place.expires_at.timestamp()),
                "status": {"status_list": {"idx": place.index, "uri": list_uri(self._site, place.epoch)}},
                "purposes": " ".join(sorted(purposes)),
                "model": model_digest[: JourneyCredential.MODEL_DIGITS],
                "template": sealed,
            },
            {"flight": flight},
            self._keys.signing_key(),
            self.public_key.kid,
        ).text

    def public_keys(self, now: datetime) -> list[PublicKey]:
        """Return the issuer's key and those former ones under which a credential may still be in force."""
        former = [key for key in self._keys.retired_signing_keys() if now < key.retired_at + LONGEST_LIFE]
        return [self.public_key, *(self._named(key.public) for key in reversed(former))]

    def read(self, text: str) -> JourneyCredential:
        """Verify the signature and read; raises as `read_credential` does.

        Under a former key counts only what can have been issued while it was in force, by its expiry.
        """
        kid = issuing_kid(text)
        for former in self._keys.retired_signing_keys():
            if (key := self._named(former.public)).kid == kid:
                found = read_credential(text, key, self._site)
                if found.expires_at > former.retired_at + LONGEST_LIFE:
                    raise NotPermitted("This credential is younger than its key's end.", code="credential_invalid")
                return found
        return read_credential(text, self.public_key, self._site)

    def open(self, credential: JourneyCredential) -> Template:
        """Decrypt the template; raise `SealBroken` or, once the epoch is over, `KeyDestroyed`."""
        plain = decrypt(credential.sealed, self._gate_key(credential.epoch))
        try:
            return restore(plain)
        finally:
            plain[:] = bytes(len(plain))

    def _named(self, key: Ed25519PublicKey) -> PublicKey:
        return PublicKey(key_id(self._site, key).hex(), key)

    def _gate_key(self, epoch: int, *, create: bool = False) -> X25519PrivateKey:
        fields = (GATE_KEY_LABEL, self._site.encode(), str(epoch).encode())
        info = b"".join(len(part).to_bytes(4, "big") + part for part in fields)
        with derived(self._keys.epoch_key(epoch, create=create), salt=None, info=info) as seed:
            return X25519PrivateKey.from_private_bytes(seed)
