"""Gates: the check that opens one, and their management."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import Annotated

from fastapi import APIRouter, Depends, Request, Response, status

from biometrics.errors import MalformedInput, NotFound, NotPermitted, UnusableFace
from biometrics.records import Gate, TravelToken
from biometrics.types import Pixels
from infra.api_keys import Role
from infra.credentials.sd_jwt import SdJwt
from liveness.cue import MOST_FRAMES
from liveness.injection import CaptureClaim, CaptureSignature
from services.administration import add_gate, change_gate
from services.api.auth import Caller, System, allow
from services.api.middleware import rates_of
from services.api.once import IdempotencyKey, Once, body_digest
from services.api.schemas import CheckAnswer, CheckRequestBody, GateBody, GateChange, GateState, Page
from services.api.uploads import ComputeSlots, Upload, decoded, multipart_openapi, read_upload
from services.bootstrap import Dwarpal
from verification.check import CheckRequest, CheckResult

router = APIRouter(prefix="/v1/gates", tags=["gates"])

BURST_SHARE = 4
"""Each frame of a burst may have this part of the pixels of a single image, so that a burst costs no more memory."""


async def _capture(
    request: Request, system: System, caller: Annotated[Caller, Depends(allow(Role.GATE))], gate_id: str
) -> Upload[CheckRequestBody]:
    """Let only this gate's own key through, then read what it sent."""
    if caller.gate_id != gate_id:
        raise NotFound
    rates_of(request).hit(system.settings.rate_gate, "gate", gate_id)
    files = {"image": 1, "images": MOST_FRAMES}
    return await read_upload(request, CheckRequestBody, part="check", files=files, settings=system.settings)


@router.post(
    "/{gate_id}/checks",
    response_model=CheckAnswer,
    openapi_extra=multipart_openapi(
        CheckRequestBody,
        "check",
        {"image?": "one capture: JPEG, PNG or WebP", "images*?": "in its place a burst of 3 to 8 frames, in order"},
    ),
    responses={
        403: {"description": "this gate takes signed captures only, or the signature is not by a device of its own"},
        409: {"description": "replayed or stale"},
        422: {"description": "no usable face: capture again"},
    },
)
def check(
    request: Request, gate_id: str, system: System, sent: Annotated[Upload[CheckRequestBody], Depends(_capture)]
) -> CheckAnswer:
    """Check one traveller: admit, deny or refer. The answer is in the audit log before it is sent."""
    slots: ComputeSlots = request.app.state.slots
    try:
        result = system.checks.check(_asked(gate_id, sent, system, slots))
    except (UnusableFace, NotPermitted) as error:
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


def _asked(gate_id: str, sent: Upload[CheckRequestBody], system: Dwarpal, slots: ComputeSlots) -> CheckRequest:
    """Turn what was sent into a request whose frames are decoded only once the check asks for them."""
    if ("image" in sent.files) == ("images" in sent.files):
        raise MalformedInput("Send one file as `image`, or 3 to 8 as `images`.", code="image_missing")
    files, body = sent.files.get("image") or sent.files["images"], sent.body
    if body.travel_token and body.credential:
        raise MalformedInput("Send a travel token or a credential, not both.", code="two_claims")
    most = system.settings.max_image_pixels // (BURST_SHARE if len(files) > 1 else 1)

    @contextmanager
    def frames() -> Iterator[Sequence[Pixels]]:
        with slots.taken(), decoded(files, system.settings, max_pixels=most) as images:
            yield images

    return CheckRequest(
        CaptureClaim(gate_id, body.nonce, body.captured_at, tuple(hashlib.sha256(file).digest() for file in files)),
        frames,
        TravelToken.parse(body.travel_token) if body.travel_token else None,
        body.flight,
        CaptureSignature.parse(body.signature.key_id, body.signature.value) if body.signature else None,
        body.liveness_session,
        SdJwt.parse(body.credential).text if body.credential else None,
    )


def _measure(system: Dwarpal, gate_id: str, result: CheckResult) -> None:
    system.metrics.checks.labels(gate_id, result.decision.outcome, result.decision.reason).inc()
    if result.cue is not None:
        system.metrics.suspected_attacks.labels(gate_id, result.cue).inc()
    for stage, milliseconds in result.stage_ms.items():
        system.metrics.stage_seconds.labels(stage).observe(timedelta(milliseconds=milliseconds).total_seconds())


@router.get("", response_model=Page[GateState], dependencies=[Depends(allow(Role.ADMIN, Role.OFFICER, Role.AUDITOR))])
def list_gates(system: System) -> Page[GateState]:
    """List all gates."""
    with system.storage.reading() as unit:
        gates = unit.gates.all()
    return Page(items=[state_of(gate) for gate in gates], next_cursor=None)


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
        Gate(body.id, body.purpose, body.walk_through, body.liveness, body.signed_captures),
        before_commit=lambda unit, gate: once.keep(unit, status.HTTP_201_CREATED, state_of(gate)),
    )
    return state_of(gate)


@router.patch("/{gate_id}", response_model=GateState, dependencies=[Depends(allow(Role.ADMIN))])
def change(gate_id: str, body: GateChange, system: System) -> GateState:
    """Change a gate's policy against attacks, from the next check on."""
    return state_of(change_gate(system.storage, gate_id, liveness=body.liveness, signed_captures=body.signed_captures))


def state_of(gate: Gate) -> GateState:
    """Return a gate as it is sent."""
    return GateState(
        id=gate.id,
        purpose=gate.purpose,
        walk_through=gate.walk_through,
        liveness=gate.liveness,
        signed_captures=gate.signed_captures,
    )
