"""What witnesses said about our checkpoints: somebody else who saw the log, and saw it only grow (C2SP tlog-witness).

A witness fetches a checkpoint and a consistency proof and sends the checkpoint back with its cosignature; we never call
it, for nothing leaves the site. Cosignatures are kept and go out with every checkpoint of their size.
"""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from biometrics.errors import Conflict, LogInconsistent, NotFound, NotPermitted
from infra.audit.checkpoint import Checkpoint, NoteSignature, parse_checkpoint, verify_by_any
from infra.audit.cosignature import NO_TIME, CosignerKey
from infra.audit.log import SqlAuditLog
from infra.audit.tables import AuditCosignature
from infra.database.insert_once import insert_once
from infra.keys.store import KeyStore, public_signing_keys

CLOCK_TOLERANCE_SECONDS = 300
"""How far a witness's clock may be from ours."""


class Witnessing:
    """The cosignatures of one log; it never commits."""

    def __init__(self, session: Session, log: SqlAuditLog, keys: KeyStore, witnesses: Sequence[CosignerKey]) -> None:
        self._session = session
        self._log = log
        self._keys = keys
        self._witnesses = witnesses

    def add(self, text: str, now: int) -> int:
        """Keep the witnesses' cosignatures of a checkpoint of ours and return its size; `now` in seconds since 1970.

        Raises `MalformedInput` for what is no checkpoint, `NotPermitted` if we did not sign it or no configured
        witness cosigned it, and `Conflict` if our log is another one at that size, or a witness's clock is wrong.
        """
        checkpoint = parse_checkpoint(text)
        try:
            verify_by_any(text, self._log.site, public_signing_keys(self._keys))
            found = [(line, self._time_of(line, checkpoint)) for line in checkpoint.signatures]
        except LogInconsistent as error:
            raise NotPermitted(error.detail, code=error.code) from None
        lines = {line: time for line, time in found if time is not None}
        if not lines:
            raise NotPermitted("No witness of this site cosigned this checkpoint.", code="no_witness")
        if checkpoint.size > self._log.size() or self._log.root(checkpoint.size) != checkpoint.root:
            raise Conflict("The log holds something else at this size.", code="log_differs")
        earliest = self._log.entry(checkpoint.size - 1).time.timestamp() if checkpoint.size else NO_TIME
        if (
            min(lines.values()) < earliest - CLOCK_TOLERANCE_SECONDS
            or max(lines.values()) > now + CLOCK_TOLERANCE_SECONDS
        ):
            raise Conflict("The witness's clock differs from ours.", code="witness_clock")
        self._log.checkpoint(checkpoint.size)
        for line in lines:
            row = {"size": checkpoint.size, "name": line.name, "key_id": line.key_id.hex(), "line": line.line}
            insert_once(self._session, AuditCosignature, row)
        return checkpoint.size

    def newest(self, least: int) -> int:
        """Return the largest size that at least this many witnesses cosigned; raise `NotFound` if there is none."""
        query = select(AuditCosignature.size).group_by(AuditCosignature.size).order_by(AuditCosignature.size.desc())
        size = self._session.execute(
            query.having(func.count(AuditCosignature.name.distinct()) >= least).limit(1)
        ).scalar_one_or_none()
        if size is None:
            raise NotFound("No checkpoint has that many cosignatures.")
        return size

    def _time_of(self, line: NoteSignature, checkpoint: Checkpoint) -> int | None:
        """Return when a configured witness signed; None for the lines of others, and for those that name no time."""
        witness = next((witness for witness in self._witnesses if witness.made(line)), None)
        return None if witness is None else witness.verify(line, checkpoint) or None
