"""The keys with which a gate's devices sign captures: registered, listed and revoked by admins, without a restart."""

from __future__ import annotations

import base64
from typing import Annotated

from fastapi import APIRouter, Depends, Response, status

from biometrics.records import DeviceKey
from infra.api_keys import Role
from liveness.injection import base64url
from services.administration import add_device_key, device_keys, end_device_key
from services.api.auth import Caller, System, allow
from services.api.once import IdempotencyKey, Once, body_digest
from services.api.schemas import DeviceKeyBody, DeviceKeyState, Page

router = APIRouter(prefix="/v1/gates/{gate_id}/device-keys", tags=["gates"])
admin = [Depends(allow(Role.ADMIN))]


@router.get("", response_model=Page[DeviceKeyState], dependencies=admin)
def list_device_keys(gate_id: str, system: System) -> Page[DeviceKeyState]:
    """List a gate's device keys, also revoked ones."""
    return Page(items=[_state(key) for key in device_keys(system.storage, gate_id)], next_cursor=None)


@router.post("", response_model=DeviceKeyState, status_code=status.HTTP_201_CREATED)
def register(
    gate_id: str,
    body: DeviceKeyBody,
    system: System,
    caller: Annotated[Caller, Depends(allow(Role.ADMIN))],
    digest: Annotated[bytes, Depends(body_digest)],
    idempotency_key: IdempotencyKey = None,
) -> DeviceKeyState | Response:
    """Register the public half of a device's key; a key serves one gate, once, and is never taken back in."""
    once = Once(system, f"{caller.scope}|gates/{gate_id}/device-keys", idempotency_key, digest)
    if answer := once.replay():
        return answer
    key = add_device_key(
        system.storage,
        gate_id,
        base64.urlsafe_b64decode(body.public_key + "="),
        before_commit=lambda unit, key: once.keep(unit, status.HTTP_201_CREATED, _state(key)),
    )
    return _state(key)


@router.delete("/{key_id}", status_code=status.HTTP_204_NO_CONTENT, dependencies=admin)
def revoke(gate_id: str, key_id: str, system: System) -> None:
    """Revoke a device's key from this moment on, for good."""
    end_device_key(system.storage, gate_id, key_id)


def _state(key: DeviceKey) -> DeviceKeyState:
    return DeviceKeyState(
        id=key.id,
        gate_id=key.gate_id,
        public_key=base64url(key.public),
        created_at=key.created_at,
        revoked_at=key.revoked_at,
    )
