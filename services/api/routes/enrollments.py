"""Enrollment: the notice, a new enrollment, its state, a change of travel, its end."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request, Response, status
from pydantic import JsonValue

from biometrics.errors import MalformedInput, NotPermitted
from biometrics.records import EnrollmentRecord, TravelToken
from enrollment.consent import LANGUAGES, Notice, NoticeLanguage
from infra.api_keys import Role
from infra.receipts import deletion_receipt
from services.api.auth import Caller, System, allow, own_record
from services.api.enrolling import accept, enroll_traveller, flags_of
from services.api.once import IdempotencyKey, Once
from services.api.schemas import (
    JSON_OBJECT,
    Deleted,
    EnrollmentCreated,
    EnrollmentRequest,
    EnrollmentState,
    Page,
    Review,
    TravelChange,
)
from services.api.uploads import ComputeSlots, Upload, multipart_openapi, read_upload

router = APIRouter(prefix="/v1", tags=["enrollment"])


@router.get("/notice", response_model=dict[str, JsonValue])
def notice(lang: Annotated[str, Query(pattern="^[a-z]{2,3}$")] = "en") -> dict[str, JsonValue]:
    """Return the consent notice in a language, with its version and hash."""
    text = Notice.in_language(lang)
    return {**JSON_OBJECT.validate_python(text.model_dump(mode="json")), "sha256": text.sha256}


async def _captures(
    request: Request, system: System, _caller: Annotated[Caller, Depends(allow(Role.ENROLLER, visitor=True))]
) -> Upload[EnrollmentRequest]:
    """Let enrollers through, then read what they sent."""
    files = {"images": system.settings.max_images, "document": 1}
    return await read_upload(request, EnrollmentRequest, part="enrollment", files=files, settings=system.settings)


@router.get("/notices", response_model=Page[NoticeLanguage])
def notices() -> Page[NoticeLanguage]:
    """List the languages that the notice is in: name, script, direction, fonts, and whether a person reviewed it."""
    texts = [Notice.in_language(language) for language in LANGUAGES]
    shown = set(NoticeLanguage.model_fields)
    return Page(items=[NoticeLanguage(**text.model_dump(include=shown)) for text in texts], next_cursor=None)


@router.post(
    "/enrollments",
    status_code=status.HTTP_201_CREATED,
    response_model=EnrollmentCreated,
    openapi_extra=multipart_openapi(
        EnrollmentRequest,
        "enrollment",
        {"images*": "one or more captures of the traveller", "document?": "photograph on the travel document"},
    ),
    responses={409: {"description": "other notice, different persons, or document mismatch"}},
)
def enroll(
    request: Request,
    system: System,
    caller: Annotated[Caller, Depends(allow(Role.ENROLLER, visitor=True))],
    sent: Annotated[Upload[EnrollmentRequest], Depends(_captures)],
    idempotency_key: IdempotencyKey = None,
) -> EnrollmentCreated | Response:
    """Enroll a traveller from captures and consent; nothing of the captures is kept but one sealed template."""
    once = Once(system, f"{caller.scope}|enroll", idempotency_key, sent.digest)
    if answer := once.replay():
        return answer
    if not sent.files.get("images"):
        raise MalformedInput("Send at least one file as `images`.", code="image_missing")
    consent = accept(system, sent.body.consent)
    slots: ComputeSlots = request.app.state.slots
    with slots.taken():
        return enroll_traveller(
            system,
            travel=sent.body.travel,
            consent=consent,
            images=sent.files["images"],
            document=sent.files.get("document", []),
            keep=lambda unit, created: once.keep(unit, status.HTTP_201_CREATED, created),
        )


@router.get("/enrollments/{enrollment_id}", response_model=EnrollmentState)
def state(
    enrollment_id: str, system: System, caller: Annotated[Caller, Depends(allow(Role.OFFICER, holder=True))]
) -> EnrollmentState:
    """Return what is held: to the holder of its token, or to an officer."""
    return _state(own_record(system, caller, enrollment_id))


def _state(record: EnrollmentRecord) -> EnrollmentState:
    return EnrollmentState(
        enrollment_id=record.id,
        status="active",
        flight=record.flight,
        departs_at=record.departs_at,
        enrolled_at=record.enrolled_at,
        expires_at=record.expires_at,
        purposes=sorted(record.consent.purposes),
        flags=flags_of(record),
    )


@router.patch("/enrollments/{enrollment_id}/travel", response_model=EnrollmentState)
def change_travel(
    enrollment_id: str,
    body: TravelChange,
    system: System,
    caller: Annotated[Caller, Depends(allow(Role.ENROLLER, holder=True))],
) -> EnrollmentState:
    """Move the departure, or cancel it; the template is sealed anew for its new expiry, which takes the token."""
    token = caller.token or (TravelToken.parse(body.travel_token) if body.travel_token else None)
    if token is None or token.enrollment_id != enrollment_id:
        raise NotPermitted("The travel token of this enrollment is needed.", code="travel_token_needed")
    own_record(system, Caller(None, caller.scope, token=token), enrollment_id)
    return _state(system.retention.move(token, departs_at=body.departs_at))


@router.delete("/enrollments/{enrollment_id}", response_model=Deleted)
def withdraw(
    enrollment_id: str, system: System, caller: Annotated[Caller, Depends(allow(Role.OFFICER, holder=True))]
) -> Deleted:
    """Withdraw consent: erased now, with a signed receipt that carries its proof of inclusion in the log."""
    record = own_record(system, caller, enrollment_id)
    erased = system.retention.withdraw(record.id)
    storage = system.storage
    with storage.unit_of_work() as unit:
        receipt = deletion_receipt(
            log=unit.log,
            index=erased.audit_index,
            epoch=erased.epoch,
            now=storage.now(),
        )
        unit.commit()
    system.metrics.erasures.labels("withdrawn").inc()
    return Deleted(receipt=JSON_OBJECT.validate_python(receipt), pages_scrubbed=erased.scrubbed)


@router.post(
    "/enrollments/{enrollment_id}/review",
    status_code=status.HTTP_204_NO_CONTENT,
    dependencies=[Depends(allow(Role.OFFICER))],
)
def review(enrollment_id: str, body: Review, system: System) -> None:
    """Record an officer's finding on a suspected duplicate."""
    system.retention.review(enrollment_id, cleared=body.cleared)
