"""The audit log over HTTP: checkpoint for anyone; entries, proofs and the bundle for auditors."""

from __future__ import annotations

from collections.abc import Iterator
from tempfile import TemporaryFile
from typing import Annotated, BinaryIO

from fastapi import APIRouter, Depends, Query, Response
from fastapi.responses import StreamingResponse

from biometrics.records import EventKind
from infra.api_keys import Role
from infra.audit.checkpoint import verifier_key
from infra.audit.export import post_quantum_vkey
from infra.audit.rotation import public_key
from services.api.auth import System, allow
from services.api.paging import Cursor, Limit, next_cursor
from services.api.routes.witness import witnessing
from services.api.schemas import (
    JSON_OBJECT,
    AuditLine,
    ConsistencyProof,
    InclusionProof,
    Page,
    SignedRotation,
    SigningKeys,
)
from services.export import export_log

router = APIRouter(prefix="/v1/audit", tags=["audit"])
auditor = [Depends(allow(Role.AUDITOR, Role.ADMIN))]
Size = Annotated[int, Query(ge=0, le=2**62)]


@router.get("/checkpoint", response_class=Response, responses={200: {"content": {"text/plain": {"example": ""}}}})
def checkpoint(
    system: System,
    cosigned: Annotated[int, Query(ge=0, le=16, description="the newest with so many witnesses")] = 0,
) -> Response:
    """Return the signed tree head as a C2SP tlog-checkpoint, with the cosignatures that it has."""
    with system.storage.reading() as unit:
        size = witnessing(system, unit).newest(cosigned) if cosigned else None
        text = unit.log.published(unit.log.checkpoint(size, keep=False))
    return Response(text, media_type="text/plain; charset=utf-8")


@router.get("/keys", response_model=SigningKeys)
def signing_keys(system: System) -> SigningKeys:
    """Return the verifier keys of checkpoints and receipts, and the proof of each rotation, oldest first.

    Who pins a former key follows it to the present one; who pins none learns here only what the site claims.
    """
    with system.storage.reading() as unit:
        site, key, rotations = unit.log.site, unit.log.signer.key(), unit.log.rotations()
    return SigningKeys(
        vkey=verifier_key(site, key.public_key()),
        post_quantum_vkey=post_quantum_vkey(site, key),
        rotations=[
            SignedRotation(
                index=r.index,
                time=r.time,
                leaf=r.leaf.decode("ascii"),
                checkpoint=r.checkpoint,
                hashes=[step.hex() for step in r.proof],
                former_vkey=verifier_key(site, public_key(r.keys.old_key)),
                vkey=verifier_key(site, public_key(r.keys.new_key)),
            )
            for r in rotations
        ],
    )


@router.get("/entries", response_model=Page[AuditLine], dependencies=auditor)
def entries(
    system: System, limit: Limit = 100, cursor: Cursor = 0, event: EventKind | None = None, gate: str | None = None
) -> Page[AuditLine]:
    """List entries in order, filtered by event or gate."""
    with system.storage.reading() as unit:
        found = unit.log.entries(cursor, limit + 1, event=event, gate_id=gate)
    page = [
        AuditLine(index=e.index, leaf=e.leaf.decode("ascii"), entry=JSON_OBJECT.validate_python(e.fields()))
        for e in found[:limit]
    ]
    return Page(items=page, next_cursor=next_cursor(found[limit].index) if len(found) > limit else None)


@router.get("/proofs/inclusion", response_model=InclusionProof, dependencies=auditor)
def inclusion(system: System, index: Size, tree_size: Size | None = None) -> InclusionProof:
    """Prove that an entry stands in the tree of `tree_size` entries, by default the present one."""
    with system.storage.reading() as unit:
        size = unit.log.size() if tree_size is None else tree_size
        hashes = [h.hex() for h in unit.log.inclusion_proof(index, size)]
    return InclusionProof(index=index, tree_size=size, hashes=hashes)


@router.get("/proofs/consistency", response_model=ConsistencyProof, dependencies=auditor)
def consistency(system: System, old_size: Size, tree_size: Size | None = None) -> ConsistencyProof:
    """Prove that the tree of `tree_size` entries extends the one of `old_size`."""
    with system.storage.reading() as unit:
        size = unit.log.size() if tree_size is None else tree_size
        hashes = [h.hex() for h in unit.log.consistency_proof(old_size, size)]
    return ConsistencyProof(old_size=old_size, tree_size=size, hashes=hashes)


@router.get("/export", response_class=StreamingResponse, dependencies=auditor)
def export(system: System) -> StreamingResponse:
    """Return the whole log as one bundle for the offline verifier.

    It is written first, so that a failure is a problem and not half a file; the log holds nothing personal.
    """
    bundle = TemporaryFile()  # noqa: SIM115 - closed by the response, when it is through
    try:
        export_log(system.storage, bundle)
    except BaseException:
        bundle.close()
        raise
    return StreamingResponse(
        _chunks(bundle),
        media_type="application/jsonl",
        headers={"Content-Disposition": 'attachment; filename="audit.jsonl"'},
    )


def _chunks(bundle: BinaryIO) -> Iterator[bytes]:
    with bundle:
        bundle.seek(0)
        while chunk := bundle.read(1 << 16):
            yield chunk
