"""What a traveller can see of the use of their own data."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends
from pydantic import JsonValue

from services.api.auth import Caller, System, allow, own_record
from services.api.paging import Cursor, Limit, next_cursor
from services.api.schemas import JSON_OBJECT, Activity, Page

router = APIRouter(prefix="/v1/me", tags=["traveller"])


@router.get("/activity", response_model=Page[Activity])
def activity(
    system: System, caller: Annotated[Caller, Depends(allow(holder=True))], limit: Limit = 100, cursor: Cursor = 0
) -> Page[Activity]:
    """List every processing of my data: when, which gate, which purpose, which decision."""
    assert caller.token is not None  # noqa: S101 - `allow(holder=True)` lets nobody else through
    record = own_record(system, caller, caller.token.enrollment_id)
    with system.storage.reading() as unit:
        history = unit.log.history_of(record.id, record.epoch)
    rest = [entry for entry in history if entry.index >= cursor]
    items = [_activity(entry.index, JSON_OBJECT.validate_python(entry.fields())) for entry in rest[:limit]]
    return Page(items=items, next_cursor=next_cursor(rest[limit].index) if len(rest) > limit else None)


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
