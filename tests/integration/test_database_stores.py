"""The stores and the unit of work on SQLite and PostgreSQL."""

import threading
import traceback
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import TypeVar

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Engine, select, update
from sqlalchemy.exc import IntegrityError

from biometrics.errors import Conflict, NotFound, NotReady
from biometrics.ports import UnitOfWork
from biometrics.records import (
    DeviceKey,
    EnrollmentRecord,
    Gate,
    LivenessPolicy,
    Purpose,
    SealedTemplate,
    TravelToken,
    new_id,
)
from infra.database.engine import build_engine, migrate
from infra.database.stores import add_many
from infra.database.tables import RETENTION_MICROSECONDS, EnrollmentRow
from infra.database.unit_of_work import SqlUnitOfWork
from tests.factories import NOON, make_consent, make_enrollment
from tests.fakes import FakeKeyStore

Result = TypeVar("Result")
Open = Callable[..., SqlUnitOfWork]
HOUR, TICK = timedelta(hours=1), timedelta(microseconds=1)


@pytest.fixture
def unit_of_work(engine: Engine) -> Open:
    keys = FakeKeyStore()
    return lambda **options: SqlUnitOfWork(engine, keys, "airport.example", **options)


def some_enrollment(**changes: object) -> EnrollmentRecord:
    token = TravelToken.new(new_id())
    record = make_enrollment(token, SealedTemplate(b"\x01envelope", b"\x01holder"))
    return replace(record, **changes)


def store(unit_of_work: Open, *records: EnrollmentRecord) -> None:
    with unit_of_work() as unit:
        for record in records:
            unit.enrollments.add(record)
        unit.commit()


