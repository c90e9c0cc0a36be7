"""What became of liveness sessions; their landmarks and templates are in memory only."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "liveness_session",
        sa.Column("id", sa.String(length=32), nullable=False),
        sa.Column("owner", sa.String(length=110), nullable=False),
        sa.Column("gate_id", sa.String(length=100), nullable=True),
        sa.Column("status", sa.String(length=16), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("expires_at", sa.BigInteger(), nullable=False),
        sa.Column("failures", sa.Integer(), nullable=False),
        sa.Column("ended_at", sa.BigInteger(), nullable=True),
        sa.Column("reason", sa.String(length=32), nullable=True),
        sa.Column("redeemed_at", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_liveness_session"),
    )
    op.create_index("ix_liveness_session_expires_at", "liveness_session", ["expires_at"])
    op.create_index("ix_liveness_session_owner", "liveness_session", ["owner", "created_at"])
