"""Liveness sessions: a gate or a kiosk lets a person do what is asked, one movement at a time, and sends the frames."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Annotated

from fastapi import APIRouter, Depends, Request, Response, status

from biometrics.errors import MalformedInput, NotFound, NotPermitted
from biometrics.types import Pixels
from infra.api_keys import Role
from liveness.challenge import Refusal
from liveness.frame_judge import MOST_FRAMES
from liveness.injection import CaptureSignature, SessionFramesClaim, demand_signature
from liveness.session_state import FrameClaim, SessionState
from services.api.auth import Caller, System, allow
from services.api.middleware import rates_of
from services.api.once import IdempotencyKey, Once, body_digest
from services.api.routes.gates import BURST_SHARE
from services.api.schemas import FramesBody, LivenessState
from services.api.uploads import ComputeSlots, Upload, decoded, multipart_openapi, read_upload
from services.bootstrap import Dwarpal

router = APIRouter(prefix="/v1/liveness/sessions", tags=["liveness"])

Capturing = Annotated[Caller, Depends(allow(Role.GATE, Role.ENROLLER))]


def _owner(caller: Caller) -> str:
    return f"gate:{caller.gate_id}" if caller.gate_id is not None else caller.scope


def _limited(request: Request, system: System, caller: Capturing) -> Caller:
    rates_of(request).hit(system.settings.rate_gate, "liveness", _owner(caller))
    return caller


Limited = Annotated[Caller, Depends(_limited)]


@router.post(
    "",
    response_model=LivenessState,
    status_code=status.HTTP_201_CREATED,
    responses={429: {"description": "`locked_out` after too many sessions in a row that did not succeed"}},
)
def open_session(
    system: System,
    caller: Limited,
    digest: Annotated[bytes, Depends(body_digest)],
    idempotency_key: IdempotencyKey = None,
) -> LivenessState | Response:
    """Open a session and learn its first step; what this gate or kiosk had open before is given up."""
    once = Once(system, f"{caller.scope}|liveness", idempotency_key, digest)
    if answer := once.replay():
        return answer
    return _answer(
        system.liveness.open(
            _owner(caller),
            caller.gate_id,
            before_commit=lambda unit, opened: once.keep(unit, status.HTTP_201_CREATED, _answer(opened)),
        )
    )


async def _frames(request: Request, system: System, _caller: Limited) -> Upload[FramesBody]:
    return await read_upload(
        request, FramesBody, part="frames", files={"images": MOST_FRAMES}, settings=system.settings
    )


@router.post(
    "/{session_id}/frames",
    response_model=LivenessState,
    openapi_extra=multipart_openapi(FramesBody, "frames", {"images*": "1 to 8 frames, in order of capture"}),
    responses={
        403: {"description": "this gate takes signed captures only, or the signature is not by a device of its own"},
        409: {"description": "`session_over`, `session_busy` or `stale_capture`"},
        422: {"description": "no frame shows a usable face: capture again"},
    },
)
def add_frames(
    request: Request,
    session_id: str,
    system: System,
    caller: Capturing,
    sent: Annotated[Upload[FramesBody], Depends(_frames)],
) -> LivenessState:
    """Send frames in order of capture; an answer with another step or status makes the rest of them void."""
    files = sent.files.get("images", [])
    if len(files) != len(sent.body.frames):
        raise MalformedInput("Send one file as `images` for each entry of `frames`.", code="frame_count")
    slots: ComputeSlots = request.app.state.slots
    most = system.settings.max_image_pixels // BURST_SHARE

    @contextmanager
    def frames() -> Iterator[Sequence[Pixels]]:
        with slots.taken(), decoded(files, system.settings, max_pixels=most) as images:
            yield images

    _demand_signature(system, caller, session_id, sent.body, files)
    claims = [FrameClaim(frame.nonce, frame.captured_at) for frame in sent.body.frames]
    return _answer(system.liveness.take(session_id, _owner(caller), claims, frames))


def _demand_signature(
    system: Dwarpal, caller: Caller, session_id: str, body: FramesBody, files: Sequence[bytes]
) -> None:
    """Turn frames away that a gate's policy wants signed and that are not; a kiosk has no gate and no devices."""
    if caller.gate_id is None:
        return
    digests = (hashlib.sha256(file).digest() for file in files)
    frames = ((frame.nonce, frame.captured_at, digest) for frame, digest in zip(body.frames, digests, strict=True))
    claim = SessionFramesClaim(caller.gate_id, session_id, tuple(frames))
    signature = CaptureSignature.parse(body.signature.key_id, body.signature.value) if body.signature else None
    with system.storage.reading() as unit:
        gate = unit.gates.get(caller.gate_id)
        if gate is None:
            raise NotFound
        try:
            demand_signature(gate, claim, signature, unit.devices, system.checks.signatures)
        except NotPermitted as error:
            system.metrics.refused_captures.labels(error.code).inc()
            raise


@router.get("/{session_id}", response_model=LivenessState)
def session(session_id: str, system: System, caller: Capturing) -> LivenessState:
    """Return a session to the gate or kiosk that opened it."""
    return _answer(system.liveness.state(session_id, _owner(caller)))


def _answer(state: SessionState) -> LivenessState:
    kept = state.session
    return LivenessState(
        session_id=kept.id,
        status=kept.status,
        step=state.step,
        steps_done=state.steps_done,
        steps_total=state.steps_total,
        nonce=state.nonce,
        reason=None if kept.reason is None else Refusal(kept.reason),
        redeemed=kept.redeemed_at is not None,
        expires_at=kept.expires_at,
    )
