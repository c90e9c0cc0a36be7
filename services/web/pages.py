"""How a page is made: its template, its language, who is signed in, and the headers under which it is shown."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from functools import cache
from typing import TYPE_CHECKING

from babel.dates import format_datetime
from fastapi import Request
from fastapi.responses import HTMLResponse

from biometrics.errors import NotAuthenticated
from enrollment.consent import LANGUAGES, Notice
from infra.web_sessions import WebSession
from services.api.page_session import page_session
from services.bootstrap import Dwarpal
from services.web.words import LANGUAGE_COOKIE, catalog, language_of, locale_of

if TYPE_CHECKING:
    from jinja2 import Environment

HEADERS = {
    "Content-Security-Policy": "; ".join(
        (
            "default-src 'none'",
            "script-src 'self'",
            "style-src 'self'",
            "font-src 'self'",
            "img-src 'self' blob:",
            "media-src 'self' blob:",
            "connect-src 'self'",
            "form-action 'self'",
            "base-uri 'none'",
            "frame-ancestors 'none'",
            "require-trusted-types-for 'script'",
        )
    ),
    "Permissions-Policy": "camera=(self), microphone=(), geolocation=(), display-capture=(), usb=()",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}
"""No inline script or style, no other origin, no frame around us (CSP Level 3)."""

CHOICE_KEPT_SECONDS = 365 * 24 * 3600


def page(
    request: Request,
    template: str,
    *,
    session: WebSession | None = None,
    status: int = 200,
    values: Mapping[str, object] | None = None,
) -> HTMLResponse:
    """Return a page in the language of the request; `values` are what its template shows."""
    language = language_of(request)
    html = (
        _environment(language)
        .get_template(template)
        .render(
            language=language,
            direction=Notice.in_language(language).direction,
            languages=[(code, Notice.in_language(code).name) for code in LANGUAGES],
            path=request.url.path,
            session=session,
            **(values or {}),
        )
    )
    response = HTMLResponse(html, status, HEADERS)
    if request.query_params.get("lang") in LANGUAGES:
        response.set_cookie(
            LANGUAGE_COOKIE, language, max_age=CHOICE_KEPT_SECONDS, path="/", httponly=True, samesite="lax"
        )
    return response


def session_or_none(system: Dwarpal, request: Request) -> WebSession | None:
    """Return who is signed in at this browser, or None."""
    try:
        return page_session(system, request)
    except NotAuthenticated:
        return None


@cache
def _environment(language: str) -> Environment:
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("services.web"),
        autoescape=True,
        undefined=StrictUndefined,
        extensions=["jinja2.ext.i18n"],
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.install_gettext_translations(catalog(language), newstyle=True)  # type: ignore[attr-defined]
    environment.filters["time"] = lambda at: _time(at, language)
    return environment


def _time(at: datetime | None, language: str) -> str:
    """Write a time as the language does, in UTC; the page's script shows it in the reader's own zone."""
    return "-" if at is None else f"{format_datetime(at, 'd MMM y, HH:mm', locale=locale_of(language))} UTC"
