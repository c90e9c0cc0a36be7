"""Indices that give filtered entries of the log in its order, so that a page is read no further than it reaches."""

from __future__ import annotations

from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    for former in ("ix_audit_entry_event_epoch", "ix_audit_entry_decision_time", "ix_audit_entry_gate_id"):
        op.drop_index(former, "audit_entry")
    op.create_index("ix_audit_entry_event_index", "audit_entry", ["event", "index", "epoch"])
    op.create_index("ix_audit_entry_decision_index", "audit_entry", ["decision", "index"])
    op.create_index("ix_audit_entry_gate_index", "audit_entry", ["gate_id", "index"])
