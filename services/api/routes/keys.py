"""API keys: made, listed and revoked by admins, without a restart."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Response, status

from infra.api_keys import ApiKey, Role, list_keys
from services.administration import add_key, end_key
from services.api.auth import Caller, System, allow
from services.api.once import IdempotencyKey, Once, body_digest
from services.api.schemas import KeyBody, KeyCreated, KeyState, Page

router = APIRouter(prefix="/v1/keys", tags=["keys"])
admin = [Depends(allow(Role.ADMIN))]


@router.get("", response_model=Page[KeyState], dependencies=admin)
def keys(system: System) -> Page[KeyState]:
    """List all keys, also revoked ones, without their secrets."""
    with system.storage.reading() as unit:
        found = list_keys(unit.session)
    return Page(items=[key_state(key) for key in found], next_cursor=None)


@router.post("", response_model=KeyCreated, status_code=status.HTTP_201_CREATED)
def create(
    body: KeyBody,
    system: System,
    caller: Annotated[Caller, Depends(allow(Role.ADMIN))],
    digest: Annotated[bytes, Depends(body_digest)],
    idempotency_key: IdempotencyKey = None,
) -> KeyCreated | Response:
    """Create a key; its text is in this answer and nowhere else."""
    once = Once(system, f"{caller.scope}|keys", idempotency_key, digest)
    if answer := once.replay():
        return answer
    key_id, text = add_key(
        system.storage,
        body.role,
        body.gate_id,
        before_commit=lambda unit, key_id, text: once.keep(
            unit, status.HTTP_201_CREATED, KeyCreated(id=key_id, key=text)
        ),
    )
    return KeyCreated(id=key_id, key=text)


def key_state(key: ApiKey) -> KeyState:
    """Return a key as it is sent, without its secret."""
    return KeyState(id=key.id, role=key.role, gate_id=key.gate_id, created_at=key.created_at, revoked_at=key.revoked_at)


@router.delete("/{key_id}", status_code=status.HTTP_204_NO_CONTENT, dependencies=admin)
def revoke(key_id: str, system: System) -> None:
    """Revoke a key from this moment on."""
    end_key(system.storage, key_id)
