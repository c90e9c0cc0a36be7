"""The traveller's first page: what this is, the notice, the camera, and the travel token."""

from __future__ import annotations

from fastapi import APIRouter, Request
from fastapi.responses import Response

from enrollment.consent import Notice
from infra.api_keys import Role
from services.api.auth import System
from services.web.pages import page, session_or_none
from services.web.words import language_of

router = APIRouter()


@router.get("/")
def traveller(request: Request, system: System) -> Response:
    """Show the page; where travellers may not enroll themselves it says who does it for them."""
    session = session_or_none(system, request)
    at_desk = session is not None and session.key is not None and session.key.role is Role.ENROLLER
    notice = Notice.in_language(language_of(request))
    return page(
        request,
        "traveller.html.j2",
        session=session if at_desk else None,
        values={
            "may_enroll": at_desk or system.settings.self_enrollment,
            "notice": notice,
            "most_images": system.settings.max_images,
        },
    )
