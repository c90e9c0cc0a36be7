"""The status lists on SQLite and PostgreSQL."""

from __future__ import annotations

from sqlalchemy import Engine

from biometrics.credentials import LIST_SIZE, StatusPlace
from infra.database.unit_of_work import SqlUnitOfWork
from tests.fakes import FakeKeyStore


def test_places_are_taken_once_revoked_for_good_and_given_up_by_the_hour(engine: Engine) -> None:
    keys = FakeKeyStore()
    early, late, last = StatusPlace(10, 7), StatusPlace(11, 7), StatusPlace(11, LIST_SIZE - 1)
    with SqlUnitOfWork(engine, keys, "s") as unit:
        assert [unit.credentials.add(place) for place in (last, early, late, early)] == [True, True, True, False]
        unit.credentials.revoke(late)
        unit.credentials.revoke(StatusPlace(12, 1))
        assert not unit.credentials.add(late), "a revoked place does not come free"
        unit.commit()
    with SqlUnitOfWork(engine, keys, "s", read_only=True) as unit:
        store = unit.credentials
        assert [store.revoked(place) for place in (early, late, last, StatusPlace(12, 1))] == [False, True, False, None]
        assert (store.all_revoked(10), store.all_revoked(11)) == ([], [7])
        assert store.expired(9, 10) == []
        assert store.expired(11, 2) == [(early, False), (late, True)]
    with SqlUnitOfWork(engine, keys, "s") as unit:
        assert [place for place, _ in unit.credentials.expired(10, 10)] == [early]
        assert [unit.credentials.delete(early), unit.credentials.delete(early)] == [True, False]
        unit.commit()
    with SqlUnitOfWork(engine, keys, "s") as unit:
        assert unit.credentials.revoked(early) is None
