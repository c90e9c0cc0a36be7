"""The officer's desk: who waits, as it happens; decisions by hand; how the site is doing."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from itertools import count
from threading import BoundedSemaphore, Event
from typing import Annotated

from fastapi import APIRouter, Depends, Request, Response, Security, status
from fastapi.concurrency import run_in_threadpool
from fastapi.security import HTTPAuthorizationCredentials
from fastapi.sse import EventSourceResponse, ServerSentEvent

from biometrics.errors import DwarpalError, NotReady
from infra.api_keys import Role
from infra.database import site_state
from services.api.auth import Caller, System, allow, bearer, identify
from services.api.desk_schemas import (
    DecidedState,
    DeskState,
    GateHealthState,
    HandDecision,
    PurgeState,
    RequestsState,
    Snapshot,
    WaitingState,
)
from services.api.once import IdempotencyKey, Once, body_digest
from services.api.routes.gates import state_of
from services.api.routes.keys import key_state
from services.bootstrap import Dwarpal
from services.desk import Waiting, decide_by_hand, since, waiting
from services.sweeper import Sweeper

router = APIRouter(prefix="/v1/desk", tags=["desk"])
desk = [Depends(allow(Role.OFFICER, Role.ADMIN))]

FOLLOW_SECONDS = 1.0
"""How often a stream asks the log for more: one query by the primary key."""

ALLOWED_SECONDS = 5
"""How often a stream asks whether its caller is still somebody."""

MOST_STREAMS = 64
_streams = BoundedSemaphore(MOST_STREAMS)


def _slot() -> Iterator[None]:
    """Bound the streams of a process: each holds a connection for hours."""
    if not _streams.acquire(blocking=False):
        raise NotReady("Too many desks are open here.", code="too_many_streams")
    try:
        yield
    finally:
        _streams.release()


@router.get("/events", response_class=EventSourceResponse, dependencies=[*desk, Depends(_slot)])
async def events(
    request: Request,
    system: System,
    credentials: Annotated[HTTPAuthorizationCredentials | None, Security(bearer)],
) -> AsyncIterator[ServerSentEvent]:
    """Follow who waits for an officer: first a `snapshot`, then `waiting` and `decided` as they come.

    Whoever connects again begins with a new snapshot, so that nothing is missed. `signed_out` ends the stream.
    """
    leaving: Event = request.app.state.leaving
    found, size = await run_in_threadpool(_snapshot, system)
    yield ServerSentEvent(event="snapshot", data=found)
    for second in count(1):
        await asyncio.sleep(FOLLOW_SECONDS)
        if leaving.is_set():
            return
        if second % ALLOWED_SECONDS == 0 and not await run_in_threadpool(_still_allowed, request, system, credentials):
            yield ServerSentEvent(event="signed_out", data={})
            return
        news, size = await run_in_threadpool(_news, system, size)
        for item in news:
            yield ServerSentEvent(event="waiting" if isinstance(item, WaitingState) else "decided", data=item)


@router.post("/decisions", response_model=DecidedState, status_code=status.HTTP_201_CREATED)
def decide(
    body: HandDecision,
    system: System,
    caller: Annotated[Caller, Depends(allow(Role.OFFICER))],
    digest: Annotated[bytes, Depends(body_digest)],
    idempotency_key: IdempotencyKey = None,
) -> DecidedState | Response:
    """Decide by hand about a check that did not admit, within the hour and once. It is logged before this answers."""
    once = Once(system, f"{caller.scope}|desk/decisions", idempotency_key, digest)
    if answer := once.replay():
        return answer
    decided = decide_by_hand(
        system.storage,
        body.audit_index,
        body.check_id,
        admits=body.decision == "admit",
        reason=body.reason,
        before_commit=lambda unit, done: once.keep(unit, status.HTTP_201_CREATED, DecidedState.of(done)),
    )
    return DecidedState.of(decided)


@router.get("/state", response_model=DeskState, dependencies=desk)
def state(request: Request, system: System) -> DeskState:
    """Say how gates, purge and requests are doing, and list the callers' keys without their secrets."""
    sweeper: Sweeper = request.app.state.sweeper
    now = system.storage.now()
    with system.storage.reading() as unit:
        gates, held = site_state.gates(unit, now), site_state.held(unit, now)
        requests, keys = site_state.requests(unit, now), site_state.callers(unit)
    return DeskState(
        time=now,
        ready=sweeper.alive(),
        networks=system.networks.providers,
        gates=[
            GateHealthState(
                gate=state_of(health.gate),
                last_quarter=health.quarter,
                last_hour=health.hour,
                last_check_at=health.last,
            )
            for health in gates
        ],
        purge=PurgeState(
            alive=sweeper.alive(),
            last_sweep_at=sweeper.last_sweep,
            interval_seconds=system.settings.purge_interval_seconds,
            held=held.templates,
            overdue=held.overdue,
            oldest_enrolled_at=held.oldest,
            next_expiry_at=held.next_expiry,
        ),
        requests=RequestsState(open=requests.open, overdue=requests.overdue, next_due_at=requests.next_due),
        duplicates_suspected=held.duplicates_suspected,
        keys=[key_state(key) for key in keys],
    )


def _snapshot(system: Dwarpal) -> tuple[Snapshot, int]:
    with system.storage.reading() as unit:
        found, size = waiting(unit, system.storage.now())
    return Snapshot(waiting=[WaitingState.of(check) for check in found]), size


def _news(system: Dwarpal, size: int) -> tuple[list[WaitingState | DecidedState], int]:
    with system.storage.reading() as unit:
        found, size = since(unit, size)
    return [WaitingState.of(item) if isinstance(item, Waiting) else DecidedState.of(item) for item in found], size


def _still_allowed(request: Request, system: Dwarpal, credentials: HTTPAuthorizationCredentials | None) -> bool:
    try:
        return identify(request, system, credentials).role in (Role.OFFICER, Role.ADMIN)
    except DwarpalError:
        return False
