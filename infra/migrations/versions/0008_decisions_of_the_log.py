"""Decision and reason of an entry as columns, for the desk and the charts; entries that stand already are read anew."""

from __future__ import annotations

import json

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

BATCH = 1000


def upgrade() -> None:
    op.add_column("audit_entry", sa.Column("decision", sa.String(length=100), nullable=True))
    op.add_column("audit_entry", sa.Column("reason", sa.String(length=100), nullable=True))
    connection = op.get_bind()
    entry = sa.table("audit_entry", *map(sa.column, ("index", "leaf", "decision", "reason")))
    start = 0
    while rows := connection.execute(
        sa.select(entry.c.index, entry.c.leaf).where(entry.c.index >= start).order_by(entry.c.index).limit(BATCH)
    ).all():
        for index, leaf in rows:
            fields = json.loads(leaf)
            if told := {name: fields[name] for name in ("decision", "reason") if name in fields}:
                connection.execute(sa.update(entry).where(entry.c.index == index).values(told))
        start = rows[-1][0] + 1
    op.create_index("ix_audit_entry_decision_time", "audit_entry", ["decision", "time"])
