"""Who is calling: a role by its key, a traveller by their travel token, either at a page, or a visitor there."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Annotated

from fastapi import Depends, Request, Security
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from biometrics.errors import MalformedInput, NotAuthenticated, NotFound, NotPermitted
from biometrics.records import EnrollmentRecord, TravelToken
from infra.api_keys import Role, authenticate
from services.api.middleware import rates_of
from services.api.page_session import COOKIE, SAFE_METHODS, demand_csrf, demand_own_page, page_session
from services.bootstrap import Dwarpal

bearer = HTTPBearer(
    auto_error=False,
    scheme_name="key",
    description="`Bearer <key>` of a role, or a travel token for the holder's own calls",
)


@dataclass(frozen=True, slots=True)
class Caller:
    """A key's role (with its gate), the holder of a travel token, or a visitor of the traveller's page."""

    role: Role | None
    scope: str = field(repr=False)
    gate_id: str | None = None
    token: TravelToken | None = field(default=None, repr=False)
    visitor: bool = False


def dwarpal_of(request: Request) -> Dwarpal:
    """Return the wired system; its readiness is the lifespan's business."""
    system = request.app.state.dwarpal
    assert isinstance(system, Dwarpal)  # noqa: S101 - tells the type checker what create_app stored
    return system


System = Annotated[Dwarpal, Depends(dwarpal_of)]


def identify(
    request: Request,
    system: System,
    credentials: Annotated[HTTPAuthorizationCredentials | None, Security(bearer)],
) -> Caller:
    """Find out who calls; raise `NotAuthenticated`."""
    if credentials is None:
        return _at_page(request, system)
    text = credentials.credentials
    if text.startswith(TravelToken.PREFIX + "."):
        try:
            token = TravelToken.parse(text)
        except MalformedInput:
            raise NotAuthenticated("The key is unknown or revoked.") from None
        return _holder(request, system, token)
    with system.storage.reading() as unit:
        key = authenticate(unit.session, text)
    return Caller(key.role, f"key:{key.id}", gate_id=key.gate_id)


def _holder(request: Request, system: Dwarpal, token: TravelToken) -> Caller:
    rates_of(request).hit(system.settings.rate_holder, "holder", token.enrollment_id)
    return Caller(None, f"holder:{token.enrollment_id}", token=token)


def _at_page(request: Request, system: Dwarpal) -> Caller:
    """Find out who is at the browser; a page's visitor is somebody only where travellers may enroll themselves."""
    if COOKIE in request.cookies:
        session = page_session(system, request)
        if request.method not in SAFE_METHODS:
            demand_csrf(request, session)
        if session.token is not None:
            return _holder(request, system, session.token)
        if session.key is not None:
            return Caller(session.key.role, f"key:{session.key.id}", gate_id=session.key.gate_id)
    if system.settings.self_enrollment and "sec-fetch-site" in request.headers:
        demand_own_page(request)
        return Caller(None, "visitor", visitor=True)
    raise NotAuthenticated("Send a key: Authorization: Bearer ...")


def allow(*roles: Role, holder: bool = False, visitor: bool = False) -> Callable[..., Caller]:
    """Make the dependency that lets only these roles (and the holder, a visitor) through.

    `admin` may not act for others.
    """

    def permitted(caller: Annotated[Caller, Depends(identify)]) -> Caller:
        if caller.token is not None and holder:
            return caller
        if caller.visitor and visitor:
            return caller
        if caller.role is not None and caller.role in roles:
            return caller
        raise NotPermitted("This key's role does not allow this.")

    return permitted


def own_record(system: Dwarpal, caller: Caller, enrollment_id: str) -> EnrollmentRecord:
    """Return an enrollment that the caller may see: their own, or any for staff; raise `NotFound` alike for both."""
    token, now = caller.token, system.storage.now()
    if token is not None and token.enrollment_id != enrollment_id:
        raise NotFound
    with system.storage.reading() as unit:
        record = unit.enrollments.get(enrollment_id, now) if token is None else unit.enrollments.held(token, now)
    if record is None:
        raise NotFound
    return record
