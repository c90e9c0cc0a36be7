"""The tamper-evident log in the application's database; appending happens inside the caller's transaction."""

from __future__ import annotations

import hashlib
import hmac
import json
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timedelta
from itertools import groupby
from typing import TypeVar

from sqlalchemy import and_, insert, or_, select, update
from sqlalchemy.orm import Session

from biometrics.errors import KeyDestroyed, LogInconsistent, MalformedInput, NotFound, NotReady
from biometrics.records import AuditEvent, EventKind
from infra.audit import merkle
from infra.audit.canonical import JSON, canonical, utc_text
from infra.audit.checkpoint import parse_checkpoint
from infra.audit.cosignature import NO_TIME, cosign, post_quantum_key
from infra.audit.rotation import LoggedRotation, keys_in
from infra.audit.signer import LogSigner
from infra.audit.tables import AuditCheckpoint, AuditCosignature, AuditEntry, AuditHead, AuditNode
from infra.database.insert_once import insert_once
from infra.keys.store import KeyStore

LEAF_VERSION = 1
MOST_ROTATIONS = 1000
CLOCK_TOLERANCE = timedelta(minutes=5)
"""How far the clock may go back between two entries; an entry then takes the time of the one before it."""

_CODE = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.:@=/-]{0,99}", re.ASCII)
_GATE = re.compile(r"[^\s\x00-\x20\x7f]{1,100}")
_KEY_MAKERS = frozenset({EventKind.ENROLLED, EventKind.MOVED_IN})
_ENTRY = select(
    AuditEntry.index,
    AuditEntry.leaf,
    AuditEntry.event,
    AuditEntry.time,
    AuditEntry.gate_id,
    AuditEntry.subject,
    AuditEntry.epoch,
)
_Result = TypeVar("_Result")


@dataclass(frozen=True, slots=True)
class LogEntry:
    """One entry as it stands in the log; `leaf` is the exact canonical JSON that was hashed."""

    index: int
    leaf: bytes
    event: str
    time: datetime
    gate_id: str | None
    subject: str | None
    epoch: int | None = None

    def fields(self) -> dict[str, JSON]:
        """Return the leaf's fields."""
        fields: dict[str, JSON] = json.loads(self.leaf)
        return fields


