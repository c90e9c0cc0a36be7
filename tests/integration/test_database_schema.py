"""The schema: the migrations make what the code declares, once, also when two processes start together."""

import multiprocessing
import sqlite3
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Engine, inspect, select, text
from sqlalchemy.exc import DBAPIError

import infra.audit.tables
import infra.database.tables  # noqa: F401
from biometrics.errors import NotReady
from infra.database.base import Base
from infra.database.engine import READ_ONLY_OPTION, build_engine, migrate
from infra.database.tables import GateRow


def test_migrations_make_what_the_code_declares(engine: Engine) -> None:
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, Base.metadata) == []


def test_constraints_are_those_the_code_declares(engine: Engine, tmp_path: Path) -> None:
    declared = build_engine(f"sqlite:///{tmp_path / 'declared.db'}")
    Base.metadata.create_all(declared)
    for table in Base.metadata.tables:
        wanted = {check["name"] for check in inspect(declared).get_check_constraints(table)}
        found = {check["name"] for check in inspect(engine).get_check_constraints(table)}
        assert found == wanted, table
    if engine.dialect.name == "sqlite":  # there the text itself can be compared
        for table in Base.metadata.tables:
            wanted = {check["sqltext"] for check in inspect(declared).get_check_constraints(table)}
            assert {check["sqltext"] for check in inspect(engine).get_check_constraints(table)} == wanted
    declared.dispose()


def test_migrating_twice_changes_nothing(engine: Engine) -> None:
    with engine.begin() as connection:
        connection.execute(GateRow.__table__.insert().values(id="g", purpose="entry", walk_through=False))
    migrate(engine)
    with engine.connect() as connection:
        assert connection.scalars(select(GateRow.id)).all() == ["g"]


def _migrate(url: str, barrier: "multiprocessing.synchronize.Barrier") -> None:
    engine = build_engine(url)
    barrier.wait()
    migrate(engine)
    engine.dispose()


def test_two_processes_may_start_at_once(database_url: str) -> None:
    spawn = multiprocessing.get_context("spawn")
    barrier = spawn.Barrier(3)
    processes = [spawn.Process(target=_migrate, args=(database_url, barrier)) for _ in range(3)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0, 0, 0]
    engine = build_engine(database_url)
    assert "enrollment" in inspect(engine).get_table_names()
    engine.dispose()


def test_a_reading_connection_cannot_write(engine: Engine) -> None:
    reading = engine.execution_options(**{READ_ONLY_OPTION: True})
    with reading.connect() as connection, pytest.raises(DBAPIError, match=r"(?i)read-?only"):
        connection.execute(GateRow.__table__.insert().values(id="g", purpose="entry", walk_through=False))
    with engine.begin() as connection:  # the same pooled connection writes again
        connection.execute(GateRow.__table__.insert().values(id="g", purpose="entry", walk_through=False))


def test_every_sqlite_connection_overwrites_what_it_deletes(tmp_path: Path) -> None:
    engine = build_engine(f"sqlite:///{tmp_path / 'folder' / 'x.db'}")
    with engine.connect() as one, engine.connect() as two:
        for connection in (one,):
            for pragma, value in (
                ("secure_delete", 1),
                ("journal_mode", "wal"),
                ("synchronous", 2),
                ("foreign_keys", 1),
            ):
                assert connection.scalar(text(f"PRAGMA {pragma}")) == value
        one.rollback()
        assert two.scalar(text("PRAGMA secure_delete")) == 1
    assert (tmp_path / "folder" / "x.db").stat().st_mode & 0o777 == 0o600
    engine.dispose()


def test_the_schema_changes_as_a_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "x.db"
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE nonce (unrelated)")  # the last table of the first migration is in the way
    connection.close()
    engine = build_engine(f"sqlite:///{path}")
    with pytest.raises(DBAPIError):
        migrate(engine)
    assert inspect(engine).get_table_names() == ["nonce"]
    engine.dispose()


@pytest.mark.parametrize(
    "url", ["sqlite://", "sqlite:///:memory:", "sqlite:///file:x?mode=memory&uri=true", "mysql://h/d"]
)
def test_unsuitable_databases_are_refused(url: str) -> None:
    with pytest.raises(NotReady):
        build_engine(url)
