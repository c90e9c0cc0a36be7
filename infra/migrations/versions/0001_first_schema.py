"""First schema.

There is no way down: it would delete the audit log.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "api_key",
        sa.Column("id", sa.String(length=32), nullable=False),
        sa.Column("role", sa.String(length=32), nullable=False),
        sa.Column("gate_id", sa.String(length=100), nullable=True),
        sa.Column("secret_sha256", sa.LargeBinary(length=32), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("revoked_at", sa.BigInteger(), nullable=True),
        sa.CheckConstraint("(role = 'gate') = (gate_id IS NOT NULL)", name=op.f("ck_api_key_gate_key_has_gate")),
        sa.PrimaryKeyConstraint("id", name="pk_api_key"),
    )
    op.create_index("ix_api_key_gate_id", "api_key", ["gate_id"])

    op.create_table(
        "audit_checkpoint",
        sa.Column("size", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("size", name="pk_audit_checkpoint"),
    )
    op.create_table(
        "audit_entry",
        sa.Column("index", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("leaf", sa.LargeBinary(), nullable=False),
        sa.Column("event", sa.String(length=32), nullable=False),
        sa.Column("time", sa.BigInteger(), nullable=False),
        sa.Column("gate_id", sa.String(length=100), nullable=True),
        sa.Column("subject", sa.String(length=64), nullable=True),
        sa.Column("epoch", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("index", name="pk_audit_entry"),
    )
    op.create_index("ix_audit_entry_event_epoch", "audit_entry", ["event", "epoch"])
    op.create_index("ix_audit_entry_gate_id", "audit_entry", ["gate_id"])
    op.create_index("ix_audit_entry_subject", "audit_entry", ["subject"])
    op.create_index("ix_audit_entry_time", "audit_entry", ["time"])

    op.create_table(
        "audit_head",
        sa.Column("id", sa.SmallInteger(), autoincrement=False, nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("last_time", sa.BigInteger(), nullable=True),
        sa.CheckConstraint("id = 1", name=op.f("ck_audit_head_single_row")),
        sa.PrimaryKeyConstraint("id", name="pk_audit_head"),
    )
    op.create_table(
        "audit_node",
        sa.Column("level", sa.SmallInteger(), autoincrement=False, nullable=False),
        sa.Column("index", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("hash", sa.LargeBinary(length=32), nullable=False),
        sa.PrimaryKeyConstraint("level", "index", name="pk_audit_node"),
    )
    op.create_table(
        "enrollment",
        sa.Column("id", sa.String(length=32), nullable=False),
        sa.Column("flight", sa.String(length=100), nullable=False),
        sa.Column("enrolled_at", sa.BigInteger(), nullable=False),
        sa.Column("departs_at", sa.BigInteger(), nullable=True),
        sa.Column("expires_at", sa.BigInteger(), nullable=False),
        sa.Column("purposes", sa.String(length=200), nullable=False),
        sa.Column("walk_through", sa.Boolean(), nullable=False),
        sa.Column("notice_version", sa.String(length=100), nullable=False),
        sa.Column("notice_sha256", sa.String(length=64), nullable=False),
        sa.Column("language", sa.String(length=35), nullable=False),
        sa.Column("consent_given_at", sa.BigInteger(), nullable=False),
        sa.Column("model_digest", sa.String(length=64), nullable=False),
        sa.Column("envelope", sa.LargeBinary(), nullable=False),
        sa.Column("for_holder", sa.LargeBinary(), nullable=False),
        sa.Column("for_gallery", sa.LargeBinary(), nullable=True),
        sa.Column("holder_verifier", sa.LargeBinary(length=32), nullable=False),
        sa.Column("duplicate_suspected", sa.Boolean(), nullable=False),
        sa.Column("failed_checks", sa.Integer(), nullable=False),
        sa.Column("locked_until", sa.BigInteger(), nullable=True),
        sa.CheckConstraint(
            "expires_at <= enrolled_at + 86400000000"
            " OR (departs_at IS NOT NULL AND expires_at <= departs_at + 86400000000)",
            name=op.f("ck_enrollment_retention"),
        ),
        sa.CheckConstraint("expires_at >= enrolled_at", name=op.f("ck_enrollment_expires_after_enrollment")),
        sa.CheckConstraint("walk_through OR for_gallery IS NULL", name=op.f("ck_enrollment_gallery_key_needs_consent")),
        sa.PrimaryKeyConstraint("id", name="pk_enrollment"),
    )
    op.create_index("ix_enrollment_expires_at", "enrollment", ["expires_at"])
    op.create_index("ix_enrollment_gallery", "enrollment", ["walk_through", "departs_at"])

    op.create_table(
        "gate",
        sa.Column("id", sa.String(length=100), nullable=False),
        sa.Column("purpose", sa.String(length=32), nullable=False),
        sa.Column("walk_through", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_gate"),
    )
    op.create_table(
        "idempotency",
        sa.Column("lookup", sa.LargeBinary(length=32), nullable=False),
        sa.Column("body_mac", sa.LargeBinary(length=32), nullable=False),
        sa.Column("epoch", sa.BigInteger(), nullable=False),
        sa.Column("status", sa.SmallInteger(), nullable=False),
        sa.Column("sealed", sa.LargeBinary(), nullable=False),
        sa.Column("expires_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("lookup", name="pk_idempotency"),
    )
    op.create_index("ix_idempotency_expires_at", "idempotency", ["expires_at"])

    op.create_table(
        "nonce",
        sa.Column("gate_id", sa.String(length=100), nullable=False),
        sa.Column("nonce", sa.String(length=200), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("gate_id", "nonce", name="pk_nonce"),
    )
    op.create_index("ix_nonce_at", "nonce", ["at"])
