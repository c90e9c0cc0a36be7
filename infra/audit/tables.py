"""The tables of the audit log; rows of `audit_entry` and `audit_node` are only ever inserted."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import BigInteger, CheckConstraint, Index, LargeBinary, SmallInteger, String, Text
from sqlalchemy.orm import Mapped, mapped_column

from infra.database.base import Base, UtcTime


class AuditEntry(Base):
    """One leaf of the Merkle tree: the exact bytes that were hashed, and the fields that queries need."""

    __tablename__ = "audit_entry"
    __table_args__ = (
        # Each with the index behind it, so that a filtered page is read in order and no further than it reaches.
        Index("ix_audit_entry_event_index", "event", "index", "epoch"),
        Index("ix_audit_entry_decision_index", "decision", "index"),
        Index("ix_audit_entry_gate_index", "gate_id", "index"),
    )

    index: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    leaf: Mapped[bytes] = mapped_column(LargeBinary)
    event: Mapped[str] = mapped_column(String(32))
    time: Mapped[datetime] = mapped_column(UtcTime, index=True)
    gate_id: Mapped[str | None] = mapped_column(String(100))
    subject: Mapped[str | None] = mapped_column(String(64), index=True)
    epoch: Mapped[int | None] = mapped_column(BigInteger)
    decision: Mapped[str | None] = mapped_column(String(100))
    reason: Mapped[str | None] = mapped_column(String(100))


class AuditNode(Base):
    """The hash of one complete subtree: 2**level leaves, of which the first is leaf `index * 2**level`."""

    __tablename__ = "audit_node"

    level: Mapped[int] = mapped_column(SmallInteger, primary_key=True, autoincrement=False)
    index: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    hash: Mapped[bytes] = mapped_column(LargeBinary(32))


class AuditHead(Base):
    """The tree's size and the time of its last entry: a single row, locked by whoever appends."""

    __tablename__ = "audit_head"
    __table_args__ = (CheckConstraint("id = 1", name="single_row"),)

    id: Mapped[int] = mapped_column(SmallInteger, primary_key=True, autoincrement=False)
    size: Mapped[int] = mapped_column(BigInteger)
    last_time: Mapped[datetime | None] = mapped_column(UtcTime)


class AuditCheckpoint(Base):
    """A checkpoint that was signed for a size of the tree, as it was published."""

    __tablename__ = "audit_checkpoint"

    size: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    text: Mapped[str] = mapped_column(Text)


class AuditCosignature(Base):
    """A witness's line under the checkpoint of a size, as it came."""

    __tablename__ = "audit_cosignature"

    size: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    name: Mapped[str] = mapped_column(String(255), primary_key=True)
    key_id: Mapped[str] = mapped_column(String(8), primary_key=True)
    line: Mapped[str] = mapped_column(Text)
