"""Rights requests: access, correction, erasure, grievance, nomination, each with a due date."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Query, Response, status

from biometrics.errors import NotFound
from enrollment.rights import RightsService
from infra.api_keys import Role
from infra.database.unit_of_work import SqlUnitOfWork
from services.api.auth import Caller, System, allow
from services.api.once import IdempotencyKey, Once, body_digest
from services.api.paging import Cursor, Limit, next_cursor
from services.api.rights_schemas import RightsBody, RightsDecision, RightsDetail, RightsSummary
from services.api.schemas import Page
from services.bootstrap import build_rights

router = APIRouter(prefix="/v1/rights-requests", tags=["rights"])


def _service(system: System) -> RightsService[SqlUnitOfWork]:
    return build_rights(system.storage)


Rights = Annotated[RightsService[SqlUnitOfWork], Depends(_service)]
HolderOrOfficer = Annotated[Caller, Depends(allow(Role.OFFICER, holder=True))]
Officer = Annotated[Caller, Depends(allow(Role.OFFICER))]


@router.post("", status_code=status.HTTP_201_CREATED, response_model=RightsSummary)
def file(
    body: RightsBody,
    system: System,
    rights: Rights,
    caller: HolderOrOfficer,
    digest: Annotated[bytes, Depends(body_digest)],
    idempotency_key: IdempotencyKey = None,
) -> RightsSummary | Response:
    """File a request, with the travel token or, for somebody at the desk, as an officer."""
    once = Once(system, f"{caller.scope}|rights", idempotency_key, digest)
    if answer := once.replay():
        return answer
    enrollment_id = body.enrollment_id
    if caller.token is not None:
        if enrollment_id not in (None, caller.token.enrollment_id):
            raise NotFound
        enrollment_id = caller.token.enrollment_id
    now = system.storage.now()
    request = rights.file(
        body.kind,
        body.text,
        enrollment_id=enrollment_id,
        token=caller.token,
        before_commit=lambda unit, request: once.keep(unit, status.HTTP_201_CREATED, RightsSummary.of(request, now)),
    )
    return RightsSummary.of(request, now)


@router.get("", response_model=Page[RightsSummary], dependencies=[Depends(allow(Role.OFFICER))])
def requests(
    system: System,
    only_open: Annotated[bool, Query(alias="open", description="leave out what is closed")] = False,
    limit: Limit = 100,
    cursor: Cursor = 0,
) -> Page[RightsSummary]:
    """List requests without their words: open ones first, the earliest due date first."""
    with system.storage.reading() as unit:
        found = unit.rights.page(cursor, limit + 1, open_only=only_open)
    items = [RightsSummary.of(request, system.storage.now()) for request in found[:limit]]
    return Page(items=items, next_cursor=next_cursor(cursor + limit) if len(found) > limit else None)


@router.get("/{request_id}", response_model=RightsDetail)
def request(request_id: str, system: System, rights: Rights, caller: HolderOrOfficer) -> RightsDetail:
    """Return a request with its words: to its holder, also after the enrollment's end, or to an officer, logged."""
    return RightsDetail.opened(rights.show(request_id, token=caller.token), system.storage.now())


@router.post("/{request_id}/decision", response_model=RightsSummary)
def decide(
    request_id: str,
    body: RightsDecision,
    system: System,
    rights: Rights,
    caller: Officer,
    digest: Annotated[bytes, Depends(body_digest)],
    idempotency_key: IdempotencyKey = None,
) -> RightsSummary | Response:
    """Take a request up, or close it with an answer; a closed one stays closed."""
    once = Once(system, f"{caller.scope}|rights/{request_id}/decision", idempotency_key, digest)
    if answer := once.replay():
        return answer
    now = system.storage.now()
    decided = rights.decide(
        request_id,
        body.state,
        body.answer,
        before_commit=lambda unit, request: once.keep(unit, status.HTTP_200_OK, RightsSummary.of(request, now)),
    )
    return RightsSummary.of(decided, now)
