"""Where witnesses leave their cosignatures of the audit log's checkpoints."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Request, Response

from biometrics.errors import MalformedInput
from infra.api_keys import Role
from infra.audit.witness import Witnessing
from infra.database.unit_of_work import SqlUnitOfWork
from services.api.auth import System, allow
from services.bootstrap import Dwarpal

router = APIRouter(prefix="/v1/audit", tags=["audit"])
TEXT = {"text/plain": {"schema": {"type": "string"}}}


def witnessing(system: Dwarpal, unit: SqlUnitOfWork) -> Witnessing:
    """Return the cosignatures of the open unit's log."""
    return Witnessing(unit.session, unit.log, system.storage.keys, system.settings.witness_keys())


async def text_of(request: Request) -> str:
    """Return the request's body as text."""
    try:
        return (await request.body()).decode()
    except UnicodeDecodeError:
        raise MalformedInput("A checkpoint is text.", code="malformed_checkpoint") from None


@router.post(
    "/cosignatures",
    response_class=Response,
    responses={200: {"content": {"text/plain": {"example": ""}}}},
    dependencies=[Depends(allow(Role.AUDITOR, Role.ADMIN))],
    openapi_extra={"requestBody": {"content": TEXT, "required": True}},
)
def cosign(system: System, note: Annotated[str, Depends(text_of)]) -> Response:
    """Keep a witness's cosignature: send a checkpoint of this log with the witness's lines below ours.

    The answer is the checkpoint with every cosignature that it has now. C2SP tlog-cosignature, Ed25519 or ML-DSA-44.
    """
    with system.storage.unit_of_work() as unit:
        size = witnessing(system, unit).add(note, int(system.storage.now().timestamp()))
        text = unit.log.published(unit.log.checkpoint(size))
        unit.commit()
    return Response(text, media_type="text/plain; charset=utf-8")
