"""The audit log over HTTP: checkpoint for anyone; entries, proofs and the bundle for auditors."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from datetime import timedelta
from tempfile import TemporaryFile
from typing import Annotated, BinaryIO, Literal

from fastapi import APIRouter, Depends, Query, Response
from fastapi.responses import StreamingResponse

from biometrics.records import EventKind
from infra.api_keys import Role
from infra.audit.activity import Activity
from infra.audit.checkpoint import verifier_key
from infra.audit.export import post_quantum_vkey
from infra.audit.rotation import public_key
from infra.database import site_state
from services.api.audit_schemas import AuditFigures, Refusal, Retention, Step
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
STEPS = 24
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
    system: System,
    limit: Limit = 100,
    cursor: Cursor = 0,
    event: EventKind | None = None,
    gate: str | None = None,
    decision: Literal["admit", "deny", "refer"] | None = None,
    newest: Annotated[bool, Query(description="the newest first")] = False,
) -> Page[AuditLine]:
    """List entries in order, filtered by event, gate or decision."""
    with system.storage.reading() as unit:
        # Downwards a cursor is one more than where the page begins, for a page may begin at 0.
        start = cursor if not newest else cursor - 1 if cursor else unit.log.size()
        found = unit.log.entries(start, limit + 1, event=event, gate_id=gate, decision=decision, newest_first=newest)
    page = [
        AuditLine(index=e.index, leaf=e.leaf.decode("ascii"), entry=JSON_OBJECT.validate_python(e.fields()))
        for e in found[:limit]
    ]
    return Page(items=page, next_cursor=next_cursor(found[limit].index + newest) if len(found) > limit else None)


@router.get("/figures", response_model=AuditFigures, dependencies=auditor)
def figures(
    system: System, hours: Annotated[int, Query(ge=1, le=24 * 7, description="how far back")] = 24
) -> AuditFigures:
    """Count decisions, refusals by reason and entries of the last hours, and say how old the oldest template is.

    In steps of a 24th of the span. What is held is what the database holds at this moment.
    """
    now = system.storage.now()
    span = timedelta(hours=hours)
    with system.storage.reading() as unit:
        activity, held = Activity(unit.session), site_state.held(unit, now)
        return AuditFigures(
            since=now - span,
            until=now,
            step_seconds=int(span.total_seconds()) // STEPS,
            steps=[Step(**asdict(step)) for step in activity.steps(now - span, span / STEPS, STEPS)],
            refusals=[Refusal(decision=d, reason=r, count=n) for d, r, n in activity.refusals(now - span)],
            events=activity.events(now - span),
            size=unit.log.size(),
            retention=Retention(
                held=held.templates,
                overdue=held.overdue,
                oldest_enrolled_at=held.oldest,
                oldest_expires_at=held.oldest_expiry,
                next_expiry_at=held.next_expiry,
            ),
        )


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
