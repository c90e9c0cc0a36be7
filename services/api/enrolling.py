"""One traveller's enrollment as the HTTP interface does it, alone or in a batch: consent, captures, the answer."""

from __future__ import annotations

import base64
from collections.abc import Callable, Sequence
from io import BytesIO

import segno

from biometrics.errors import UnusableFace
from biometrics.ports import UnitOfWork
from biometrics.records import Consent, EnrollmentRecord, TravelToken
from enrollment.consent import accept_consent
from enrollment.enroll import Enrolled
from infra.database.unit_of_work import SqlUnitOfWork
from infra.receipts import consent_receipt
from services.api.errors import RejectedImage
from services.api.schemas import JSON_OBJECT, ConsentGiven, EnrollmentCreated, Travel
from services.api.uploads import decoded
from services.bootstrap import Dwarpal


def accept(system: Dwarpal, given: ConsentGiven) -> Consent:
    """Check what the traveller ticked against the notice in force, as of now; raises as `accept_consent` does."""
    return accept_consent(
        purposes=frozenset(given.purposes),
        version=given.notice_version,
        sha256=given.notice_sha256,
        language=given.language,
        adult=given.adult,
        at=system.storage.now(),
    )


def enroll_traveller(
    system: Dwarpal,
    *,
    travel: Travel,
    consent: Consent,
    images: Sequence[bytes],
    document: Sequence[bytes] = (),
    keep: Callable[[SqlUnitOfWork, EnrollmentCreated], None] = lambda unit, created: None,
) -> EnrollmentCreated:
    """Enroll from compressed images and return the answer; the caller holds a compute slot.

    `document` holds one image or none. `keep` runs in the transaction that records the enrollment. Raises as
    `EnrollmentService.enroll` and `decode_image` do.
    """
    created: list[EnrollmentCreated] = []

    def before_commit(unit: UnitOfWork, enrolled: Enrolled) -> None:
        created.append(_created(system, enrolled))
        if isinstance(unit, SqlUnitOfWork):
            keep(unit, created[0])

    with decoded(images, system.settings) as captures, decoded(document, system.settings) as documents:
        try:
            system.enrollment.enroll(
                captures,
                consent=consent,
                flight=travel.flight,
                departs_at=travel.departs_at,
                document=documents[0] if documents else None,
                before_commit=before_commit,
            )
        except UnusableFace:
            system.metrics.enrollments.labels("no_usable_image").inc()
            raise
    system.metrics.enrollments.labels("enrolled").inc()
    return created[0]


def _created(system: Dwarpal, enrolled: Enrolled) -> EnrollmentCreated:
    record, storage = enrolled.record, system.storage
    receipt = consent_receipt(
        consent=record.consent,
        enrollment_id=record.id,
        expires_at=record.expires_at,
        key=storage.keys.signing_key(),
        site=storage.settings.site,
        now=storage.now(),
        region=storage.settings.region,
        log_days=storage.settings.effective_log_retention_days,
    )
    return EnrollmentCreated(
        enrollment_id=record.id,
        travel_token=enrolled.token.text,
        travel_token_qr_png=base64.b64encode(token_qr_png(enrolled.token)).decode(),
        expires_at=record.expires_at,
        purposes=sorted(record.consent.purposes),
        accepted=list(enrolled.accepted),
        rejected=[RejectedImage(index=r.index, reason=r.reason) for r in enrolled.rejected],
        flags=flags_of(record),
        audit_index=enrolled.audit_index,
        consent_receipt=JSON_OBJECT.validate_python(receipt),
    )


def token_qr_png(token: TravelToken) -> bytes:
    """Return the token's QR code as a PNG (medium error correction, 6 pixels a module)."""
    png = BytesIO()
    segno.make(token.text, error="m", micro=False).save(png, kind="png", scale=6)
    return png.getvalue()


def flags_of(record: EnrollmentRecord) -> list[str]:
    """Return what an officer must look at first."""
    return ["duplicate_suspected"] if record.duplicate_suspected else []
