"""What a traveller can see of the use of their own data."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Header, Response
from pydantic import JsonValue

from biometrics.records import EnrollmentRecord
from services.api.access_report import AccessReport, access_report, report_page
from services.api.auth import Caller, System, allow, own_record
from services.api.paging import Cursor, Limit, next_cursor
from services.api.rights_schemas import RightsDetail
from services.api.schemas import JSON_OBJECT, Activity, Page
from services.bootstrap import Dwarpal, build_rights

router = APIRouter(prefix="/v1/me", tags=["traveller"])


@router.get("/activity", response_model=Page[Activity])
def activity(
    system: System, caller: Annotated[Caller, Depends(allow(holder=True))], limit: Limit = 100, cursor: Cursor = 0
) -> Page[Activity]:
    """List every processing of my data: when, which gate, which purpose, which decision."""
    record = _own(system, caller)
    with system.storage.reading() as unit:
        history = unit.log.history_of(record.id, record.epoch)
    rest = [entry for entry in history if entry.index >= cursor]
    items = [_activity(entry.index, JSON_OBJECT.validate_python(entry.fields())) for entry in rest[:limit]]
    return Page(items=items, next_cursor=next_cursor(rest[limit].index) if len(rest) > limit else None)


@router.get(
    "/report",
    response_model=AccessReport,
    responses={200: {"content": {"text/html": {"schema": {"type": "string"}}}}},
)
def report(
    system: System,
    caller: Annotated[Caller, Depends(allow(holder=True))],
    response: Response,
    accept: Annotated[str, Header()] = "application/json",
) -> AccessReport | Response:
    """Return everything that is held about me and every use of it: JSON, or with `Accept: text/html` a page."""
    record = _own(system, caller)
    storage, now = system.storage, system.storage.now()
    with storage.reading() as unit:
        history = unit.log.history_of(record.id, record.epoch)
        filed = unit.rights.of_enrollment(record.id)
    rights = build_rights(storage)
    found = access_report(
        record,
        settings=storage.settings,
        now=now,
        uses=[_activity(entry.index, JSON_OBJECT.validate_python(entry.fields())) for entry in history],
        requests=[RightsDetail.opened(rights.opened(request), now) for request in filed],
    )
    response.headers["Vary"] = "Accept"
    if "text/html" not in {part.partition(";")[0].strip().lower() for part in accept.split(",")}:
        return found
    page, policy = report_page(found)
    headers = {"Content-Security-Policy": policy, "Vary": "Accept"}
    return Response(page, headers=headers, media_type="text/html")


def _own(system: Dwarpal, caller: Caller) -> EnrollmentRecord:
    assert caller.token is not None  # noqa: S101 - `allow(holder=True)` lets nobody else through
    return own_record(system, caller, caller.token.enrollment_id)


def _activity(index: int, fields: dict[str, JsonValue]) -> Activity:
    return Activity.model_validate(
        {
            "time": fields["time"],
            "event": fields["event"],
            "gate": fields.get("gate"),
            "purpose": fields.get("purpose"),
            "decision": fields.get("decision"),
            "reason": fields.get("reason"),
            "audit_index": index,
        }
    )
