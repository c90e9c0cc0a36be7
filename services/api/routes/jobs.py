"""Batch enrollment: many travellers in one request, worked on one after the other, each with an outcome of its own."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from functools import partial
from typing import Annotated

import structlog
from fastapi import APIRouter, Depends, Request, Response, status

from biometrics.errors import DwarpalError, MalformedInput, TooLarge
from biometrics.records import Consent
from infra.api_keys import Role
from infra.telemetry import fault
from services.api.auth import Caller, System, allow
from services.api.enrolling import accept, enroll_traveller
from services.api.errors import rejected_by, status_of
from services.api.once import IdempotencyKey, Once
from services.api.schemas import BatchItem, BatchRequest, ItemProblem, JobCounts, JobItem, JobState, Travel
from services.api.uploads import ComputeSlots, Upload, multipart_openapi, read_upload
from services.bootstrap import Dwarpal
from services.jobs import Job, Jobs

log = structlog.get_logger()

router = APIRouter(prefix="/v1", tags=["enrollment"])


def jobs_of(request: Request) -> Jobs[JobItem]:
    """Return the application's jobs."""
    jobs = request.app.state.jobs
    assert isinstance(jobs, Jobs)  # noqa: S101 - tells the type checker what create_app stored
    return jobs


BatchJobs = Annotated[Jobs[JobItem], Depends(jobs_of)]


async def _batch(
    request: Request, system: System, _caller: Annotated[Caller, Depends(allow(Role.ENROLLER))]
) -> Upload[BatchRequest]:
    """Let enrollers through, then read what they sent."""
    files = {"images": system.settings.max_batch_items * system.settings.max_images}
    return await read_upload(request, BatchRequest, part="batch", files=files, settings=system.settings)


@router.post(
    "/enrollments/batch",
    status_code=status.HTTP_202_ACCEPTED,
    response_model=JobState,
    openapi_extra=multipart_openapi(
        BatchRequest, "batch", {"images*": "captures of all travellers; each file's name stands in exactly one item"}
    ),
    responses={503: {"description": "`busy`: too many batches wait; see Retry-After"}},
)
def enroll_batch(
    request: Request,
    system: System,
    jobs: BatchJobs,
    caller: Annotated[Caller, Depends(allow(Role.ENROLLER))],
    sent: Annotated[Upload[BatchRequest], Depends(_batch)],
    idempotency_key: IdempotencyKey = None,
) -> JobState | Response:
    """Take a batch in, whole or not at all: a fault in any item refuses it; then each succeeds or fails on its own."""
    once = Once(system, f"{caller.scope}|batch", idempotency_key, _digest(sent))
    if answer := once.replay():
        return answer
    slots: ComputeSlots = request.app.state.slots
    consents = accept_items(system, sent.body.items)
    captures = match_images(sent.body.items, sent.names.get("images", []), sent.files.get("images", []))
    work = [
        partial(_outcome, system, slots, index, item.travel, consent, images)
        for index, (item, consent, images) in enumerate(zip(sent.body.items, consents, captures, strict=True))
    ]

    def keep(job: Job[JobItem]) -> None:
        with system.storage.unit_of_work() as unit:
            once.keep(unit, status.HTTP_202_ACCEPTED, _state(job))
            unit.commit()

    return _state(jobs.submit(caller.scope, work, before_start=keep))


@router.get("/jobs/{job_id}", response_model=JobState)
def job_state(job_id: str, jobs: BatchJobs, caller: Annotated[Caller, Depends(allow(Role.ENROLLER))]) -> JobState:
    """Return progress and outcomes, to the key that sent the batch."""
    return _state(jobs.get(job_id, caller.scope))


def match_images(items: Sequence[BatchItem], names: Sequence[str], images: Sequence[bytes]) -> list[list[bytes]]:
    """Give each item its images by file name; raise `MalformedInput` unless each file belongs to exactly one item."""
    by_name = dict(zip(names, images, strict=True))
    if len(by_name) != len(names):
        raise MalformedInput("Two files have the same name.", code="duplicate_file_name")
    matched: list[list[bytes]] = []
    for index, item in enumerate(items):
        if not set(item.images) <= by_name.keys() or len(set(item.images)) != len(item.images):
            raise MalformedInput(
                f"items.{index}.images: a file is missing, or is named more than once in this batch.",
                code="image_missing",
            )
        matched.append([by_name.pop(name) for name in item.images])
    if by_name:
        raise MalformedInput(f"{len(by_name)} file(s) belong to no item.", code="image_unused")
    return matched


def accept_items(system: Dwarpal, items: Sequence[BatchItem]) -> list[Consent]:
    """Check number, journey and consent of all items; every fault is a `MalformedInput` that names the item's place."""
    if len(items) > system.settings.max_batch_items:
        raise TooLarge(f"At most {system.settings.max_batch_items} items make a batch.", code="too_many_items")
    consents = []
    for index, item in enumerate(items):
        try:
            if len(item.images) > system.settings.max_images:
                most = system.settings.max_images
                raise TooLarge(f"At most {most} file(s) may be sent of one traveller.", code="too_many_images")
            system.enrollment.check_journey(item.travel.departs_at, now=system.storage.now())
            consents.append(accept(system, item.consent))
        except DwarpalError as error:
            raise MalformedInput(f"items.{index}: {error.detail}", code=error.code) from None
    return consents


def _outcome(
    system: Dwarpal, slots: ComputeSlots, index: int, travel: Travel, consent: Consent, images: list[bytes]
) -> JobItem:
    """Work on one item; it waits for a compute slot as long as gates need them all, and takes one at most."""
    try:
        with slots.taken(patience=None):
            created = enroll_traveller(system, travel=travel, consent=consent, images=images)
    except DwarpalError as error:
        if status_of(error) == 500:
            return _unexpected(index, error)
        rejected = rejected_by(error) or []
        return JobItem(index=index, problem=ItemProblem(code=error.code, detail=error.detail, rejected=rejected))
    except Exception as error:  # noqa: BLE001 - one item's failure must not end the others
        return _unexpected(index, error)
    return JobItem(index=index, enrollment=created)


def _unexpected(index: int, error: Exception) -> JobItem:
    log.error("batch_item_failed", **fault(error))
    detail = "Something went wrong here with this traveller: enroll them again."
    return JobItem(index=index, problem=ItemProblem(code="internal_error", detail=detail, rejected=[]))


def _state(job: Job[JobItem]) -> JobState:
    enrolled = sum(item.enrollment is not None for item in job.outcomes)
    counts = JobCounts(total=job.total, enrolled=enrolled, failed=len(job.outcomes) - enrolled)
    return JobState(job_id=job.id, status=job.status, counts=counts, items=list(job.outcomes))


def _digest(sent: Upload[BatchRequest]) -> bytes:
    """Return the digest of a batch: in a batch the files' names say whose they are, so they count too."""
    digest = hashlib.sha256(sent.digest)
    for name in sent.names.get("images", []):
        digest.update(hashlib.sha256(name.encode()).digest())
    return digest.digest()
