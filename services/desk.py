"""The officer's desk: who waits for an officer, what officers decided by hand, and how the site is doing.

A traveller whom a gate did not admit goes to an officer, who looks at papers and decides. The decision stands in the
log before the officer hears it, once for each check. It names the check and, where the check did, the same pseudonym,
so that the traveller sees it among the uses of their face. It does not name the officer: who sat at a desk is the
roster's business, and the log is read by many.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum

from biometrics.errors import Conflict, KeyDestroyed, MalformedInput, NotFound
from biometrics.records import AuditEvent, EventKind, Purpose, new_id
from infra.audit.activity import TURNED_AWAY, Activity
from infra.audit.log import LogEntry, SqlAuditLog
from infra.database.unit_of_work import SqlUnitOfWork
from services.bootstrap import Storage

POLICY_VERSION = "desk/1"
LONGEST_WAIT = timedelta(hours=1)
"""How long after a check an officer may decide about it: nobody waits longer at a gate."""

MOST_WAITING = 200
FOLLOWED_AT_ONCE = 500


class HandReason(StrEnum):
    """Why an officer decided so."""

    PAPERS_CHECKED = "papers_checked"
    PAPERS_DID_NOT_MATCH = "papers_did_not_match"
    ENROLL_AGAIN = "enroll_again"
    LEFT = "left"


ADMITTING = frozenset({HandReason.PAPERS_CHECKED})


@dataclass(frozen=True, slots=True)
class Waiting:
    """A check that did not admit: what the officer sees of it. There is no picture, name or score."""

    audit_index: int
    check_id: str
    gate_id: str
    purpose: str
    decision: str
    reason: str
    time: datetime


@dataclass(frozen=True, slots=True)
class Decided:
    """An officer's decision about a check."""

    audit_index: int
    check_id: str
    gate_id: str
    decision: str
    reason: str
    time: datetime


def waiting(unit: SqlUnitOfWork, now: datetime) -> tuple[list[Waiting], int]:
    """Return who waits for an officer, longest first, and the size of the log that this was read from."""
    size, since, activity = unit.log.size(), now - LONGEST_WAIT, Activity(unit.session)
    decided = {json.loads(leaf)["check"] for leaf in activity.by_hand(since)}
    found = (_waiting(unit.log.entry(index)) for index in activity.turned_away(since, MOST_WAITING))
    return [check for check in found if check.check_id not in decided], size


def since(unit: SqlUnitOfWork, size: int) -> tuple[list[Waiting | Decided], int]:
    """Return what happened at the desk after the first `size` entries of the log, and how far this was read."""
    entries = unit.log.entries(size, FOLLOWED_AT_ONCE)
    found: list[Waiting | Decided] = []
    for entry in entries:
        if entry.event == EventKind.OFFICER_DECIDED:
            found.append(_decided(entry))
        elif entry.event == EventKind.CHECKED and entry.fields().get("decision") in TURNED_AWAY:
            found.append(_waiting(entry))
    return found, entries[-1].index + 1 if entries else size


def decide_by_hand(
    storage: Storage,
    audit_index: int,
    check_id: str,
    *,
    admits: bool,
    reason: HandReason,
    before_commit: Callable[[SqlUnitOfWork, Decided], None] = lambda unit, decided: None,
) -> Decided:
    """Log an officer's decision about a check that did not admit.

    Raises `NotFound` if there is no such check, `MalformedInput` (`reason_does_not_fit`) for a reason to the contrary,
    `Conflict` if the check is too old (`too_late`) or somebody decided about it before (`decided_already`).
    """
    if admits != (reason in ADMITTING):
        raise MalformedInput("This reason is not one for this decision.", code="reason_does_not_fit")
    with storage.unit_of_work() as unit:
        entry, now = unit.log.entry(audit_index), storage.now()
        fields = entry.fields()
        if entry.event != EventKind.CHECKED or fields["event_id"] != check_id or fields["decision"] not in TURNED_AWAY:
            raise NotFound
        if now - entry.time > LONGEST_WAIT:
            raise Conflict("This check is too long ago to decide about.", code="too_late")
        event = AuditEvent(
            EventKind.OFFICER_DECIDED,
            now,
            new_id(),
            POLICY_VERSION,
            epoch=entry.epoch,
            pseudonym=entry.subject,
            gate_id=entry.gate_id,
            purpose=Purpose(str(fields["purpose"])),
            decision="admit" if admits else "deny",
            reason=reason.value,
            check_id=check_id,
        )
        try:
            index = unit.log.append(event)
        except KeyDestroyed:  # the check's hour is over: nothing may speak of its subjects any more
            index = unit.log.append(replace(event, epoch=None, pseudonym=None))
        # Appends take turns: what another officer decided before stands there now.
        if check_id in _decided_between(unit.log, audit_index, index):
            raise Conflict("Somebody decided about this check already.", code="decided_already")
        decided = _decided(unit.log.entry(index))
        before_commit(unit, decided)
        unit.commit()
    return decided


def _decided_between(log: SqlAuditLog, start: int, end: int) -> set[str]:
    checks: set[str] = set()
    while entries := log.entries(start, FOLLOWED_AT_ONCE, event=EventKind.OFFICER_DECIDED):
        checks |= {str(entry.fields()["check"]) for entry in entries if entry.index < end}
        start = entries[-1].index + 1
    return checks


def _waiting(entry: LogEntry) -> Waiting:
    said = {name: str(value) for name, value in entry.fields().items()}
    return Waiting(
        entry.index, said["event_id"], said["gate"], said["purpose"], said["decision"], said["reason"], entry.time
    )


def _decided(entry: LogEntry) -> Decided:
    said = {name: str(value) for name, value in entry.fields().items()}
    return Decided(entry.index, said["check"], said["gate"], said["decision"], said["reason"], entry.time)
