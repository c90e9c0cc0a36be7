"""Signing in by key, for gates, officers, auditors, desks and administrators, and signing out."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Form, Request
from fastapi.responses import RedirectResponse, Response

from biometrics.errors import NotAuthenticated
from infra.api_keys import ApiKey, Role, authenticate
from infra.web_sessions import WebSession
from services.api.auth import System
from services.api.middleware import rates_of
from services.api.page_session import demand_csrf, demand_own_page, page_session
from services.api.page_session import sign_in as begin
from services.api.page_session import sign_out as end
from services.bootstrap import Dwarpal
from services.web.pages import page, session_or_none

router = APIRouter()

FAILURES = "10/minute"
"""Attempts from one address that may fail: keys and tokens have 256 bits, but nobody needs more."""


@router.get("/sign-in")
def form(request: Request, system: System) -> Response:
    """Show the form, or go on to where this key belongs."""
    session = session_or_none(system, request)
    if session is not None and session.key is not None and "other" not in request.query_params:
        return RedirectResponse(home_of(session.key), 303)
    return page(request, "sign_in.html.j2", session=session, values={"failed": False})


@router.post("/sign-in")
def sign_in(request: Request, system: System, key: Annotated[str, Form(max_length=200)] = "") -> Response:
    """Sign in with a key; the answer to every wrong one is the same."""
    demand_own_page(request)
    try:
        with system.storage.reading() as unit:
            found = authenticate(unit.session, key.strip())
    except NotAuthenticated:
        count_failure(request)
        return page(request, "sign_in.html.j2", status=401, values={"failed": True})
    answer = RedirectResponse(home_of(found), 303)
    begin(system, request, answer, found)
    return answer


@router.post("/sign-out")
def sign_out(request: Request, system: System, csrf: Annotated[str, Form(max_length=100)] = "") -> RedirectResponse:
    """Sign out; a page that is signed out already goes the same way."""
    session = session_or_none(system, request)
    if session is not None:
        demand_csrf(request, session, csrf)
    answer = RedirectResponse("/my" if session is not None and session.token is not None else "/sign-in", 303)
    end(system, request, answer)
    return answer


def count_failure(request: Request) -> None:
    """Count an attempt that failed; raise `TooManyAttempts` past the limit."""
    rates_of(request).hit(FAILURES, "sign-in", request.client.host if request.client else "unknown")


def home_of(key: ApiKey) -> str:
    """Return where a key's holder works."""
    match key.role:
        case Role.GATE:
            return f"/gate/{key.gate_id}"
        case Role.AUDITOR:
            return "/audit"
        case Role.ENROLLER:
            return "/"
        case Role.OFFICER | Role.ADMIN:
            return "/desk"


def staff(system: Dwarpal, request: Request, *roles: Role) -> tuple[WebSession, ApiKey] | Response:
    """Return who works here, or the answer for everybody else: the form, or that this role may not see the page."""
    try:
        session = page_session(system, request)
    except NotAuthenticated:
        return RedirectResponse("/sign-in", 303)
    if session.key is None or session.key.role not in roles:
        return page(request, "not_yours.html.j2", session=session, status=403)
    return session, session.key