class SqlAuditLog:
    """The log of one site on a SQLAlchemy session; it never commits.

    Appends are serialized by the head's row lock on PostgreSQL and by the transaction's write lock on SQLite.
    """

    def __init__(self, session: Session, keys: KeyStore, site: str) -> None:
        self._session = session
        self._keys = keys
        self._site = site
        self.signer = LogSigner(session, keys, site)

    @property
    def site(self) -> str:
        """The site's name: origin of the checkpoints and name of the signing key."""
        return self._site

    def append(self, event: AuditEvent) -> int:
        """Append one event and return its index; raises as `append_many` does."""
        return self.append_many([event])[0]

    def append_many(self, events: Sequence[AuditEvent]) -> range:
        """Append events in their order and return their indices; the head is locked and moved once for all of them.

        Raises `NotReady` if the clock went back by more than `CLOCK_TOLERANCE`: were it turned back, an
        expired template would open a gate. Raises `KeyDestroyed` if the keys of an event's epoch are gone
        (an expiry is then logged without its subject).
        """
        if not events:
            return range(0)
        size, last_time = self._lock_head()
        rows: list[dict[str, object]] = []
        leaves: list[bytes] = []
        for index, event in enumerate(events, start=size):
            last_time = _not_before(last_time, event.time)
            subject = self._pseudonym_of(event)
            leaves.append(_leaf(event, last_time, subject))
            rows.append(
                {
                    "index": index,
                    "leaf": leaves[-1],
                    "event": event.kind.value,
                    "time": last_time,
                    "gate_id": event.gate_id,
                    "subject": subject,
                    "epoch": event.epoch,
                    "decision": event.decision,
                    "reason": event.reason,
                }
            )
        self._session.execute(insert(AuditEntry), rows)
        nodes = self._with_nodes(lambda read: merkle.nodes_of_many(size, leaves, read))
        self._session.execute(
            insert(AuditNode),
            [{"level": level, "index": index, "hash": node} for (level, index), node in nodes.items()],
        )
        self._session.execute(update(AuditHead).values(size=size + len(rows), last_time=last_time))
        return range(size, size + len(rows))

    def size(self) -> int:
        """Return the number of entries."""
        return self._session.execute(select(AuditHead.size)).scalar_one_or_none() or 0

    def root(self, size: int | None = None) -> bytes:
        """Return the 32-byte root of the first `size` entries, by default of all."""
        end = self._checked_size(self.size() if size is None else size)
        return self._with_nodes(lambda read: merkle.root(end, read))

    def entry(self, index: int) -> LogEntry:
        """Return one entry; raise `NotFound` if there is none."""
        found = self.entries(index, 1) if index >= 0 else []
        if not found or found[0].index != index:
            raise NotFound
        return found[0]

    def entries(
        self,
        start: int,
        limit: int,
        *,
        event: EventKind | None = None,
        gate_id: str | None = None,
        decision: str | None = None,
        newest_first: bool = False,
    ) -> list[LogEntry]:
        """Return up to `limit` entries from index `start` on, upwards or (`newest_first`) downwards."""
        query = _ENTRY.limit(limit)
        if newest_first:
            query = query.where(AuditEntry.index <= start).order_by(AuditEntry.index.desc())
        else:
            query = query.where(AuditEntry.index >= start).order_by(AuditEntry.index)
        if event is not None:
            query = query.where(AuditEntry.event == event.value)
        if gate_id is not None:
            query = query.where(AuditEntry.gate_id == gate_id)
        if decision is not None:
            query = query.where(AuditEntry.decision == decision)
        return [LogEntry(*row) for row in self._session.execute(query)]

    def inclusion_proof(self, index: int, size: int) -> list[bytes]:
        """Return the audit path of entry `index` among `size` entries; `MalformedInput` out of range."""
        self._checked_size(size)
        if not 0 <= index < size:
            raise MalformedInput("There is no such entry in a log of this size.", code="out_of_range")
        return self._with_nodes(lambda read: merkle.inclusion_proof(index, size, read))

    def consistency_proof(self, old: int, new: int) -> list[bytes]:
        """Return the proof that `new` entries extend `old` entries; raise `MalformedInput` out of range."""
        self._checked_size(new)
        if not 0 <= old <= new:
            raise MalformedInput("The old size must not exceed the new one.", code="out_of_range")
        return self._with_nodes(lambda read: merkle.consistency_proof(old, new, read))

    def rotate_signing_key(self, event: AuditEvent) -> int:
        """Append `event` with the keys, from the present one to the prepared, and vouch for it; return its index.

        The caller commits, and then promotes. Raises `Conflict` (`rotated_meanwhile`) if another rotation came first.
        """
        keys = self.signer.keys_to_log()
        index = self.append(replace(event, kind=EventKind.SIGNING_KEY_ROTATED, rotation=keys))
        self.signer.vouch(index + 1, self.root(index + 1))
        return index

    def rotations(self) -> list[LoggedRotation]:
        """Return every rotation of the signing key with its proof, oldest first."""
        return [
            LoggedRotation(
                entry.index,
                entry.time,
                entry.leaf,
                keys,
                self.published(self.checkpoint(entry.index + 1, keep=False)),
                tuple(self.inclusion_proof(entry.index, entry.index + 1)),
            )
            for entry in self.entries(0, MOST_ROTATIONS, event=EventKind.SIGNING_KEY_ROTATED)
            if (keys := keys_in(entry.leaf)) is not None
        ]

    def checkpoint(self, size: int | None = None, *, keep: bool = True) -> str:
        """Return a signed checkpoint of `size` entries, by default all; with `keep` it is stored if new (no commit).

        Whoever only reads passes `keep=False`: the same text, and no write lock that gates would wait for.
        """
        end = self._checked_size(self.size() if size is None else size)
        text = self.signer.sign(end, self.root(end))
        if keep:
            insert_once(self._session, AuditCheckpoint, {"size": end, "text": text})
        return text

    def published(self, text: str, *, post_quantum: bool = True) -> str:
        """Return a checkpoint of ours with whatever else signs it: our ML-DSA-44 key where there is one, witnesses.

        What is kept has the Ed25519 line only: twenty times smaller, and the last root stands for all before it.
        """
        checkpoint = parse_checkpoint(text)
        key = post_quantum_key(self.signer.key()) if post_quantum else None
        ours = cosign(checkpoint, self._site, key, NO_TIME) if key is not None else ""
        return text + ours + "".join(self.cosignatures(checkpoint.size))

    def cosignatures(self, size: int) -> list[str]:
        """Return the witnesses' lines for the checkpoint of a size."""
        query = select(AuditCosignature.line).where(AuditCosignature.size == size)
        return list(self._session.execute(query.order_by(AuditCosignature.name, AuditCosignature.key_id)).scalars())

    def checkpoints(self) -> Iterator[str]:
        """Yield all checkpoints that were kept, by size, with their cosignatures."""
        query = (
            select(AuditCheckpoint.text, AuditCosignature.line)
            .join(AuditCosignature, AuditCosignature.size == AuditCheckpoint.size, isouter=True)
            .order_by(AuditCheckpoint.size, AuditCosignature.name, AuditCosignature.key_id)
        )
        rows = self._session.execute(query.execution_options(yield_per=500))
        for text, lines in groupby(rows, key=lambda row: row.text):
            yield text + "".join(row.line for row in lines if row.line is not None)

    def history_of(self, enrollment_id: str, epoch: int) -> list[LogEntry]:
        """Return everything that happened to an enrollment, oldest first.

        `epoch` is its present one. Where a delay moved it, its entries under earlier epochs are found too,
        for as long as those epochs' keys exist; after that nobody can link them, neither can we.
        """
        earlier = select(AuditEntry.epoch).where(AuditEntry.event == EventKind.MOVED_OUT.value)
        destroyed = select(AuditEntry.epoch).where(AuditEntry.event == EventKind.EPOCH_DESTROYED.value)
        query = earlier.where(AuditEntry.epoch.not_in(destroyed)).distinct()
        epochs = {epoch, *(e for e in self._session.execute(query).scalars() if e is not None)}
        pseudonyms = [p for p in (self._pseudonym_or_none(enrollment_id, e) for e in epochs) if p is not None]
        rows = _ENTRY.where(AuditEntry.subject.in_(pseudonyms)).order_by(AuditEntry.index)
        return [LogEntry(*row) for row in self._session.execute(rows)]

    def epoch_key_hash(self, epoch: int) -> str:
        """Return the hexadecimal HMAC-SHA256(epoch key, label): it names the key, no more."""
        key = self._keys.epoch_key(epoch)
        return hmac.digest(key, b"dwarpal/key-id/v1", hashlib.sha256).hex()

    def _pseudonym_of(self, event: AuditEvent) -> str | None:
        if event.pseudonym is not None and event.epoch is not None:
            self._keys.audit_key(event.epoch)  # what it stands for must not be spoken of once the key is gone
            return event.pseudonym
        if event.subject is None:
            return None
        if event.epoch is None:
            raise ValueError("an event about a subject names its epoch")
        try:
            return pseudonym(self._keys.audit_key(event.epoch, create=event.kind in _KEY_MAKERS), event.subject)
        except KeyDestroyed:
            # A backup that was put back holds rows of ended epochs. They must still be deleted, and the log says so
            # without a pseudonym, for there is no key to make it with.
            if event.kind is EventKind.EXPIRED:
                return None
            raise

    def _pseudonym_or_none(self, enrollment_id: str, epoch: int) -> str | None:
        try:
            return pseudonym(self._keys.audit_key(epoch), enrollment_id)
        except KeyDestroyed:
            return None

    def _lock_head(self) -> tuple[int, datetime | None]:
        query = select(AuditHead.size, AuditHead.last_time).with_for_update()
        row = self._session.execute(query).one_or_none()
        if row is None:
            insert_once(self._session, AuditHead, {"id": 1, "size": 0, "last_time": None})
            row = self._session.execute(query).one()
        return row

    def _checked_size(self, size: int) -> int:
        if not 0 <= size <= self.size():
            raise MalformedInput("The log has no such size.", code="out_of_range")
        return size

    def _with_nodes(self, compute: Callable[[merkle.NodeReader], _Result]) -> _Result:
        """Run a computation twice: once to learn which nodes it reads, then on the answer of one query."""
        wanted: list[tuple[int, int]] = []

        def note(level: int, index: int) -> bytes:
            wanted.append((level, index))
            return b""

        compute(note)
        nodes: dict[tuple[int, int], bytes] = {}
        if wanted:
            query = select(AuditNode.level, AuditNode.index, AuditNode.hash)
            # not `IN` on pairs, for which SQLite reads the whole table
            query = query.where(or_(*(and_(AuditNode.level == lv, AuditNode.index == ix) for lv, ix in wanted)))
            nodes = {(level, index): node for level, index, node in self._session.execute(query)}
        if len(nodes) != len(set(wanted)):
            raise LogInconsistent("The audit log lacks nodes of its tree.", code="log_incomplete")
        return compute(lambda level, index: nodes[level, index])


