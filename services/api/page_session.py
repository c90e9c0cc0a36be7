"""Sessions of pages: the cookie, the proof that a request comes from our own page, and who is behind it.

The cookie is HttpOnly, Secure, SameSite=Strict and bound to this host (`__Host-`, RFC 6265bis). A request that changes
something must come from our own origin and carry the session's CSRF token in a header or a form field.
"""

from __future__ import annotations

import hmac
from urllib.parse import urlsplit

from fastapi import Request, Response

from biometrics.errors import NotAuthenticated, NotPermitted
from biometrics.records import TravelToken
from infra.api_keys import ApiKey, Role
from infra.web_sessions import WebSession, WebSessions, lifetime_of
from services.bootstrap import Dwarpal

COOKIE = "__Host-dwarpal"
CSRF_HEADER = "x-csrf-token"
SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})


def sign_in(system: Dwarpal, request: Request, response: Response, holder: ApiKey | TravelToken) -> None:
    """Begin a session and end the one that the browser had; the cookie is always a new one."""
    with system.storage.unit_of_work() as unit:
        sessions = WebSessions(unit.session)
        if former := request.cookies.get(COOKIE):
            sessions.close(former)
        cookie = sessions.open(holder, system.storage.now())
        unit.commit()
    role = None if isinstance(holder, TravelToken) else holder.role
    # A gate's screen is restarted with nobody near; a person's browser forgets when it is closed.
    max_age = int(lifetime_of(role).longest.total_seconds()) if role is Role.GATE else None
    response.set_cookie(COOKIE, cookie, max_age=max_age, path="/", secure=True, httponly=True, samesite="strict")


def sign_out(system: Dwarpal, request: Request, response: Response) -> None:
    """End the session and take the cookie back."""
    if cookie := request.cookies.get(COOKIE):
        with system.storage.unit_of_work() as unit:
            WebSessions(unit.session).close(cookie)
            unit.commit()
    response.delete_cookie(COOKIE, path="/", secure=True, httponly=True, samesite="strict")


def page_session(system: Dwarpal, request: Request) -> WebSession:
    """Return who is signed in at this browser; raise `NotAuthenticated`."""
    cookie = request.cookies.get(COOKIE)
    if not cookie:
        raise NotAuthenticated("You are not signed in.", code="signed_out")
    now = system.storage.now()
    with system.storage.reading() as unit:
        session = WebSessions(unit.session).find(cookie, now)
    if session.stale:
        with system.storage.unit_of_work() as unit:
            WebSessions(unit.session).renew(cookie, session, now)
            unit.commit()
    return session


def demand_own_page(request: Request) -> None:
    """Refuse what another site made the browser send; raise `NotPermitted` (`cross_site`).

    `Sec-Fetch-Site` (Fetch Metadata) cannot be set by scripts; older browsers send `Origin` with every POST.
    """
    site = request.headers.get("sec-fetch-site")
    origin = request.headers.get("origin")
    own = site == "same-origin" if site is not None else urlsplit(origin or "").netloc == request.headers.get("host")
    if not own:
        raise NotPermitted("This request does not come from a page of this service.", code="cross_site")


def demand_csrf(request: Request, session: WebSession, sent: str | None = None) -> None:
    """Refuse a change without the session's token, in the header or `sent`; raise `NotPermitted` (`csrf`)."""
    demand_own_page(request)
    token = sent if sent is not None else request.headers.get(CSRF_HEADER, "")
    if not hmac.compare_digest(token.encode(), session.csrf.encode()):
        raise NotPermitted("The page is too old: load it again.", code="csrf")
