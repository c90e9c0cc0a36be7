"""The auditor's page: the log, verified by the browser against a pinned key, and its figures."""

from __future__ import annotations

from fastapi import APIRouter, Request
from fastapi.responses import Response

from biometrics.records import EventKind
from infra.api_keys import Role
from services.api.auth import System
from services.export import verifier_key_of
from services.web.pages import page
from services.web.sign_in import staff

router = APIRouter()


@router.get("/audit")
def audit(request: Request, system: System) -> Response:
    """Show the page to auditors and administrators."""
    found = staff(system, request, Role.AUDITOR, Role.ADMIN)
    if isinstance(found, Response):
        return found
    with system.storage.reading() as unit:
        gates = unit.gates.all()
    values = {
        "vkey": verifier_key_of(system.storage),
        "events": [kind.value for kind in EventKind],
        "gates": [gate.id for gate in gates],
    }
    return page(request, "audit.html.j2", session=found[0], values=values)
