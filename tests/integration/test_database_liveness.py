"""Liveness sessions on SQLite and PostgreSQL."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import pytest
from sqlalchemy import Engine

from biometrics.errors import Conflict, NotFound
from biometrics.records import new_id
from biometrics.sessions import LivenessSession, LivenessStatus
from infra.database.unit_of_work import SqlUnitOfWork
from tests.factories import NOON
from tests.fakes import FakeKeyStore
from tests.integration.test_database_stores import both

MINUTE = timedelta(minutes=1)
Open = Callable[..., SqlUnitOfWork]


@pytest.fixture
def unit_of_work(engine: Engine) -> Open:
    keys = FakeKeyStore()
    return lambda **options: SqlUnitOfWork(engine, keys, "airport.example", **options)


def some_session(**changes: object) -> LivenessSession:
    session = LivenessSession(new_id(), "gate:a", "a", LivenessStatus.SUCCEEDED, NOON, NOON + 2 * MINUTE, 3)
    return replace(session, **changes)  # type: ignore[arg-type]


def store(unit_of_work: Open, *sessions: LivenessSession) -> None:
    with unit_of_work() as unit:
        for session in sessions:
            unit.liveness.add(session)
        unit.commit()


def test_a_session_is_kept_and_replaced(unit_of_work: Open) -> None:
    session = some_session(status=LivenessStatus.CREATED, gate_id=None, owner="key:k")
    store(unit_of_work, session)
    failed = replace(session, status=LivenessStatus.FAILED, ended_at=NOON + MINUTE, reason="too_slow")
    with unit_of_work() as unit:
        assert unit.liveness.get(session.id) == session
        assert unit.liveness.get(new_id()) is None
        unit.liveness.replace(failed)
        with pytest.raises(NotFound):
            unit.liveness.replace(some_session())
        with pytest.raises(Conflict):
            unit.liveness.add(session)
        unit.commit()
    with unit_of_work(read_only=True) as unit:
        assert unit.liveness.get(session.id) == failed


def test_the_newest_of_an_owner(unit_of_work: Open) -> None:
    old, new, other = (
        some_session(),
        some_session(created_at=NOON + MINUTE),
        some_session(owner="gate:b", created_at=NOON + 2 * MINUTE),
    )
    store(unit_of_work, old, new, other)
    with unit_of_work() as unit:
        assert unit.liveness.latest("gate:a") == new
        assert unit.liveness.latest("gate:c") is None


def test_only_open_sessions_are_overdue_and_old_ones_are_forgotten(unit_of_work: Open) -> None:
    created, going = (some_session(status=s) for s in (LivenessStatus.CREATED, LivenessStatus.IN_PROGRESS))
    later = some_session(status=LivenessStatus.CREATED, expires_at=NOON + 3 * MINUTE)
    store(unit_of_work, created, going, later, some_session())
    with unit_of_work() as unit:
        assert {s.id for s in unit.liveness.overdue(NOON + 2 * MINUTE)} == {created.id, going.id}
        assert unit.liveness.forget_before(NOON + 2 * MINUTE) == 0
        assert unit.liveness.forget_before(NOON + 3 * MINUTE) == 3
        assert unit.liveness.get(later.id) == later


@pytest.mark.parametrize(
    "changes",
    [
        {"status": LivenessStatus.IN_PROGRESS},
        {"status": LivenessStatus.FAILED},
        {"gate_id": "b"},
        {"gate_id": None},
        {"expires_at": NOON + MINUTE},
        {"redeemed_at": NOON},
    ],
)
def test_only_a_fresh_success_at_this_gate_is_redeemed(unit_of_work: Open, changes: dict[str, object]) -> None:
    session = some_session(**changes)
    store(unit_of_work, session)
    with unit_of_work() as unit:
        assert unit.liveness.redeem(session.id, "a", NOON + MINUTE) is False


def test_of_two_at_once_one_redeems(unit_of_work: Open) -> None:
    session = some_session()
    store(unit_of_work, session)

    def redeem() -> bool:
        with unit_of_work() as unit:
            done = unit.liveness.redeem(session.id, "a", NOON + MINUTE)
            unit.commit()
        return done

    assert sorted(map(str, both(redeem, redeem))) == ["False", "True"]
