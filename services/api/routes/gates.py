"""Gates: the check that opens one, and their management."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated

from fastapi import APIRouter, Depends, Request, Response, status

from biometrics.errors import MalformedInput, NotFound, UnusableFace
from biometrics.records import Gate, TravelToken
from infra.api_keys import Role
from services.administration import add_gate
from services.api.auth import Caller, System, allow
from services.api.middleware import rates_of
from services.api.once import IdempotencyKey, Once, body_digest
from services.api.schemas import CheckAnswer, CheckRequestBody, GateBody, GateState, Page
from services.api.uploads import ComputeSlots, Upload, decoded, multipart_openapi, read_upload
from services.bootstrap import Dwarpal
from verification.check import CheckRequest, CheckResult

router = APIRouter(prefix="/v1/gates", tags=["gates"])


async def _capture(
    request: Request, system: System, caller: Annotated[Caller, Depends(allow(Role.GATE))], gate_id: str
) -> Upload[CheckRequestBody]:
    """Let only this gate's own key through, then read what it sent."""
    if caller.gate_id != gate_id:
        raise NotFound
    rates_of(request).hit(system.settings.rate_gate, "gate", gate_id)
    return await read_upload(request, CheckRequestBody, part="check", files={"image": 1}, settings=system.settings)


@router.post(
    "/{gate_id}/checks",
    response_model=CheckAnswer,
    openapi_extra=multipart_openapi(CheckRequestBody, "check", {"image": "one capture: JPEG, PNG or WebP"}),
    responses={409: {"description": "replayed or stale"}, 422: {"description": "no usable face: capture again"}},
)
def check(
    request: Request, gate_id: str, system: System, sent: Annotated[Upload[CheckRequestBody], Depends(_capture)]
) -> CheckAnswer:
    """Check one traveller: admit, deny or refer. The answer is in the audit log before it is sent."""
    if "image" not in sent.files:
        raise MalformedInput("Send one file as `image`.", code="image_missing")
    token = TravelToken.parse(sent.body.travel_token) if sent.body.travel_token else None
    slots: ComputeSlots = request.app.state.slots
    with slots.taken(), decoded(sent.files["image"], system.settings) as images:
        asked = CheckRequest(gate_id, images[0], sent.body.nonce, sent.body.captured_at, token, sent.body.flight)
        try:
            result = system.checks.check(asked)
        except UnusableFace as error:
            system.metrics.refused_captures.labels(error.code).inc()
            raise
    _measure(system, gate_id, result)
    return CheckAnswer(
        check_id=result.check_id,
        decision=result.decision.outcome,
        reason=result.decision.reason,
        checked_at=result.at,
        audit_index=result.audit_index,
        duration_ms=round(sum(result.stage_ms.values()), 1),
    )


def _measure(system: Dwarpal, gate_id: str, result: CheckResult) -> None:
    system.metrics.checks.labels(gate_id, result.decision.outcome, result.decision.reason).inc()
    for stage, milliseconds in result.stage_ms.items():
        system.metrics.stage_seconds.labels(stage).observe(timedelta(milliseconds=milliseconds).total_seconds())


@router.get("", response_model=Page[GateState], dependencies=[Depends(allow(Role.ADMIN, Role.OFFICER, Role.AUDITOR))])
def list_gates(system: System) -> Page[GateState]:
    """List all gates."""
    with system.storage.reading() as unit:
        gates = unit.gates.all()
    return Page(items=[_state(gate) for gate in gates], next_cursor=None)


@router.post("", response_model=GateState, status_code=status.HTTP_201_CREATED)
def create_gate(
    body: GateBody,
    system: System,
    caller: Annotated[Caller, Depends(allow(Role.ADMIN))],
    digest: Annotated[bytes, Depends(body_digest)],
    idempotency_key: IdempotencyKey = None,
) -> GateState | Response:
    """Create a gate for one purpose."""
    once = Once(system, f"{caller.scope}|gates", idempotency_key, digest)
    if answer := once.replay():
        return answer
    gate = add_gate(
        system.storage,
        Gate(body.id, body.purpose, body.walk_through),
        before_commit=lambda unit, gate: once.keep(unit, status.HTTP_201_CREATED, _state(gate)),
    )
    return _state(gate)


def _state(gate: Gate) -> GateState:
    return GateState(id=gate.id, purpose=gate.purpose, walk_through=gate.walk_through)