def _not_before(last: datetime | None, time: datetime) -> datetime:
    """Return the time of an entry after one of the time `last`; raise `NotReady` if the clock went back too far."""
    if last is None or time >= last:
        return time
    if last - time > CLOCK_TOLERANCE:
        raise NotReady("The clock is behind the audit log.", code="clock_went_back")
    return last


def pseudonym(audit_key: bytes, subject: str) -> str:
    """Return HMAC-SHA256(epoch audit key, label | subject), hexadecimal: unlinkable once the key is gone."""
    return hmac.digest(audit_key, b"dwarpal/audit/v1|" + subject.encode(), hashlib.sha256).hex()


def _leaf(event: AuditEvent, time: datetime, subject: str | None) -> bytes:
    """Return the leaf's canonical JSON: an allow-list of fields, each of a shape without room for a name."""
    fields: dict[str, JSON] = {
        "v": LEAF_VERSION,
        "time": utc_text(time),
        "event": event.kind.value,
        "event_id": event.event_id,
        "policy": event.policy_version,
        "subject": subject,
        "epoch": event.epoch,
        "check": event.check_id,
        "gate": event.gate_id,
        "purpose": event.purpose.value if event.purpose else None,
        "decision": event.decision,
        "reason": event.reason,
        "expires_at": utc_text(event.expires_at) if event.expires_at else None,
        "count": event.count,
        **(asdict(event.rotation) if event.rotation else {}),
    }
    for name in ("event_id", "policy", "check", "decision", "reason"):
        value = fields[name]
        if value is not None and not (isinstance(value, str) and _CODE.fullmatch(value)):
            raise ValueError(f"the log takes only a code as {name}")
    if event.gate_id is not None and not _GATE.fullmatch(event.gate_id):
        raise ValueError("the log takes only an identifier as gate")
    return canonical({name: value for name, value in fields.items() if value is not None})
