"""Journey credentials: issue to the traveller's phone, tell who may trust them, revoke. The server keeps a bit."""

from __future__ import annotations

import base64
from typing import Annotated

from fastapi import APIRouter, Depends, Path, Request, Response, Security, status
from fastapi.security import HTTPAuthorizationCredentials

from biometrics.credentials import END_OF_EPOCHS, StatusPlace
from biometrics.errors import MalformedInput, NotAuthenticated, NotFound, NotPermitted, UnusableFace
from biometrics.records import Consent
from enrollment.credentials import IssuedCredential
from infra.api_keys import Role
from infra.credentials.journey import SiteCredentials, issuer_of
from infra.credentials.qr import qr_png
from infra.credentials.status_list import MEDIA_TYPE, sign_status_list
from infra.receipts import consent_receipt, deletion_receipt
from services.api.auth import Caller, System, allow, bearer, identify
from services.api.credential_schemas import CredentialIssued, CredentialState, Issuer
from services.api.enrolling import accept
from services.api.errors import RejectedImage
from services.api.middleware import rates_of
from services.api.schemas import JSON_OBJECT, Deleted, EnrollmentRequest
from services.api.uploads import ComputeSlots, Upload, decoded, multipart_openapi, read_upload
from services.bootstrap import Dwarpal, build_credentials

router = APIRouter(tags=["credentials"])


async def _captures(
    request: Request, system: System, _caller: Annotated[Caller, Depends(allow(Role.ENROLLER))]
) -> Upload[EnrollmentRequest]:
    """Let enrollers through, then read what they sent."""
    files = {"images": system.settings.max_images, "document": 1}
    return await read_upload(request, EnrollmentRequest, part="enrollment", files=files, settings=system.settings)


@router.post(
    "/v1/credentials",
    status_code=status.HTTP_201_CREATED,
    response_model=CredentialIssued,
    openapi_extra=multipart_openapi(
        EnrollmentRequest,
        "enrollment",
        {"images*": "one or more captures of the traveller", "document?": "photograph on the travel document"},
    ),
    responses={409: {"description": "other notice, different persons, or document mismatch"}},
)
def issue(
    request: Request, system: System, sent: Annotated[Upload[EnrollmentRequest], Depends(_captures)]
) -> CredentialIssued:
    """Issue a credential from captures and consent. A repeat issues another one: no answer is kept for it."""
    if not sent.files.get("images"):
        raise MalformedInput("Send at least one file as `images`.", code="image_missing")
    consent = accept(system, sent.body.consent)
    slots: ComputeSlots = request.app.state.slots
    travel, settings, outcomes = sent.body.travel, system.settings, system.metrics.enrollments
    with (
        slots.taken(),
        decoded(sent.files["images"], settings) as captures,
        decoded(sent.files.get("document", []), settings) as documents,
    ):
        try:
            issued = build_credentials(system).issue(
                captures,
                consent=consent,
                flight=travel.flight,
                departs_at=travel.departs_at,
                document=documents[0] if documents else None,
            )
        except UnusableFace:
            outcomes.labels("no_usable_image").inc()
            raise
    outcomes.labels("on_phone").inc()
    return _issued(system, issued, consent)


def _issued(system: Dwarpal, issued: IssuedCredential, consent: Consent) -> CredentialIssued:
    storage, place = system.storage, issued.place
    receipt = consent_receipt(
        consent=consent,
        enrollment_id=place.id,
        expires_at=place.expires_at,
        key=storage.keys.signing_key(),
        site=storage.settings.site,
        now=storage.now(),
        region=storage.settings.region,
        log_days=storage.settings.effective_log_retention_days,
        on_phone=True,
    )
    return CredentialIssued(
        credential_id=place.id,
        credential=issued.text,
        credential_qr_png=base64.b64encode(qr_png(issued.text)).decode(),
        expires_at=place.expires_at,
        purposes=sorted(consent.purposes),
        accepted=list(issued.accepted),
        rejected=[RejectedImage(index=r.index, reason=r.reason) for r in issued.rejected],
        audit_index=issued.audit_index,
        consent_receipt=JSON_OBJECT.validate_python(receipt),
    )


def _place(
    request: Request,
    system: System,
    credential_id: Annotated[str, Path(max_length=30)],
    credentials: Annotated[HTTPAuthorizationCredentials | None, Security(bearer)],
) -> StatusPlace:
    """Let an officer through, or the holder of this very credential."""
    place = StatusPlace.parse(credential_id)
    if credentials is None or "~" not in credentials.credentials:
        if identify(request, system, credentials).role is not Role.OFFICER:
            raise NotPermitted("This key's role does not allow this.")
        return place
    try:
        own = SiteCredentials(system.storage.keys, system.settings.site).read(credentials.credentials).place
    except (MalformedInput, NotPermitted):
        raise NotAuthenticated("The credential is not one of this site.") from None
    rates_of(request).hit(system.settings.rate_holder, "holder", own.id)
    if own != place:
        raise NotFound
    return place


@router.get("/v1/credentials/{credential_id}", response_model=CredentialState)
def state(system: System, place: Annotated[StatusPlace, Depends(_place)]) -> CredentialState:
    """Say whether a credential is in force: to its holder, who sends it as the bearer, or to an officer."""
    with system.storage.reading() as unit:
        revoked = unit.credentials.revoked(place)
    if revoked is None or place.expires_at <= system.storage.now():
        raise NotFound
    return CredentialState(credential_id=place.id, revoked=revoked, expires_at=place.expires_at)


@router.delete("/v1/credentials/{credential_id}", response_model=Deleted)
def revoke(system: System, place: Annotated[StatusPlace, Depends(_place)]) -> Deleted:
    """Withdraw consent: no gate admits with this credential from now on; the receipt is a deletion receipt."""
    revoked = build_credentials(system).revoke(place)
    storage = system.storage
    with storage.unit_of_work() as unit:
        receipt = deletion_receipt(
            log=unit.log,
            index=revoked.audit_index,
            epoch=place.epoch,
            now=storage.now(),
        )
        unit.commit()
    system.metrics.erasures.labels("withdrawn").inc()
    return Deleted(receipt=JSON_OBJECT.validate_python(receipt), pages_scrubbed=True)


@router.get("/v1/status/{epoch}", response_class=Response, responses={200: {"content": {MEDIA_TYPE: {}}}})
def status_list(epoch: Annotated[int, Path(ge=0, lt=END_OF_EPOCHS)], system: System) -> Response:
    """Return an hour's status list as a signed token (draft-ietf-oauth-status-list); 404 once it is over."""
    storage = system.storage
    now = storage.now()
    if StatusPlace(epoch, 0).expires_at <= now:
        raise NotFound
    with storage.reading() as unit:
        revoked = unit.credentials.all_revoked(epoch)
    key, site = storage.keys.signing_key(), storage.settings.site
    kid = SiteCredentials(storage.keys, site).public_key.kid
    return Response(sign_status_list(epoch, revoked, key, kid, site=site, now=now), media_type=MEDIA_TYPE)


@router.get("/.well-known/jwt-vc-issuer", response_model=Issuer)
def issuer(system: System) -> Issuer:
    """Return the key that signs credentials and status lists, then former ones of credentials still in force."""
    site = system.settings.site
    keys = SiteCredentials(system.storage.keys, site).public_keys(system.storage.now())
    return Issuer(issuer=issuer_of(site), jwks={"keys": [key.jwk() for key in keys]})