def both(first: Callable[[], Result], second: Callable[[], Result]) -> list[Result | Exception]:
    """Run two things at the same moment and return their results or errors."""
    barrier, results = threading.Barrier(2), []

    def run(work: Callable[[], Result]) -> None:
        barrier.wait()
        try:
            results.append(work())
        except Exception as error:  # noqa: BLE001 - handed to the test
            results.append(error)

    threads = [threading.Thread(target=run, args=(work,)) for work in (first, second)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results


def test_the_unit_of_work_is_the_port(unit_of_work: Open) -> None:
    unit: UnitOfWork = unit_of_work()
    with unit as opened:
        assert opened is unit


def test_a_record_comes_back_as_it_was(unit_of_work: Open) -> None:
    plain = some_enrollment()
    full = some_enrollment(
        departs_at=NOON + 3 * HOUR + TICK,
        expires_at=NOON + 27 * HOUR + TICK,
        consent=make_consent(Purpose),
        sealed=SealedTemplate(bytes(range(256)), b"\x00\xff", b"\x01gallery"),
        duplicate_suspected=True,
        failed_checks=3,
        locked_until=NOON + HOUR,
    )
    nothing_agreed = some_enrollment(consent=make_consent(()))
    store(unit_of_work, plain, full, nothing_agreed)
    with unit_of_work(read_only=True) as unit:
        for record in (plain, full, nothing_agreed):
            assert unit.enrollments.get(record.id, NOON) == record


def test_only_commit_persists(unit_of_work: Open) -> None:
    record = some_enrollment()
    with unit_of_work() as unit:
        unit.enrollments.add(record)
    with pytest.raises(ZeroDivisionError), unit_of_work() as unit:
        unit.enrollments.add(record)
        raise ZeroDivisionError
    with unit_of_work() as unit:
        assert unit.enrollments.get(record.id, NOON) is None


def test_an_expired_enrollment_is_never_read(unit_of_work: Open) -> None:
    record = some_enrollment()
    store(unit_of_work, record)
    with unit_of_work() as unit:
        assert unit.enrollments.get(record.id, record.expires_at - TICK) == record
        assert unit.enrollments.get(record.id, record.expires_at) is None
        assert unit.enrollments.expired(record.expires_at - TICK, 10) == []
        assert unit.enrollments.expired(record.expires_at, 10) == [record]


def test_expired_come_oldest_first_and_limited(unit_of_work: Open) -> None:
    records = [some_enrollment(expires_at=NOON + n * HOUR) for n in (3, 1, 2)]
    store(unit_of_work, *records)
    with unit_of_work() as unit:
        found = unit.enrollments.expired(NOON + 5 * HOUR, 2)
    assert found == [records[1], records[2]]


def test_replace_and_delete(unit_of_work: Open) -> None:
    record = some_enrollment()
    store(unit_of_work, record)
    changed = replace(record, failed_checks=2, expires_at=NOON + HOUR, consent=make_consent([Purpose.ENTRY]))
    with unit_of_work() as unit:
        assert unit.enrollments.get(record.id, NOON) == record
        unit.enrollments.replace(changed)
        assert unit.enrollments.get(record.id, NOON) == changed
        with pytest.raises(NotFound):
            unit.enrollments.replace(some_enrollment())
        assert unit.enrollments.delete(record.id)
        assert not unit.enrollments.delete(record.id)
        assert unit.enrollments.get(record.id, NOON) is None
        unit.commit()


def test_many_are_added_and_deleted_at_once(unit_of_work: Open) -> None:
    records = [some_enrollment() for _ in range(5)]
    with unit_of_work() as unit:
        add_many(unit.session, records)
        unit.commit()
    with unit_of_work() as unit:
        assert unit.enrollments.get(records[4].id, NOON) == records[4]
        assert unit.enrollments.delete_many([]) == set()
        gone = {record.id for record in records[:4]}
        assert unit.enrollments.delete_many([*gone, new_id()]) == gone
        assert unit.enrollments.delete_many(gone) == set()
        unit.commit()
    with unit_of_work() as unit:
        assert [unit.enrollments.get(record.id, NOON) for record in records] == [None] * 4 + [records[4]]
        with pytest.raises(Conflict):
            add_many(unit.session, [replace(some_enrollment(), expires_at=NOON + timedelta(days=9))])


def test_only_its_own_unexpired_token_finds_an_enrollment(unit_of_work: Open) -> None:
    token = TravelToken.new(new_id())
    record = make_enrollment(token, SealedTemplate(b"\x01envelope", b"\x01holder"))
    store(unit_of_work, record, some_enrollment())
    with unit_of_work() as unit:
        assert unit.enrollments.held(token, record.expires_at - TICK) == record
        assert unit.enrollments.held(token, record.expires_at) is None
        assert unit.enrollments.held(TravelToken.new(record.id), NOON) is None
        assert unit.enrollments.held(TravelToken(new_id(), token.share), NOON) is None


def test_an_id_is_taken_once(unit_of_work: Open) -> None:
    record = some_enrollment()
    store(unit_of_work, record)
    with unit_of_work() as unit, pytest.raises(Conflict):
        unit.enrollments.add(record)


def test_walk_through_lists_the_consented_before_departure(unit_of_work: Open) -> None:
    gallery = {"consent": make_consent([Purpose.WALK_THROUGH]), "sealed": SealedTemplate(b"e", b"h", b"g")}

    def departing(hours: float, **changes: object) -> EnrollmentRecord:
        return some_enrollment(**({"departs_at": NOON + hours * HOUR} | gallery | changes))

    later, soon, now = departing(6), departing(2), departing(0)
    others = [
        departing(6.01),
        departing(-0.01),
        departing(2, consent=make_consent(), sealed=SealedTemplate(b"e", b"h")),
        departing(2, sealed=SealedTemplate(b"e", b"h")),
        departing(2, departs_at=None),
        departing(2, enrolled_at=NOON - HOUR, expires_at=NOON),
    ]
    store(unit_of_work, later, soon, now, *others)
    with unit_of_work(read_only=True) as unit:
        assert list(unit.enrollments.walk_through(NOON, 6 * HOUR)) == [now, soon, later]


@given(
    departs=st.none() | st.integers(-48 * 3600, 400 * 3600), expires=st.integers(0, 600 * 3600), tick=st.integers(-1, 1)
)
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_retention_is_a_rule_of_the_database(unit_of_work: Open, departs: int | None, expires: int, tick: int) -> None:
    """Invariant 2, against the table itself, beside every limit by a microsecond."""
    departs_at = None if departs is None else NOON + timedelta(seconds=departs)
    last = max(NOON, departs_at or NOON) + 24 * HOUR
    for expires_at in (NOON + timedelta(seconds=expires) + tick * TICK, last, last + TICK):
        record = some_enrollment()
        store(unit_of_work, record)
        values = {"departs_at": departs_at, "expires_at": expires_at}
        with unit_of_work() as unit:
            change = update(EnrollmentRow).where(EnrollmentRow.id == record.id).values(**values)
            if NOON <= expires_at <= last:
                unit.session.execute(change)
            else:
                with pytest.raises(IntegrityError):
                    unit.session.execute(change)
        overlong = replace(record, id=new_id(), departs_at=departs_at, expires_at=expires_at)
        with unit_of_work() as unit:
            if NOON <= expires_at <= last:
                unit.enrollments.add(overlong)
            else:
                with pytest.raises(Conflict):
                    unit.enrollments.add(overlong)
    assert RETENTION_MICROSECONDS == 24 * 3600 * 10**6


def test_a_gallery_key_needs_consent(unit_of_work: Open) -> None:
    with unit_of_work() as unit, pytest.raises(Conflict) as refused:
        unit.enrollments.add(some_enrollment(sealed=SealedTemplate(b"e", b"h", b"g")))
    assert refused.value.code == "constraint"


def test_a_broken_constraint_shows_no_row(unit_of_work: Open) -> None:
    canary = "CANARY7"
    record = some_enrollment(flight=canary)
    store(unit_of_work, record)
    change = update(EnrollmentRow).where(EnrollmentRow.id == record.id)
    with pytest.raises(IntegrityError) as broken, unit_of_work() as unit:
        unit.session.execute(change.values(expires_at=NOON + 25 * HOUR, flight=canary))
    shown = "".join(traceback.format_exception(broken.value)) + repr(broken.value) + str(broken.value.orig)
    assert canary not in shown
    assert record.id not in shown


def test_gates(unit_of_work: Open) -> None:
    gates = [Gate("b", Purpose.BOARDING, walk_through=True), Gate("a", Purpose.ENTRY)]
    with unit_of_work() as unit:
        for gate in gates:
            unit.gates.add(gate)
        with pytest.raises(Conflict):
            unit.gates.add(gates[0])
        unit.commit()
    with unit_of_work(read_only=True) as unit:
        assert unit.gates.get("b") == gates[0]
        assert unit.gates.get("c") is None
        assert unit.gates.all() == [gates[1], gates[0]]
    changed = replace(gates[1], liveness=LivenessPolicy.BOTH, signed_captures=True)
    with unit_of_work() as unit:
        unit.gates.replace(changed)
        with pytest.raises(NotFound):
            unit.gates.replace(Gate("c", Purpose.ENTRY))
        unit.commit()
    with unit_of_work(read_only=True) as unit:
        assert unit.gates.all() == [changed, gates[0]]


def test_device_keys(unit_of_work: Open) -> None:
    keys = [
        DeviceKey(f"{n}" * 32, gate, bytes([n]) * 32, NOON + n * HOUR) for n, gate in ((2, "a"), (1, "a"), (3, "b"))
    ]
    with unit_of_work() as unit:
        for key in keys:
            unit.devices.add(key)
        with pytest.raises(Conflict):
            unit.devices.add(replace(keys[0], gate_id="b"))
        unit.commit()
    with unit_of_work() as unit:
        assert unit.devices.all("a") == [keys[1], keys[0]]
        assert unit.devices.get("a", keys[0].id) == keys[0]
        assert unit.devices.get("b", keys[0].id) is None, "another gate's key"
        for hours in (5, 6):
            unit.devices.revoke(keys[0], NOON + hours * HOUR)
        assert unit.devices.get("a", keys[0].id) == replace(keys[0], revoked_at=NOON + 5 * HOUR)
        assert unit.devices.get("a", keys[1].id) == keys[1]
        with pytest.raises(Conflict):
            unit.devices.add(keys[0])


def test_nonces(unit_of_work: Open) -> None:
    with unit_of_work() as unit:
        unit.nonces.add("g", "one", NOON)
        unit.nonces.add("h", "one", NOON + HOUR)
        with pytest.raises(Conflict) as replay:
            unit.nonces.add("g", "one", NOON + HOUR)
        assert replay.value.code == "replayed"
        assert unit.nonces.seen("g", "one")
        assert not unit.nonces.seen("g", "two")
        assert unit.nonces.forget_before(NOON + HOUR) == 1
        assert not unit.nonces.seen("g", "one")
        assert unit.nonces.seen("h", "one")


def test_of_two_equal_nonces_at_once_exactly_one_counts(unit_of_work: Open) -> None:
    def send(nonce: str) -> str:
        with unit_of_work() as unit:
            unit.nonces.add("g", nonce, NOON)
            unit.commit()
        return "counted"

    for number in range(20):
        results = both(lambda n=number: send(str(n)), lambda n=number: send(str(n)))
        codes = sorted(r.code if isinstance(r, Conflict) else str(r) for r in results)
        assert codes == ["counted", "replayed"]


def test_a_check_and_an_erasure_never_interleave(unit_of_work: Open) -> None:
    def check(record: EnrollmentRecord) -> datetime | None:
        with unit_of_work() as unit:
            if unit.enrollments.get(record.id, NOON) is None:
                return None
            unit.enrollments.replace(replace(record, failed_checks=1))
            unit.commit()
            return NOON

    def erase(record: EnrollmentRecord) -> datetime | None:
        with unit_of_work() as unit:
            assert unit.enrollments.get(record.id, NOON) is not None
            assert unit.enrollments.delete(record.id)
            unit.commit()
        assert check(record) is None
        return None

    for _ in range(20):
        record = some_enrollment()
        store(unit_of_work, record)
        results = both(lambda r=record: check(r), lambda r=record: erase(r))
        assert not [result for result in results if isinstance(result, Exception)]
        with unit_of_work(read_only=True) as unit:
            assert unit.session.scalars(select(EnrollmentRow.id)).all() == []


def test_reading_holds_nobody_up(unit_of_work: Open) -> None:
    record = some_enrollment()
    store(unit_of_work, record)
    with unit_of_work(read_only=True) as reading:
        assert reading.enrollments.get(record.id, NOON) == record
        with unit_of_work() as writing:
            writing.enrollments.delete(record.id)
            writing.commit()
        assert reading.enrollments.get(record.id, NOON) == record, "a reader sees one state throughout"


def test_an_unreachable_database_is_not_ready() -> None:
    lost = build_engine("postgresql://nobody@/nowhere?host=/nonexistent")
    with pytest.raises(NotReady), SqlUnitOfWork(lost, FakeKeyStore(), "s"):
        pass


def test_a_write_lock_held_too_long_is_not_ready(tmp_path: Path) -> None:
    engine = build_engine(f"sqlite:///{tmp_path / 'x.db'}", wait_seconds=0.01)
    migrate(engine)
    with engine.begin(), pytest.raises(NotReady), SqlUnitOfWork(engine, FakeKeyStore(), "s"):
        pass
    engine.dispose()


def test_a_lock_never_given_is_not_ready(database_url: str, engine: Engine) -> None:
    if engine.dialect.name == "sqlite":
        pytest.skip("SQLite gives its one lock at the beginning, which the test above covers")
    impatient, record = build_engine(database_url, wait_seconds=0.05), some_enrollment()
    with SqlUnitOfWork(engine, FakeKeyStore(), "s") as unit:
        unit.enrollments.add(record)
        unit.commit()
        assert unit.enrollments.get(record.id, NOON)
        with pytest.raises(NotReady), SqlUnitOfWork(impatient, FakeKeyStore(), "s") as other:
            other.enrollments.get(record.id, NOON)
    impatient.dispose()
