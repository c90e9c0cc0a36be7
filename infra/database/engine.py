"""How a database is opened and brought to the newest schema: SQLite by default, PostgreSQL by URL."""

from __future__ import annotations

import sqlite3
import time
from pathlib import Path

import psycopg
from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, create_engine, event, make_url
from sqlalchemy import Engine as Engine
from sqlalchemy.engine import URL, ExceptionContext
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import OperationalError
from sqlalchemy.pool import ConnectionPoolEntry

from biometrics.errors import NotReady

READ_ONLY_OPTION = "dwarpal_read_only"
"""Execution option of a connection whose transactions take no write lock and refuse writes."""

MIGRATIONS = Path(__file__).resolve().parent.parent / "migrations"

_MIGRATION_LOCK = 0x64776172  # any number that nobody else uses on this database


def build_engine(url: str, *, wait_seconds: float = 5) -> Engine:
    """Return an engine for an SQLAlchemy URL of SQLite (a file) or PostgreSQL; nothing is read or written yet.

    A statement waits at most `wait_seconds` for a lock that another transaction holds. Bound parameters never appear
    in logs or exceptions. Raises `NotReady` for any other database.
    """
    parsed = make_url(url)
    match parsed.get_backend_name():
        case "sqlite":
            return _build_sqlite(parsed, int(wait_seconds * 1000))
        case "postgresql":
            return _build_postgresql(parsed, int(wait_seconds * 1000))
    raise NotReady("The database is neither SQLite nor PostgreSQL.", code="database_unsupported")


def migrate(engine: Engine) -> None:
    """Bring the schema to the newest revision; a second process that does the same waits and then finds it done.

    Raises `NotReady` if the database cannot be reached.
    """
    config = _alembic()
    _first_connection(engine)
    # On SQLite, BEGIN IMMEDIATE is the lock between processes; on PostgreSQL an advisory lock of this transaction is.
    with engine.begin() as connection:
        if connection.dialect.name == "postgresql":
            connection.exec_driver_sql("SET LOCAL lock_timeout = 0")
            connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_MIGRATION_LOCK})")
        config.attributes["connection"] = connection
        command.upgrade(config, "head")


def _first_connection(engine: Engine) -> None:
    """Connect once; raise `NotReady` if that is not to be had.

    Where several processes open a new SQLite file at once, one that is about to switch it to its write-ahead log may be
    told at once that it is locked, without the wait that all other statements have: so it tries again.
    """
    pauses = (0.05, 0.1, 0.2, 0.4) if engine.dialect.name == "sqlite" else ()
    for pause in (*pauses, None):
        try:
            engine.connect().close()
        except OperationalError:
            if pause is None:
                raise NotReady("The database is away or cannot be opened.", code="database_unavailable") from None
            time.sleep(pause)
        else:
            return


def schema_revisions(engine: Engine) -> tuple[str | None, str | None]:
    """Return the revision that the database has, and the newest; raise `NotReady` if it cannot be reached."""
    newest = ScriptDirectory.from_config(_alembic()).get_current_head()
    try:
        with engine.connect().execution_options(**{READ_ONLY_OPTION: True}) as connection:
            return MigrationContext.configure(connection).get_current_revision(), newest
    except OperationalError:
        raise NotReady("The database is away or cannot be opened.", code="database_unavailable") from None


def _alembic() -> Config:
    config = Config()
    config.set_main_option("script_location", MIGRATIONS.as_posix().replace("%", "%%"))
    return config


def _build_sqlite(url: URL, wait_ms: int) -> Engine:
    if not url.database or url.database == ":memory:" or url.query.get("mode") == "memory":
        raise NotReady(
            "SQLite needs a file: in memory, each connection would see its own.", code="database_unsupported"
        )
    if not url.database.startswith("file:"):
        path = Path(url.database)
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        path.touch(mode=0o600)  # the -wal and -shm files take their mode from this one
    engine = create_engine(
        url, hide_parameters=True, pool_size=10, max_overflow=30, connect_args={"timeout": wait_ms / 1000}
    )
    event.listen(engine, "connect", _prepare_sqlite)
    event.listen(engine, "begin", _begin_sqlite)
    return engine


def _prepare_sqlite(connection: DBAPIConnection, _record: ConnectionPoolEntry) -> None:
    assert isinstance(connection, sqlite3.Connection)  # noqa: S101 - the dialect has no other driver here
    # The driver must not begin transactions by itself: `_begin_sqlite` does (SQLAlchemy, "SQLite transactions").
    connection.isolation_level = None
    for pragma, wanted in (
        ("secure_delete", 1),  # deleted rows are overwritten with zeros; some builds have it off or `fast`
        ("journal_mode", "wal"),
        ("synchronous", 2),  # FULL: what the gate was told survives a power cut
        ("foreign_keys", 1),
        ("temp_store", 2),  # sorting spills into memory, never into files that nobody would scrub
    ):
        connection.execute(f"PRAGMA {pragma} = {wanted}")
        (found,) = connection.execute(f"PRAGMA {pragma}").fetchone()
        if found != wanted:
            raise NotReady(f"SQLite refuses {pragma}={wanted} on this file.", code="database_unsupported")


def _begin_sqlite(connection: Connection) -> None:
    read_only = bool(connection.get_execution_options().get(READ_ONLY_OPTION, False))
    connection.exec_driver_sql(f"PRAGMA query_only = {int(read_only)}")
    connection.exec_driver_sql("BEGIN DEFERRED" if read_only else "BEGIN IMMEDIATE")


def _build_postgresql(url: URL, wait_ms: int) -> Engine:
    options = {} if "options" in url.query else {"options": f"-c lock_timeout={wait_ms}"}
    engine = create_engine(
        url.set(drivername="postgresql+psycopg"),
        hide_parameters=True,
        pool_pre_ping=True,
        pool_size=10,
        max_overflow=30,
        connect_args={"connect_timeout": 5, "application_name": "dwarpal", **options},
    )
    event.listen(engine, "begin", _begin_postgresql)
    event.listen(engine, "handle_error", _drop_row_from_error)
    return engine


def _begin_postgresql(connection: Connection) -> None:
    if connection.get_execution_options().get(READ_ONLY_OPTION, False):
        # As SQLite's readers do, see one state of the database from the first statement to the last.
        connection.exec_driver_sql("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")


def _drop_row_from_error(context: ExceptionContext) -> None:
    # PostgreSQL answers a broken constraint with "DETAIL: Failing row contains (...)", which `hide_parameters` does not
    # cover. Its own log says the same unless the server sets log_error_verbosity = terse.
    original = context.original_exception
    if not isinstance(original, psycopg.Error):
        return
    primary = original.diag.message_primary
    if primary is None:
        return
    original.args = (primary,)
    if context.sqlalchemy_exception is not None:
        context.sqlalchemy_exception.args = (f"({type(original).__name__}) {primary}",)
