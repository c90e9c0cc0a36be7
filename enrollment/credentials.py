"""Journey credentials: issue to the traveller's phone what the server then forgets, and revoke.

In the log a credential is what an enrollment is, a template that gates accept from here to there, with `on_phone` as
the reason; so the offline verifier holds it to the same rules.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from biometrics.credentials import LIST_SIZE, CredentialWriter, StatusPlace, last_epoch
from biometrics.errors import MalformedInput, NotFound, NotReady
from biometrics.ports import Clock, UnitOfWork
from biometrics.records import AuditEvent, Consent, EventKind, Purpose, new_id
from biometrics.types import Pixels
from enrollment.enroll import POLICY_VERSION, EnrollmentService, Rejected

ON_PHONE = "on_phone"
_DRAWS = 64
"""A list nine tenths full has no free place in so many draws once in a thousand times."""


@dataclass(frozen=True, slots=True)
class IssuedCredential:
    """The outcome: the credential (told once, kept nowhere), its place, which images counted, and the log index."""

    text: str = field(repr=False)
    place: StatusPlace
    accepted: tuple[int, ...]
    rejected: tuple[Rejected, ...]
    audit_index: int


@dataclass(frozen=True, slots=True)
class RevokedCredential:
    """A revocation: where the log says so."""

    place: StatusPlace
    audit_index: int


@dataclass(frozen=True)
class CredentialService:
    """Everything that issuing and revoking need; faces are taken by the enrollment service's own steps."""

    enrollment: EnrollmentService
    writer: CredentialWriter
    unit_of_work: Callable[[], UnitOfWork]
    clock: Clock

    def issue(
        self,
        images: Sequence[Pixels],
        *,
        consent: Consent,
        flight: str,
        departs_at: datetime | None,
        document: Pixels | None = None,
    ) -> IssuedCredential:
        """Issue a credential from 1 or more captures and keep nothing but its place.

        1. check the journey and the purposes; 2. to 4. one template, as `EnrollmentService.enroll`;
        5. take a place; 6. encrypt and sign; 7. log; 8. commit.

        Raises as `enroll` does, `MalformedInput` (`walk_through_needs_enrollment`) for a purpose that a phone cannot
        serve, and `NotReady` (`status_list_full`) if no more credentials can end in that hour.
        """
        now = self.clock.now()
        # 1. journey and purposes
        self.enrollment.check_journey(departs_at, now=now)
        if Purpose.WALK_THROUGH in consent.purposes:
            raise MalformedInput("Who walks through without a token is enrolled.", code="walk_through_needs_enrollment")
        # 2. to 4. one template
        with self.enrollment.capture(images, document) as (template, accepted, rejected), self.unit_of_work() as unit:
            # 5. a place
            place = _take_place(unit, last_epoch(now, departs_at))
            # 6. encrypt and sign
            text = self.writer.issue(
                template,
                place=place,
                purposes=consent.purposes,
                flight=flight,
                model_digest=self.enrollment.embedder.model_digest,
            )
            # 7. and 8. log, commit
            index = unit.audit.append(_event(EventKind.ENROLLED, now, place, ON_PHONE, expires_at=place.expires_at))
            unit.commit()
        return IssuedCredential(text, place, accepted, rejected, index)

    def revoke(self, place: StatusPlace) -> RevokedCredential:
        """Revoke: no gate admits from here on. Raises `NotFound` if it expired, was revoked or never issued."""
        with self.unit_of_work() as unit:
            now = self.clock.now()
            if place.expires_at <= now or unit.credentials.revoked(place) is not False:
                raise NotFound
            unit.credentials.revoke(place)
            index = unit.audit.append(_event(EventKind.WITHDRAWN, now, place, ON_PHONE))
            unit.commit()
        return RevokedCredential(place, index)


def expired_credential(place: StatusPlace, now: datetime) -> AuditEvent:
    """Return what the log says when a credential's place is given up after its end."""
    return _event(EventKind.EXPIRED, now, place, ON_PHONE)


def _take_place(unit: UnitOfWork, epoch: int) -> StatusPlace:
    """Take a random place, so that neighbors in a list have nothing in common."""
    for _ in range(_DRAWS):
        place = StatusPlace(epoch, secrets.randbelow(LIST_SIZE))
        if unit.credentials.add(place):
            return place
    raise NotReady("No more credentials can be issued for this hour.", code="status_list_full")


def _event(
    kind: EventKind, now: datetime, place: StatusPlace, reason: str, *, expires_at: datetime | None = None
) -> AuditEvent:
    return AuditEvent(
        kind,
        now,
        new_id(),
        POLICY_VERSION,
        subject=place.id,
        epoch=place.epoch,
        reason=reason,
        expires_at=expires_at,
    )
