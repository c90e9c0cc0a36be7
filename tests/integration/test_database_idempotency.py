"""Answers to repeated requests: replayed to whoever holds the key, unreadable to everyone else."""

import hashlib
import threading
from collections.abc import Iterator
from datetime import timedelta

import pytest
from sqlalchemy import Engine, func, select, update
from sqlalchemy.orm import Session

from biometrics.errors import Conflict, KeyDestroyed, MalformedInput, SealBroken
from biometrics.records import epoch_end
from infra.database.tables import IdempotencyRow
from infra.idempotency import IdempotencyStore, StoredResponse
from tests.factories import NOON
from tests.fakes import FakeKeyStore

KEY = "4f6c0a4e-5a06-4f0e-a9b5"
SCOPE = "key-1|POST /v1/enrollments"
BODY, OTHER_BODY = hashlib.sha256(b"body").digest(), hashlib.sha256(b"other").digest()
ANSWER = b'{"travel_token": "CANARY-TOKEN"}'
DAY = timedelta(hours=24)


@pytest.fixture
def keys() -> FakeKeyStore:
    return FakeKeyStore()


@pytest.fixture
def session(engine: Engine) -> Iterator[Session]:
    with Session(engine) as session:
        yield session


def test_an_answer_is_replayed_for_a_day(session: Session, keys: FakeKeyStore) -> None:
    store = IdempotencyStore(session, keys)
    assert store.find(SCOPE, KEY, BODY, NOON) is None
    store.save(SCOPE, KEY, BODY, 201, ANSWER, NOON)
    expected = StoredResponse(201, ANSWER)
    assert store.find(SCOPE, KEY, BODY, NOON) == expected
    assert store.find(SCOPE, KEY, BODY, NOON + DAY - timedelta(microseconds=1)) == expected
    assert store.find(SCOPE, KEY, BODY, NOON + DAY) is None
    store.save(SCOPE, KEY, BODY, 200, b"later", NOON + DAY)
    assert store.find(SCOPE, KEY, BODY, NOON + DAY) == StoredResponse(200, b"later")


def test_scope_key_and_body_must_match(session: Session, keys: FakeKeyStore) -> None:
    store = IdempotencyStore(session, keys)
    store.save(SCOPE, KEY, BODY, 201, ANSWER, NOON)
    assert store.find("key-2|POST /v1/enrollments", KEY, BODY, NOON) is None
    assert store.find(SCOPE, KEY + "0", BODY, NOON) is None
    with pytest.raises(Conflict) as mismatch:
        store.find(SCOPE, KEY, OTHER_BODY, NOON)
    assert mismatch.value.code == "idempotency_mismatch"


def test_saving_twice_is_a_conflict(session: Session, keys: FakeKeyStore) -> None:
    store = IdempotencyStore(session, keys)
    store.save(SCOPE, KEY, BODY, 201, ANSWER, NOON)
    with pytest.raises(Conflict) as conflict:
        store.save(SCOPE, KEY, BODY, 201, b"second", NOON)
    assert conflict.value.code == "in_progress"
    assert store.find(SCOPE, KEY, BODY, NOON) == StoredResponse(201, ANSWER)


@pytest.mark.parametrize("key", ["", "short", "a" * 15, "a" * 129, "a" * 16 + "!", "a" * 16 + "\n", "é" * 16])
def test_malformed_keys(session: Session, keys: FakeKeyStore, key: str) -> None:
    store = IdempotencyStore(session, keys)
    with pytest.raises(MalformedInput):
        store.find(SCOPE, key, BODY, NOON)
    with pytest.raises(MalformedInput):
        store.save(SCOPE, key, BODY, 201, ANSWER, NOON)


def test_the_epoch_key_alone_reads_nothing(session: Session, keys: FakeKeyStore) -> None:
    IdempotencyStore(session, keys).save(SCOPE, KEY, BODY, 201, ANSWER, NOON)
    (row,) = session.scalars(select(IdempotencyRow))
    kept = row.lookup + row.body_mac + row.sealed
    for secret in (b"CANARY", KEY.encode(), hashlib.sha256(KEY.encode()).digest(), BODY):
        assert secret not in kept
    assert len(keys.keys) == 1


def test_after_the_epoch_nobody_reads_it(session: Session, keys: FakeKeyStore) -> None:
    store = IdempotencyStore(session, keys)
    store.save(SCOPE, KEY, BODY, 201, ANSWER, NOON)
    (epoch,) = keys.ended_epochs(NOON + DAY + timedelta(hours=1))
    assert epoch_end(epoch) <= NOON + DAY + timedelta(hours=1)
    keys.destroy_epoch(epoch)
    with pytest.raises(KeyDestroyed):  # a backup of the row does not help
        store.find(SCOPE, KEY, BODY, NOON)


def test_changed_rows_do_not_open(session: Session, keys: FakeKeyStore) -> None:
    store = IdempotencyStore(session, keys)
    store.save(SCOPE, KEY, BODY, 201, ANSWER, NOON)
    store.save(SCOPE, "another-key-of-16", BODY, 201, ANSWER, NOON)
    rows = session.execute(select(IdempotencyRow.lookup, IdempotencyRow.sealed)).all()
    changes = [{"status": 200}, {"expires_at": NOON + 2 * DAY}, {"sealed": b""}, {"sealed": rows[0].sealed[:-1]}]
    session.commit()
    for change in (*changes, {"sealed": rows[0].sealed}):
        for row in rows:
            session.execute(update(IdempotencyRow).where(IdempotencyRow.lookup == row.lookup).values(**change))
        for key in (KEY, "another-key-of-16"):
            if change == {"sealed": rows[0].sealed} and _opens(store, key):
                continue  # its own ciphertext
            with pytest.raises(SealBroken):
                store.find(SCOPE, key, BODY, NOON)
        session.rollback()


def _opens(store: IdempotencyStore, key: str) -> bool:
    try:
        return store.find(SCOPE, key, BODY, NOON) is not None
    except SealBroken:
        return False


def test_forgetting(session: Session, keys: FakeKeyStore) -> None:
    store = IdempotencyStore(session, keys)
    store.save(SCOPE, KEY, BODY, 201, ANSWER, NOON)
    store.save(SCOPE, "another-key-of-16", BODY, 201, ANSWER, NOON + timedelta(seconds=1))
    assert store.forget_before(NOON + DAY - timedelta(microseconds=1)) == 0
    assert store.forget_before(NOON + DAY) == 1
    assert session.scalar(select(func.count()).select_from(IdempotencyRow)) == 1


def test_of_two_at_once_exactly_one_works(engine: Engine, keys: FakeKeyStore) -> None:
    keys.epoch_key(int((NOON + DAY).timestamp()) // 3600, create=True)
    for number in range(10):
        key, outcomes, barrier = f"{KEY}-{number}", [], threading.Barrier(2)

        def work(key: str = key, outcomes: list[str] = outcomes, barrier: threading.Barrier = barrier) -> None:
            barrier.wait()
            try:
                with Session(engine) as session:
                    store = IdempotencyStore(session, keys)
                    found = store.find(SCOPE, key, BODY, NOON)
                    if found is None:
                        store.save(SCOPE, key, BODY, 201, ANSWER, NOON)
                        session.commit()
                    outcomes.append("worked" if found is None else "replayed")
            except Conflict as conflict:
                outcomes.append(conflict.code)
            except BaseException as error:  # noqa: BLE001 - shown by the assertion
                outcomes.append(repr(error))

        threads = [threading.Thread(target=work) for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert outcomes.count("worked") == 1, outcomes
        assert set(outcomes) <= {"worked", "replayed", "in_progress"}
