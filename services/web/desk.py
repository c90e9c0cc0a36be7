"""The officer's desk: referred travellers as they come, decisions by hand, gates, purge and keys."""

from __future__ import annotations

from fastapi import APIRouter, Request
from fastapi.responses import Response

from infra.api_keys import Role
from services.api.auth import System
from services.web.pages import page
from services.web.sign_in import staff

router = APIRouter()


@router.get("/desk")
def desk(request: Request, system: System) -> Response:
    """Show the desk to officers, who decide, and to administrators, who manage keys."""
    found = staff(system, request, Role.OFFICER, Role.ADMIN)
    if isinstance(found, Response):
        return found
    session, key = found
    with system.storage.reading() as unit:
        gates = unit.gates.all()
    values = {"role": key.role.value, "roles": [role.value for role in Role], "gates": [gate.id for gate in gates]}
    return page(request, "desk.html.j2", session=session, values=values)
