"""How a gate makes sure of a living person, and the keys with which its devices sign captures.

Gates that exist already keep their behavior: passive, unsigned captures accepted.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("gate", sa.Column("liveness", sa.String(length=32), server_default="passive", nullable=False))
    op.add_column("gate", sa.Column("signed_captures", sa.Boolean(), server_default=sa.false(), nullable=False))
    op.create_table(
        "device_key",
        sa.Column("id", sa.String(length=32), nullable=False),
        sa.Column("gate_id", sa.String(length=100), nullable=False),
        sa.Column("public", sa.LargeBinary(length=32), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("revoked_at", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_device_key"),
    )
    op.create_index("ix_device_key_gate_id", "device_key", ["gate_id"])
