"""What Alembic runs: the migrations, on the connection that `infra.database.engine.migrate` opened and locked."""

from __future__ import annotations

from alembic import context
from sqlalchemy import Connection

import infra.audit.tables
import infra.database.tables  # noqa: F401 - importing declares the tables
from infra.database.base import Base


def run() -> None:
    """Run the migrations inside the caller's transaction, which commits all of them or none."""
    connection = context.config.attributes["connection"]
    assert isinstance(connection, Connection)  # noqa: S101
    context.configure(
        connection=connection, target_metadata=Base.metadata, transactional_ddl=True, render_as_batch=True
    )
    with context.begin_transaction():
        context.run_migrations()


run()
