"""How a template is sealed, so that only its holder, or a walk-through that the holder consented to, opens it.

    envelope     01 | nonce 12 | AES-256-GCM(data key; template as 512 little-endian float16) | tag 16
    for_holder   01 | nonce 12 | AES-256-GCM(HKDF(epoch key, salt = share, info = holder); data key) | tag 16
    for_gallery  01 | nonce 12 | AES-256-GCM(HKDF(epoch key, no salt, info = gallery); data key) | tag 16

All three authenticate the same context, each field after its length in 4 big-endian bytes: format label, role
(`template`, `holder` or `gallery`), site, subject, model digest, epoch, schema version. So no field or row can take
another's place. HKDF is RFC 5869 with SHA-256; its info is that context too. The data key is random for each seal.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from biometrics.errors import SealBroken
from biometrics.ports import HeldTemplate
from biometrics.records import EnrollmentRecord, SealedTemplate, TravelToken
from biometrics.types import EMBEDDING_SIZE, Template
from infra.keys.store import KeyStore

VERSION = b"\x01"
SCHEMA = 1
LABEL = b"dwarpal/seal/v1"

_NONCE = 12
_TAG = 16
_KEY = 32
_TEMPLATE_BYTES = 2 * EMBEDDING_SIZE
_BROKEN = "Ciphertext, keys and record do not belong together."


@dataclass(frozen=True, slots=True)
class SealContext:
    """What a sealed template is bound to."""

    site: str
    subject: str
    model_digest: str
    epoch: int

    def bind(self, role: str) -> bytes:
        """Return the bytes to authenticate for one role: every field after its length."""
        fields = (role, self.site, self.subject, self.model_digest, str(self.epoch), str(SCHEMA))
        encoded = (LABEL, *(field.encode() for field in fields))
        return b"".join(len(field).to_bytes(4, "big") + field for field in encoded)


class EnvelopeSealer:
    """Seals and opens the templates of one site; `random` makes the data keys and nonces."""

    envelope_version = VERSION

    def __init__(self, keys: KeyStore, site: str, *, random: Callable[[int], bytes] = os.urandom) -> None:
        self._keys = keys
        self._site = site
        self._random = random

    def __repr__(self) -> str:
        return "<EnvelopeSealer>"

    def seal(
        self, template: HeldTemplate, *, token: TravelToken, epoch: int, model_digest: str, for_gallery: bool
    ) -> SealedTemplate:
        """Seal a template for its holder and, if asked, for the walk-through gallery.

        Raises `KeyDestroyed` if the epoch has ended.
        """
        plain = bytearray(in_the_clear(template).vector.astype("<f2").tobytes())
        return self._seal(plain, token, epoch, model_digest, for_gallery=for_gallery)

    def open_with_token(self, record: EnrollmentRecord, token: TravelToken) -> HeldTemplate:
        """Open a template with the traveller's share; raise `SealBroken` or `KeyDestroyed`."""
        return _template(self._open_with_token(record, token))

    def open_for_gallery(self, record: EnrollmentRecord) -> Template:
        """Open a template whose traveller consented to walk-through; raise `SealBroken` or `KeyDestroyed`."""
        if record.sealed.for_gallery is None:
            raise SealBroken(_BROKEN)
        return _template(self._open(record, record.sealed.for_gallery, None, "gallery"))

    def _seal(
        self, plain: bytearray, token: TravelToken, epoch: int, model_digest: str, *, for_gallery: bool
    ) -> SealedTemplate:
        """Seal what is to be kept, and overwrite it."""
        data_key = bytearray(self._random(_KEY))
        try:
            epoch_key = self._keys.epoch_key(epoch, create=True)
            context = SealContext(self._site, token.enrollment_id, model_digest, epoch)
            envelope = self._encrypt(data_key, plain, context.bind("template"), self.envelope_version)
            holder = self._wrap(data_key, epoch_key, token.share, context.bind("holder"))
            gallery = self._wrap(data_key, epoch_key, None, context.bind("gallery")) if for_gallery else None
        finally:
            _zero(data_key, plain)
        return SealedTemplate(envelope, holder, gallery)

    def _open_with_token(self, record: EnrollmentRecord, token: TravelToken) -> bytearray:
        if token.enrollment_id != record.id:
            raise SealBroken(_BROKEN)
        return self._open(record, record.sealed.for_holder, token.share, "holder")

    def _open(self, record: EnrollmentRecord, wrapped: bytes, share: bytes | None, role: str) -> bytearray:
        """Return what was kept, which the caller overwrites."""
        context = SealContext(self._site, record.id, record.model_digest, record.epoch)
        epoch_key = self._keys.epoch_key(record.epoch)
        key = _derive(epoch_key, share, context.bind(role))
        envelope = record.sealed.envelope
        data_key, plain = bytearray(_KEY), bytearray(max(0, len(envelope) - len(VERSION) - _NONCE - _TAG))
        try:
            _decrypt(key, wrapped, context.bind(role), data_key, VERSION)
            _decrypt(data_key, envelope, context.bind("template"), plain, self.envelope_version)
        except BaseException:
            _zero(plain)
            raise
        finally:
            _zero(key, data_key)
        return plain

    def _wrap(self, data_key: bytearray, epoch_key: bytes, share: bytes | None, bound: bytes) -> bytes:
        key = _derive(epoch_key, share, bound)
        try:
            return self._encrypt(key, data_key, bound)
        finally:
            _zero(key)

    def _encrypt(self, key: bytearray, plain: bytearray, bound: bytes, version: bytes = VERSION) -> bytes:
        nonce = self._random(_NONCE)
        return version + nonce + AESGCM(key).encrypt(nonce, plain, bound)


def in_the_clear(template: HeldTemplate) -> Template:
    """Return a template that can be read as what it is; raise `SealBroken` for one that can only be compared."""
    if not isinstance(template, Template):
        raise SealBroken(_BROKEN)
    return template


def _derive(epoch_key: bytes, share: bytes | None, bound: bytes) -> bytearray:
    key = bytearray(_KEY)
    HKDF(algorithm=SHA256(), length=_KEY, salt=share, info=bound).derive_into(epoch_key, key)
    return key


def _decrypt(key: bytearray, sealed: bytes, bound: bytes, into: bytearray, version: bytes) -> None:
    if len(sealed) != len(version) + _NONCE + len(into) + _TAG or not sealed.startswith(version):
        raise SealBroken(_BROKEN)
    start = len(version) + _NONCE
    try:
        AESGCM(key).decrypt_into(sealed[len(version) : start], sealed[start:], bound, into)
    except InvalidTag:
        raise SealBroken(_BROKEN) from None


def _template(plain: bytearray) -> Template:
    try:
        if len(plain) != _TEMPLATE_BYTES:
            raise SealBroken(_BROKEN)
        vector = np.frombuffer(plain, "<f2").astype(np.float32)
    finally:
        _zero(plain)
    norm = np.linalg.norm(vector)
    if not np.isfinite(norm) or abs(norm - 1.0) > 1e-2:
        raise SealBroken(_BROKEN)
    vector /= norm  # float16 moved the length by about 1e-4
    return Template(vector)


def _zero(*buffers: bytearray) -> None:
    for buffer in buffers:
        buffer[:] = bytes(len(buffer))
