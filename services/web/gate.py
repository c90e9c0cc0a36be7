"""The gate's screen: a camera, one instruction at a time, and the decision."""

from __future__ import annotations

from fastapi import APIRouter, Request
from fastapi.responses import Response

from biometrics.errors import NotFound
from infra.api_keys import Role
from services.api.auth import System
from services.web.pages import page
from services.web.sign_in import staff

router = APIRouter()


@router.get("/gate/{gate_id}")
def kiosk(request: Request, gate_id: str, system: System) -> Response:
    """Show the screen of the gate that this browser is signed in for, and of no other."""
    found = staff(system, request, Role.GATE)
    if isinstance(found, Response):
        return found
    session, key = found
    if key.gate_id != gate_id:
        return page(request, "not_yours.html.j2", session=session, status=403)
    with system.storage.reading() as unit:
        gate = unit.gates.get(gate_id)
    if gate is None:
        raise NotFound
    return page(request, "gate.html.j2", session=session, values={"gate": gate})
