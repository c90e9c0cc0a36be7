"""What deleted rows leave behind in a database's files, and how far it can be removed."""

from __future__ import annotations

from time import sleep

from sqlalchemy import Engine
from sqlalchemy.engine.interfaces import DBAPICursor

from biometrics.errors import NotReady
from biometrics.ports import StorageScrubber
from infra.database.tables import EnrollmentRow

_HOLD_MS = 50
"""Milliseconds for which one attempt may stand in the way of writers, while it waits for a reader to finish."""


class SqliteScrubber:
    """Moves the write-ahead log into the database file and truncates it.

    `secure_delete` has overwritten the deleted rows in the pages that are moved, so afterwards neither file holds them.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def scrub(self) -> None:
        """Truncate the log; raise `NotReady` (code `scrub_incomplete`) while a long reader still needs it.

        Truncating keeps all writers out, also while it waits for a reader. So what can be moved is moved before, and
        each attempt is short, with as long a time for writers after it, until the connection's busy timeout is over.
        The deletion itself stands; a later scrub, such as the purger's next, finishes the work.
        """
        connection = self._engine.raw_connection()
        try:
            cursor = connection.cursor()
            patience_ms = _first(cursor, "PRAGMA busy_timeout")
            _first(cursor, "PRAGMA wal_checkpoint(PASSIVE)")
            _first(cursor, f"PRAGMA busy_timeout = {_HOLD_MS}")
            try:
                for _ in range(max(patience_ms // (2 * _HOLD_MS), 1)):
                    if _first(cursor, "PRAGMA wal_checkpoint(TRUNCATE)") == 0:
                        return
                    sleep(_HOLD_MS / 1000)
            finally:
                _first(cursor, f"PRAGMA busy_timeout = {patience_ms}")
        finally:
            connection.close()
        raise NotReady("A reader holds the write-ahead log.", code="scrub_incomplete")


def _first(cursor: DBAPICursor, statement: str) -> int:
    """Return the first number that a PRAGMA answers, -1 where it says nothing."""
    cursor.execute(statement)
    row = cursor.fetchone()
    return -1 if row is None else int(row[0])


class PostgresScrubber:
    """Vacuums the enrollments, so that their dead rows leave the pages' line tables and the space is used again.

    PostgreSQL does not overwrite what it frees: old bytes stay in the page until new rows take their place, and in the
    write-ahead log until its files are recycled. What they hold is sealed under an epoch key outside this database, and
    under the traveller's share; destroying that key at the end of the epoch is what erases them for good.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine.execution_options(isolation_level="AUTOCOMMIT")

    def scrub(self) -> None:
        """Vacuum the table outside of any transaction."""
        with self._engine.connect() as connection:
            connection.exec_driver_sql(f"VACUUM {EnrollmentRow.__tablename__}")


def build_scrubber(engine: Engine) -> StorageScrubber:
    """Return the scrubber for the engine's database."""
    return PostgresScrubber(engine) if engine.dialect.name == "postgresql" else SqliteScrubber(engine)
