"""What deleted rows leave behind in a database's files, and how far it can be removed."""

from __future__ import annotations

from sqlalchemy import Engine

from biometrics.errors import NotReady
from biometrics.ports import StorageScrubber
from infra.database.tables import EnrollmentRow

_ATTEMPTS = 2


class SqliteScrubber:
    """Moves the write-ahead log into the database file and truncates it.

    `secure_delete` has overwritten the deleted rows in the pages that are moved, so afterwards neither file holds them.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def scrub(self) -> None:
        """Truncate the log; raise `NotReady` (code `scrub_incomplete`) while a long reader still needs it.

        Each attempt waits up to the connection's busy timeout for readers to finish. The deletion itself stands; a
        later scrub, such as the purger's next, finishes the work.
        """
        connection = self._engine.raw_connection()
        try:
            cursor = connection.cursor()
            for _ in range(_ATTEMPTS):
                cursor.execute("PRAGMA wal_checkpoint(TRUNCATE)")
                row = cursor.fetchone()
                if row is not None and row[0] == 0:
                    return
        finally:
            connection.close()
        raise NotReady("A reader holds the write-ahead log.", code="scrub_incomplete")


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
