"""The files of a PostgreSQL server in which a database's bytes lie: tables, spilled sorts, both kinds of log.

Rows that are deleted stay there until the place is used again, so that reading the tables alone proves little.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from sqlalchemy import Engine, text
from sqlalchemy.exc import DBAPIError, OperationalError

from biometrics.errors import NotReady
from infra.database.engine import READ_ONLY_OPTION
from infra.traces.sources import Source, Unreadable, files

KIND = "database server's files"

_WHERE = text(
    "SELECT current_setting('data_directory'), (SELECT system_identifier FROM pg_control_system()),"
    " (SELECT oid FROM pg_database WHERE datname = current_database())"
)
_IDENTIFIER_BYTES = 8
"""`pg_control` begins with the number that `initdb` gave the server."""


def server_files(engine: Engine) -> Iterator[Source]:
    """Yield the server's files that may hold this database's bytes, or one source that says why nobody can look.

    Raises `NotReady` if the database is away. What has left the machine (archived log, replicas) cannot be seen here.
    """
    try:
        folders = _folders(engine)
    except Unreadable as error:
        yield Source(KIND, KIND, 0, lambda reason=str(error): _refuse(reason))  # type: ignore[misc]
        return
    for folder in folders:
        yield from files(folder.resolve(), KIND)


def _folders(engine: Engine) -> list[Path]:
    """Return the folders; raise `Unreadable` if they are not on this machine, or not for this user to read."""
    try:
        with engine.execution_options(**{READ_ONLY_OPTION: True}).connect() as connection:
            data_directory, identifier, database = connection.execute(_WHERE).one()
    except OperationalError:
        raise NotReady("The database is away or cannot be opened.", code="database_unavailable") from None
    except DBAPIError:
        raise Unreadable("the database's user may not know where they are: only a superuser may") from None
    root = Path(data_directory)
    try:
        with (root / "global" / "pg_control").open("rb") as control:
            found = int.from_bytes(control.read(_IDENTIFIER_BYTES), "little")
        if found != identifier:
            raise Unreadable("they are on another machine")
        elsewhere = [place for link in (root / "pg_tblspc").iterdir() for place in link.glob(f"PG_*/{database}")]
    except FileNotFoundError:
        raise Unreadable("they are on another machine") from None
    except PermissionError:
        raise Unreadable("only the server's own user and root may read them") from None
    named = ("pg_wal", f"base/{database}", "base/pgsql_tmp", "log")
    return [*(root / name for name in named if (root / name).is_dir()), *elsewhere]


def _refuse(reason: str) -> Iterator[bytes]:
    raise Unreadable(reason)
    yield b""  # never reached: it makes this a generator, as every other source is
