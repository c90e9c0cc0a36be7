"""The traveller's own page: what is held, every use of it, moving the flight, and withdrawing with a receipt."""

from __future__ import annotations

from datetime import UTC, datetime
from importlib.resources import files
from typing import Annotated

from fastapi import APIRouter, File, Form, Request, UploadFile
from fastapi.responses import RedirectResponse, Response

from biometrics.errors import DwarpalError, MalformedInput, NotAuthenticated, NotFound
from biometrics.records import TravelToken
from infra.web_sessions import WebSession
from services.api.auth import Caller, System, own_record
from services.api.errors import status_of
from services.api.page_session import demand_csrf, demand_own_page, page_session
from services.api.page_session import sign_in as begin
from services.api.page_session import sign_out as end
from services.api.routes import enrollments, me
from services.api.schemas import TravelChange
from services.api.uploads import decoded
from services.bootstrap import Dwarpal
from services.export import verifier_key_of
from services.guidance import read_token
from services.web.pages import page, session_or_none
from services.web.sign_in import count_failure

router = APIRouter(prefix="/my")
verifier = APIRouter()


@router.get("")
def mine(request: Request, system: System) -> Response:
    """Show what is held about me, or ask for the token."""
    session = session_or_none(system, request)
    if session is None or session.token is None:
        return page(request, "my_token.html.j2", values={"failed": ""})
    return _shown(request, system, session)


@router.post("")
def open_mine(
    request: Request,
    system: System,
    token: Annotated[str, Form(max_length=200)] = "",
    picture: Annotated[UploadFile | None, File()] = None,
) -> Response:
    """Open my page with the token's text, or with a picture of its QR code, which is not kept."""
    demand_own_page(request)
    try:
        found = _token_in(system, picture) if picture is not None and picture.size else TravelToken.parse(token)
        own_record(system, _as_holder(found), found.enrollment_id)
    except DwarpalError as error:
        count_failure(request)
        failed = "unknown" if isinstance(error, NotFound) else "unreadable"
        return page(request, "my_token.html.j2", status=status_of(error), values={"failed": failed})
    answer = RedirectResponse("/my", 303)
    begin(system, request, answer, found)
    return answer


@router.post("/travel")
def move(
    request: Request,
    system: System,
    departs_at: Annotated[str, Form(max_length=40)] = "",
    csrf: Annotated[str, Form(max_length=100)] = "",
) -> Response:
    """Move my flight to another departure, given in UTC."""
    session, caller = _holder(request, system, csrf)
    try:
        moved = TravelChange(departs_at=_utc(departs_at), travel_token=None)
        assert caller.token is not None  # noqa: S101 - `_holder` lets nobody else through
        enrollments.change_travel(caller.token.enrollment_id, moved, system, caller)
    except DwarpalError as error:
        return _shown(request, system, session, problem=error.code, status=status_of(error))
    return RedirectResponse("/my", 303)


@router.post("/withdraw")
def withdraw(request: Request, system: System, csrf: Annotated[str, Form(max_length=100)] = "") -> Response:
    """Withdraw: erased now, and the receipt shown; the session ends with it."""
    _, caller = _holder(request, system, csrf)
    assert caller.token is not None  # noqa: S101 - `_holder` lets nobody else through
    deleted = enrollments.withdraw(caller.token.enrollment_id, system, caller)
    values = {"receipt": deleted.receipt, "vkey": verifier_key_of(system.storage)}
    answer = page(request, "withdrawn.html.j2", values=values)
    end(system, request, answer)
    return answer


@verifier.get("/verifier/audit_verify.py")
def verifier_file() -> Response:
    """Give the offline verifier to whoever wants to check a receipt."""
    text = files("infra.audit").joinpath("audit_verify.py").read_bytes()
    return Response(text, media_type="text/x-python")


def _shown(request: Request, system: Dwarpal, session: WebSession, *, problem: str = "", status: int = 200) -> Response:
    assert session.token is not None  # noqa: S101 - the callers have looked
    caller = _as_holder(session.token)
    try:
        record = own_record(system, caller, session.token.enrollment_id)
    except NotFound:  # erased meanwhile, by its time or at the desk
        answer = page(request, "my_token.html.j2", values={"failed": "gone"})
        end(system, request, answer)
        return answer
    uses = me.activity(system, caller, limit=100, cursor=0).items
    values = {"record": record, "uses": list(reversed(uses)), "problem": problem}
    return page(request, "my.html.j2", session=session, status=status, values=values)


def _holder(request: Request, system: Dwarpal, csrf: str) -> tuple[WebSession, Caller]:
    session = page_session(system, request)
    demand_csrf(request, session, csrf)
    if session.token is None:
        raise NotAuthenticated("You are not signed in.", code="signed_out")
    return session, _as_holder(session.token)


def _as_holder(token: TravelToken) -> Caller:
    return Caller(None, f"holder:{token.enrollment_id}", token=token)


def _token_in(system: Dwarpal, picture: UploadFile) -> TravelToken:
    content = picture.file.read(system.settings.max_image_bytes + 1)
    with decoded([content], system.settings) as (image,):
        token = read_token(image)
    if token is None:
        raise MalformedInput("There is no travel token in this picture.", code="malformed_token")
    return token


def _utc(text: str) -> datetime:
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        raise MalformedInput("Give the departure as a date and a time.", code="malformed_time") from None
    return at if at.tzinfo is not None else at.replace(tzinfo=UTC)
