"""What a deleted enrollment leaves in the database's files."""

import os
import threading
from pathlib import Path
from time import perf_counter

import pytest
from sqlalchemy import Engine, text

from biometrics.errors import NotReady
from biometrics.records import SealedTemplate, TravelToken, new_id
from infra.database.engine import READ_ONLY_OPTION, build_engine, migrate
from infra.database.scrub import build_scrubber
from infra.database.unit_of_work import SqlUnitOfWork
from tests.factories import NOON, make_enrollment
from tests.fakes import FakeKeyStore


def some_enrollments(engine: Engine, count: int) -> tuple[list[str], list[bytes]]:
    """Store enrollments, with an envelope larger than a page among them, and return ids and every ciphertext."""
    ids, secrets = [], []
    with SqlUnitOfWork(engine, FakeKeyStore(), "s") as unit:
        for number in range(count):
            sealed = SealedTemplate(os.urandom(1053 if number % 5 else 9000), os.urandom(61))
            record = make_enrollment(TravelToken.new(new_id()), sealed)
            unit.enrollments.add(record)
            ids.append(record.id)
            secrets += [sealed.envelope, sealed.for_holder, record.holder_verifier, record.id.encode()]
        unit.commit()
    return ids, secrets


def delete(engine: Engine, ids: list[str]) -> None:
    with SqlUnitOfWork(engine, FakeKeyStore(), "s") as unit:
        assert all(unit.enrollments.delete(each) for each in ids)
        unit.commit()


def traces(folder: Path, secrets: list[bytes]) -> int:
    """Count the secrets of which any piece of 24 bytes is in any of the database's files."""
    content = b"".join(file.read_bytes() for file in folder.iterdir())
    return sum(any(s[i : i + 24] in content for i in range(0, len(s) - 23, 24)) for s in secrets)


def test_no_byte_of_a_deleted_row_stays_in_any_file(tmp_path: Path) -> None:
    engine = build_engine(f"sqlite:///{tmp_path / 'x.db'}")
    migrate(engine)
    build_scrubber(engine).scrub()
    kept_ids, kept = some_enrollments(engine, 3)
    ids, secrets = some_enrollments(engine, 20)
    assert traces(tmp_path, secrets) == len(secrets), "the test must be able to see what it looks for"
    build_scrubber(engine).scrub()
    delete(engine, ids)
    assert traces(tmp_path, secrets) > 0, "before scrubbing the database file still holds the rows"
    build_scrubber(engine).scrub()
    assert {file.name for file in tmp_path.iterdir()} == {"x.db", "x.db-wal", "x.db-shm"}
    assert traces(tmp_path, secrets) == 0
    assert traces(tmp_path, kept) == len(kept)
    with SqlUnitOfWork(engine, FakeKeyStore(), "s", read_only=True) as unit:
        assert all(unit.enrollments.get(each, NOON) for each in kept_ids)
    engine.dispose()
    assert traces(tmp_path, secrets) == 0


def test_a_reader_in_the_way_is_reported_and_the_next_scrub_finishes(tmp_path: Path) -> None:
    engine = build_engine(f"sqlite:///{tmp_path / 'x.db'}", wait_seconds=0.01)
    migrate(engine)
    ids, secrets = some_enrollments(engine, 3)
    with engine.execution_options(**{READ_ONLY_OPTION: True}).connect() as reader:
        reader.scalar(text("SELECT count(*) FROM enrollment"))
        delete(engine, ids)
        with pytest.raises(NotReady) as busy:
            build_scrubber(engine).scrub()
        assert busy.value.code == "scrub_incomplete"
    build_scrubber(engine).scrub()
    assert traces(tmp_path, secrets) == 0
    engine.dispose()


def test_a_scrub_that_waits_for_a_reader_lets_writers_through(tmp_path: Path) -> None:
    engine = build_engine(f"sqlite:///{tmp_path / 'x.db'}", wait_seconds=1)
    migrate(engine)
    ids, _ = some_enrollments(engine, 3)
    with engine.execution_options(**{READ_ONLY_OPTION: True}).connect() as reader:
        reader.scalar(text("SELECT count(*) FROM enrollment"))
        delete(engine, ids)
        waits: list[float] = []
        done = threading.Event()

        def write() -> None:
            while not done.is_set():
                started = perf_counter()
                some_enrollments(engine, 1)
                waits.append(perf_counter() - started)

        writer = threading.Thread(target=write)
        writer.start()
        with pytest.raises(NotReady):
            build_scrubber(engine).scrub()
        done.set()
        writer.join()
    assert len(waits) > 5, "or the writer never met the scrub"
    assert max(waits) < 0.8, "the scrub waited for the reader for a second"
    engine.dispose()


def test_a_reader_that_ends_is_waited_for(tmp_path: Path) -> None:
    engine = build_engine(f"sqlite:///{tmp_path / 'x.db'}")
    migrate(engine)
    ids, secrets = some_enrollments(engine, 3)
    reader = engine.execution_options(**{READ_ONLY_OPTION: True}).connect()
    reader.scalar(text("SELECT count(*) FROM enrollment"))
    delete(engine, ids)
    timer = threading.Timer(0.2, reader.close)
    timer.start()
    build_scrubber(engine).scrub()
    timer.join()
    assert traces(tmp_path, secrets) == 0
    engine.dispose()


def test_scrubbing_works_beside_open_transactions(engine: Engine) -> None:
    ids, _ = some_enrollments(engine, 3)
    delete(engine, ids)
    build_scrubber(engine).scrub()
    build_scrubber(engine).scrub()
    if engine.dialect.name == "postgresql":
        with engine.connect() as connection:
            found = connection.execute(
                text("SELECT n_dead_tup, vacuum_count FROM pg_stat_user_tables WHERE relname = 'enrollment'")
            ).one()
        assert found == (0, 2)
