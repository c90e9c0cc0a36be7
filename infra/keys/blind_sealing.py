"""Sealing where gates compare blindly: in the envelope lies the template as its key holder's ciphertext.

    envelope  02 | nonce 12 | AES-256-GCM(data key; BFV ciphertext) | tag 16

All else is as in `sealing.py`: whoever opens the envelope, with the traveller's share and the epoch key, has a
ciphertext.
"""

from __future__ import annotations

from types import TracebackType
from typing import Protocol, Self

from biometrics.errors import MalformedInput, SealBroken
from biometrics.ports import HeldTemplate
from biometrics.records import EnrollmentRecord, SealedTemplate, TravelToken
from biometrics.types import Template
from infra.blind import BlindSide, least, whole
from infra.keys.sealing import EnvelopeSealer, in_the_clear
from infra.keys.store import KeyStore


class Holder(Protocol):
    """Whoever reads dot products."""

    def enough(self, product: bytes, smallest: int) -> bool:
        """Say whether a dot product is enough."""
        ...


class BlindTemplate:
    """A template that nobody here can read; compared by asking the key holder."""

    __slots__ = ("_holder", "_side", "encrypted")

    def __init__(self, encrypted: bytes, side: BlindSide, holder: Holder) -> None:
        self.encrypted = encrypted
        self._side = side
        self._holder = holder

    def __repr__(self) -> str:
        return "<BlindTemplate>"

    def matches(self, probe: Template, threshold: float) -> bool:
        """Say whether a probe's cosine with it reaches a threshold; raise `SealBroken` or `NotReady`."""
        numbers = whole(probe.vector)
        return self._holder.enough(self._side.multiply(self.encrypted, numbers), least(threshold, numbers))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Nothing is to be overwritten: a ciphertext tells nothing here."""


class BlindSealer(EnvelopeSealer):
    """Seals templates that gates compare without seeing them; there is no walk-through."""

    envelope_version = b"\x02"

    def __init__(self, keys: KeyStore, site: str, side: BlindSide, holder: Holder) -> None:
        super().__init__(keys, site)
        self._side = side
        self._holder = holder

    def __repr__(self) -> str:
        return "<BlindSealer>"

    def seal(
        self, template: HeldTemplate, *, token: TravelToken, epoch: int, model_digest: str, for_gallery: bool
    ) -> SealedTemplate:
        """Encrypt a template to the key holder and seal it; one that is encrypted already is sealed as it is.

        Raises `MalformedInput` (`walk_through_not_offered`) for a gallery, `KeyDestroyed` if the epoch has ended.
        """
        if for_gallery:
            raise MalformedInput(
                "This site compares blindly: walking through without the token is not offered.",
                code="walk_through_not_offered",
            )
        encrypted = (
            template.encrypted if isinstance(template, BlindTemplate) else self._side.encrypt(in_the_clear(template))
        )
        return self._seal(bytearray(encrypted), token, epoch, model_digest, for_gallery=False)

    def open_with_token(self, record: EnrollmentRecord, token: TravelToken) -> BlindTemplate:
        """Open the envelope with the traveller's share; raise `SealBroken` or `KeyDestroyed`."""
        return BlindTemplate(bytes(self._open_with_token(record, token)), self._side, self._holder)

    def open_for_gallery(self, record: EnrollmentRecord) -> Template:
        """Raise `SealBroken`: nothing is sealed for a gallery here."""
        raise SealBroken("There is no walk-through where templates are compared blindly.")
