"""How the words of a rights request are sealed: under a key of their epoch, bound to their place.

    sealed  01 | nonce 12 | AES-256-GCM(HKDF(epoch key, no salt, info = context); UTF-8 text, AAD = context) | tag 16

The context is, each field after its length in 4 big-endian bytes: format label, role (`text` or `answer`), site,
request, epoch. HKDF is RFC 5869 with SHA-256.
"""

from __future__ import annotations

import os
from collections.abc import Callable

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from biometrics.errors import SealBroken
from infra.keys.derived import derived
from infra.keys.store import KeyStore

VERSION = b"\x01"
LABEL = b"dwarpal/text/v1"
_NONCE = 12
_TAG = 16


class EpochTextSealer:
    """Seals the words of one site's requests; `random` makes the nonces."""

    def __init__(self, keys: KeyStore, site: str, *, random: Callable[[int], bytes] = os.urandom) -> None:
        self._keys = keys
        self._site = site
        self._random = random

    def seal(self, text: str, *, request_id: str, role: str, epoch: int) -> bytes:
        """Seal words for one place; raise `KeyDestroyed` if the epoch has ended."""
        bound = self._bind(role, request_id, epoch)
        nonce = self._random(_NONCE)
        with derived(self._keys.epoch_key(epoch, create=True), salt=None, info=bound) as key:
            return VERSION + nonce + AESGCM(key).encrypt(nonce, text.encode(), bound)

    def open(self, sealed: bytes, *, request_id: str, role: str, epoch: int) -> str:
        """Open them again; raise `SealBroken`, or `KeyDestroyed` if the epoch has ended."""
        bound = self._bind(role, request_id, epoch)
        epoch_key = self._keys.epoch_key(epoch)
        start = len(VERSION) + _NONCE
        if not sealed.startswith(VERSION) or len(sealed) < start + _TAG:
            raise SealBroken("These words do not open.")
        try:
            with derived(epoch_key, salt=None, info=bound) as key:
                return AESGCM(key).decrypt(sealed[len(VERSION) : start], sealed[start:], bound).decode()
        except InvalidTag:
            raise SealBroken("These words do not open.") from None

    def _bind(self, role: str, request_id: str, epoch: int) -> bytes:
        encoded = (LABEL, *(field.encode() for field in (role, self._site, request_id, str(epoch))))
        return b"".join(len(field).to_bytes(4, "big") + field for field in encoded)
