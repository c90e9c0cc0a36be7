"""A journey credential: what the traveller carries in place of a record on the server (docs/credentials.md)."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Protocol

from biometrics.errors import MalformedInput
from biometrics.records import EPOCH, Purpose, epoch_of, latest_expiry
from biometrics.types import Template

LIST_SIZE = 2**17
"""Places in one status list: more than the journeys that end in one hour at any airport."""

END_OF_EPOCHS = 70_000_000
"""Epochs lie below this, in the year 9955: later ones have no date."""


@dataclass(frozen=True, slots=True)
class StatusPlace:
    """A credential's place: the status list of the hour in which it expires, and the bit there.

    It is all that the server keeps of a credential, and also its name: `<epoch>-<index>`.
    """

    epoch: int
    index: int

    @property
    def id(self) -> str:
        """The credential's name in receipts, in the log (as a pseudonym) and in paths."""
        return f"{self.epoch}-{self.index}"

    @classmethod
    def parse(cls, text: str) -> StatusPlace:
        """Read a name; raise `MalformedInput`."""
        epoch, _, index = text.partition("-")
        if not (_is_number(epoch) and _is_number(index)) or int(index) >= LIST_SIZE or int(epoch) >= END_OF_EPOCHS:
            raise MalformedInput("This is not the id of a credential.", code="malformed_credential_id")
        return cls(int(epoch), int(index))

    @property
    def expires_at(self) -> datetime:
        """The beginning of the epoch's hour: a credential expires on the hour, so that its place says when."""
        return datetime.fromtimestamp(self.epoch * EPOCH.total_seconds(), UTC)


@dataclass(frozen=True, slots=True)
class JourneyCredential:
    """What a credential of this site says, after its signature was verified.

    `model` are the first `MODEL_DIGITS` digits of the network's SHA-256; `flight` is None where the traveller left it
    out; `sealed` is the encrypted template. Nothing here says who the traveller is.
    """

    place: StatusPlace
    purposes: frozenset[Purpose]
    model: str
    sealed: str = field(repr=False)
    flight: str | None = None

    MODEL_DIGITS = 16

    @property
    def id(self) -> str:
        """The credential's name."""
        return self.place.id

    @property
    def epoch(self) -> int:
        """The epoch whose keys its template is encrypted to and its pseudonym in the log made with."""
        return self.place.epoch

    @property
    def expires_at(self) -> datetime:
        """The end, at most 24 h after departure."""
        return self.place.expires_at


def last_epoch(enrolled_at: datetime, departs_at: datetime | None) -> int:
    """Return the epoch at whose beginning a credential ends: the latest expiry allowed, rounded down to the hour."""
    return epoch_of(latest_expiry(enrolled_at, departs_at))


class CredentialReader(Protocol):
    """What a gate asks of a credential."""

    def read(self, text: str) -> JourneyCredential:
        """Verify the signature and read; raise `MalformedInput` for no credential, `NotPermitted` for a wrong one.

        Expiry and revocation are for the caller to judge.
        """
        ...

    def open(self, credential: JourneyCredential) -> Template:
        """Decrypt the template; raise `SealBroken` or `KeyDestroyed`."""
        ...


class CredentialWriter(Protocol):
    """What an enroller asks for."""

    def issue(
        self, template: Template, *, place: StatusPlace, purposes: frozenset[Purpose], flight: str, model_digest: str
    ) -> str:
        """Encrypt a template to the gates and sign it as a credential; raise `KeyDestroyed` if the epoch has ended."""
        ...


class CredentialStatuses(Protocol):
    """Which credentials were issued, and which of them revoked; nothing about whom they are for."""

    def add(self, place: StatusPlace) -> bool:
        """Take a place; say whether it was free."""
        ...

    def revoked(self, place: StatusPlace) -> bool | None:
        """Say whether a credential is revoked, None for one that was never issued; locked until the unit ends."""
        ...

    def revoke(self, place: StatusPlace) -> None:
        """Revoke a credential for good."""
        ...

    def all_revoked(self, epoch: int) -> list[int]:
        """Return the revoked places of a list, in order."""
        ...

    def expired(self, epoch: int, limit: int) -> list[tuple[StatusPlace, bool]]:
        """Return up to `limit` places of lists up to `epoch`, oldest first, each with whether it is revoked."""
        ...

    def delete(self, place: StatusPlace) -> bool:
        """Give a place up; say whether it was taken."""
        ...


def _is_number(text: str) -> bool:
    """Say whether a text is a whole number in its only spelling, of at most 10 digits."""
    return text.isascii() and text.isdecimal() and len(text) <= 10 and str(int(text)) == text
