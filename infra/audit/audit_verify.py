"""Verifies an exported audit log offline, against the people who run the system.

    python audit_verify.py [BUNDLE] [--vkey KEY] [--pq-vkey KEY] [--witness KEY] [--receipt FILE]
                                  [--old-checkpoint FILE] [--margin SECONDS] [--json]

Without a bundle it verifies receipts and checkpoints by themselves, which needs --vkey.

Exit codes: 0 the log is sound; 1 verification failed, each reason is printed; 2 a file cannot be read, or wrong usage.

This file stands alone on purpose: an auditor can read it in one sitting, copy it to a machine without network and run
it with nothing but Python 3.11 and the `cryptography` package. It therefore repeats the few lines of RFC 6962 and of
the C2SP formats rather than importing the code that it is there to check.

What it proves, and what it cannot prove, is in docs/audit-log.md.
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import json
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import BinaryIO, cast

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

try:
    from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA44PublicKey
except ImportError:  # an older `cryptography`: everything but ML-DSA-44 can still be checked
    MLDSA44PublicKey = None  # type: ignore[assignment,misc]

FORMAT = "dwarpal-audit-bundle/v1"
RETENTION_HOURS = 24
MAX_LIFE = timedelta(days=32)  # a departure is at most 30 days ahead; 24 h more, and a day of tolerance
MAX_PURGE_INTERVAL = 3600
DEFAULT_MARGIN = 60.0
RACE_TOLERANCE = timedelta(seconds=1)  # gates that decide at once read their clocks before their turn in the log
WITNESS_CLOCK = timedelta(minutes=5)  # how far a witness's clock may be from the site's
HAND_TIME = timedelta(hours=1, minutes=5)  # how long after a check an officer may decide about it, and a slow clock
EPOCH_SECONDS = 3600
MAX_LINE = 1 << 17
MAX_PROBLEMS = 100

Fields = dict[str, object]
Progress = Callable[[int, int], None]


class UnreadableError(Exception):
    """A file is missing or is not what it should be: nothing could be verified."""


@dataclass(frozen=True)
class Problem:
    """Why verification failed: a stable `code`, words for people, and the entry's index where there is one."""

    code: str
    detail: str
    index: int | None = None


@dataclass
class Report:
    """The outcome of a verification; `ok` only if there is no problem at all."""

    site: str = ""
    exported_at: str = ""
    entries: int = 0
    root: str = ""
    checkpoints: int = 0
    enrolled: int = 0
    deleted: int = 0
    alive: int = 0
    checks: int = 0
    admitted: int = 0
    epochs_destroyed: int = 0
    rotations: int = 0
    latest_deletion_seconds: float = 0.0
    key_pinned: bool = False
    post_quantum: bool = False
    kept_alone: bool = False
    receipts: int = 0
    witnessed: dict[str, int] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        """Whether everything that was checked holds."""
        return not self.problems

    def fail(self, code: str, detail: str, index: int | None = None) -> None:
        """Record a problem; after the first hundred only their existence matters."""
        if len(self.problems) < MAX_PROBLEMS:
            self.problems.append(Problem(code, detail, index))

    def warn(self, text: str) -> None:
        """Record what the auditor should look at although it breaks no rule."""
        if len(self.warnings) < MAX_PROBLEMS:
            self.warnings.append(text)

    def as_json(self) -> str:
        """Return the report as one JSON object."""
        return json.dumps({"ok": self.ok, **asdict(self)}, indent=2)


# --- RFC 6962 and C2SP -----------------------------------------------------------------------------------------------


def leaf_hash(data: bytes) -> bytes:
    """Return SHA-256(0x00 || data) (RFC 6962, 2.1)."""
    return hashlib.sha256(b"\x00" + data).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """Return SHA-256(0x01 || left || right) (RFC 6962, 2.1)."""
    return hashlib.sha256(b"\x01" + left + right).digest()


class GrowingTree:
    """The root of a growing list of leaves, in memory that grows with the logarithm of its length."""

    def __init__(self) -> None:
        self.size = 0
        self._complete: list[bytes] = []  # one complete subtree for each set bit of the size, the largest first

    def append(self, leaf: bytes) -> None:
        """Add a leaf hash."""
        node, rest = leaf, self.size
        while rest & 1:
            node = node_hash(self._complete.pop(), node)
            rest >>= 1
        self._complete.append(node)
        self.size += 1

    def root(self) -> bytes:
        """Return the root over everything added so far."""
        if not self._complete:
            return hashlib.sha256(b"").digest()
        node = self._complete[-1]
        for left in reversed(self._complete[:-1]):
            node = node_hash(left, node)
        return node


def included(leaf: bytes, index: int, size: int, proof: Sequence[bytes], root: bytes) -> bool:
    """Say whether an inclusion proof holds (RFC 9162, 2.1.3.2)."""
    if not 0 <= index < size:
        return False
    first, last, node = index, size - 1, leaf
    for step in proof:
        if last == 0:
            return False
        if first & 1 or first == last:
            node = node_hash(step, node)
            while first and not first & 1:
                first, last = first >> 1, last >> 1
        else:
            node = node_hash(node, step)
        first, last = first >> 1, last >> 1
    return last == 0 and node == root


def _decode64(text: str) -> bytes:
    data = base64.b64decode(text, validate=True)
    if base64.b64encode(data).decode() != text:
        raise ValueError("not in its canonical spelling")
    return data


ED25519, COSIGNATURE_V1, ML_DSA_44 = 1, 4, 6  # kinds of keys, https://c2sp.org/signed-note and tlog-cosignature
_KEY_BYTES = {ED25519: 32, COSIGNATURE_V1: 32, ML_DSA_44: 1312}


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint as it can be read: nothing about it is proven. `lines` are name and key id + signature."""

    text: str
    origin: str
    size: int
    root: bytes
    lines: list[tuple[str, bytes]]

    @classmethod
    def parse(cls, note: str) -> Checkpoint:
        """Read a C2SP checkpoint; raise `ValueError` if it is none."""
        body, separator, notes = note.rpartition("\n\n")
        head = body.split("\n")
        if not separator or not notes.endswith("\n") or len(head) < 3 or not all(head):
            raise ValueError("not in the checkpoint format")
        if not re.fullmatch(r"0|[1-9][0-9]{0,18}", head[1], re.ASCII):
            raise ValueError("not in the checkpoint format")
        lines = []
        for line in notes[:-1].split("\n"):
            dash, name, encoded = line.split(" ")
            blob = _decode64(encoded)
            if dash != "—" or len(blob) < 5:
                raise ValueError("not in the checkpoint format")
            lines.append((name, blob))
        root = _decode64(head[2])
        if len(root) != 32:
            raise ValueError("not in the checkpoint format")
        return cls(body + "\n", head[0], int(head[1]), root, lines)


@dataclass(frozen=True)
class VerifierKey:
    """A C2SP verifier key, `name+hash+base64(kind || public key)`."""

    name: str
    key_id: bytes
    kind: int
    public: bytes

    @classmethod
    def parse(cls, text: str, kinds: Sequence[int] = (ED25519,)) -> VerifierKey:
        """Read the text form; raise `ValueError` if it is not one of these kinds."""
        name, hash_text, encoded = text.strip().split("+", 2)
        key = _decode64(encoded)
        key_id = hashlib.sha256(name.encode() + b"\n" + key).digest()[:4]
        if not name or not key or key[0] not in kinds or key_id.hex() != hash_text:
            raise ValueError("not a verifier key")
        if len(key) - 1 != _KEY_BYTES[key[0]]:
            raise ValueError("not a verifier key")
        return cls(name, key_id, key[0], key[1:])

    @classmethod
    def of(cls, name: str, kind: int, public: bytes) -> VerifierKey:
        """Make the key of a name from its raw bytes."""
        return cls(name, hashlib.sha256(name.encode() + b"\n" + bytes([kind]) + public).digest()[:4], kind, public)

    @property
    def label(self) -> str:
        """Name and key id, which tell keys apart."""
        return f"{self.name}+{self.key_id.hex()}"

    def signed(self, checkpoint: Checkpoint) -> int | None:
        """Return when this key signed a checkpoint, in seconds since 1970; 0 for no time, None if it did not sign.

        Raise `ValueError` if a line names this key and is not genuine. Lines of other keys are none of its business.
        """
        newest = None
        for name, blob in checkpoint.lines:
            if (name, blob[:4]) == (self.name, self.key_id):
                newest = max(newest or 0, self._verify_line(checkpoint, blob[4:]))
        return newest

    def verify_receipt(self, receipt: Fields) -> None:
        """Raise `ValueError` unless this key signed exactly this receipt."""
        if receipt.get("type") != "dwarpal-receipt/v1" or receipt.get("site") != self.name:
            raise ValueError("not a receipt of this site")
        if receipt.get("key_id") != self.key_id.hex():
            raise ValueError("signed by another key")
        signed = {name: value for name, value in receipt.items() if name != "signature"}
        self._verify(_decode64(str(receipt.get("signature"))), canonical(signed))

    def _verify_line(self, checkpoint: Checkpoint, blob: bytes) -> int:
        if self.kind == ED25519:
            self._verify(blob, checkpoint.text.encode())
            return 0
        time, signature = int.from_bytes(blob[:8], "big"), blob[8:]
        if self.kind == COSIGNATURE_V1:
            self._verify(signature, f"cosignature/v1\ntime {time}\n{checkpoint.text}".encode())
        else:
            name, origin = self.name.encode(), checkpoint.origin.encode()
            message = b"subtree/v1\n\0" + bytes([len(name)]) + name + time.to_bytes(8, "big")
            message += bytes([len(origin)]) + origin + bytes(8) + checkpoint.size.to_bytes(8, "big") + checkpoint.root
            self._verify(signature, message)
        return time

    def _verify(self, signature: bytes, message: bytes) -> None:
        try:
            if self.kind == ML_DSA_44:
                MLDSA44PublicKey.from_public_bytes(self.public).verify(signature, message)
            else:
                Ed25519PublicKey.from_public_bytes(self.public).verify(signature, message)
        except InvalidSignature:
            raise ValueError("its signature is wrong") from None


# --- Entries ---------------------------------------------------------------------------------------------------------

_CODE = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.:@=/-]{0,99}", re.ASCII)
_TIME = re.compile(r"\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}\.\d{6}Z", re.ASCII)
_TEXT_FIELDS = {
    "time": _TIME,
    "expires_at": _TIME,
    "event": re.compile(
        "enrolled|checked|moved_out|moved_in|withdrawn|expired|reviewed|epoch_destroyed|gate_created"
        "|gate_changed|device_key_added|device_key_revoked|liveness_ended|key_created|key_revoked|purged|calibrated"
        "|rights_received|rights_read|rights_decided|rights_erased|signing_key_rotated|officer_decided"
    ),
    "event_id": _CODE,
    "check": _CODE,
    "policy": _CODE,
    "decision": _CODE,
    "reason": _CODE,
    "purpose": re.compile("entry|security|boarding|walk_through"),
    "subject": re.compile("[0-9a-f]{64}"),
    "gate": re.compile(r"[^\s\x00-\x20\x7f]{1,100}"),
    "old_key": re.compile("[0-9a-f]{64}"),
    "new_key": re.compile("[0-9a-f]{64}"),
    "old_pq_key": re.compile("[0-9a-f]{2624}"),
    "new_pq_key": re.compile("[0-9a-f]{2624}"),
}
_NUMBER_FIELDS = {"v", "epoch", "count"}
_ALWAYS = {"v", "time", "event", "event_id", "policy"}
_ABOUT_SUBJECT = {"enrolled", "moved_in", "moved_out", "withdrawn", "expired", "checked", "reviewed"}


def canonical(fields: Fields) -> bytes:
    """Return the one spelling of a JSON object: sorted keys, no spaces, ASCII."""
    return json.dumps(fields, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False).encode()


def parse_time(text: object) -> datetime:
    """Read `2025-03-01T12:00:00.000000Z`; raise `ValueError` for any other spelling."""
    if not isinstance(text, str) or not _TIME.fullmatch(text):
        raise ValueError("not a time")
    return datetime.fromisoformat(text)


def parse_object(line: bytes) -> Fields:
    """Read one canonical JSON object; raise `ValueError` otherwise."""
    value = json.loads(line)
    if not isinstance(value, dict) or canonical(value) != line:
        raise ValueError("not canonical JSON")
    return cast(Fields, value)


@dataclass(frozen=True)
class Entry:
    """One entry whose fields are on the allow-list and of the right shape."""

    index: int
    time: datetime
    event: str
    subject: str | None
    epoch: int | None
    decision: str | None
    expires_at: datetime | None
    event_id: str
    check: str | None
    gate: str | None

    @classmethod
    def parse(cls, index: int, line: bytes) -> Entry:
        """Read a leaf; raise `ValueError` with the reason if anything about it is not allowed."""
        fields = parse_object(line)
        if missing := _ALWAYS - fields.keys():
            raise ValueError(f"lacks {', '.join(sorted(missing))}")
        for name, value in fields.items():
            if name in _NUMBER_FIELDS:
                right = type(value) is int and value >= 0
            else:
                pattern = _TEXT_FIELDS.get(name)
                right = pattern is not None and isinstance(value, str) and bool(pattern.fullmatch(value))
            if not right:
                raise ValueError(f"has a field that is not allowed, or not in this shape: {name[:40]!a}")
        if fields["v"] != 1:
            raise ValueError("is of an unknown version")
        expires = parse_time(fields["expires_at"]) if "expires_at" in fields else None
        return cls(
            index,
            parse_time(fields["time"]),
            str(fields["event"]),
            cast("str | None", fields.get("subject")),
            cast("int | None", fields.get("epoch")),
            cast("str | None", fields.get("decision")),
            expires,
            str(fields["event_id"]),
            cast("str | None", fields.get("check")),
            cast("str | None", fields.get("gate")),
        )


# --- What the entries say taken together -----------------------------------------------------------------------------


@dataclass
class _Life:
    """One template's life under one pseudonym."""

    expires_at: datetime
    ended_by: str | None = None


class Ledger:
    """Follows every template from enrollment to deletion, and every epoch to its destruction."""

    def __init__(self, report: Report, grace: timedelta) -> None:
        self._report = report
        self._grace = grace
        self._lives: dict[int, dict[str, _Life]] = {}  # by epoch, then by pseudonym
        self._destroyed: set[int] = set()
        self._turned_away: dict[str, Entry] = {}  # checks of the last hour about which an officer may decide
        self._moving = False
        self._last = datetime.min.replace(tzinfo=UTC)

    @property
    def last(self) -> datetime:
        """The time of the newest entry so far."""
        return self._last

    def follow(self, entry: Entry) -> None:
        """Take one entry into account."""
        if entry.time < self._last:
            self._fail("time_went_back", "is older than the entry before it", entry)
        self._last = max(self._last, entry.time)
        if self._moving != (entry.event == "moved_in"):
            self._fail("unpaired_move", "a moved_out is always followed by its moved_in", entry)
        self._moving = entry.event == "moved_out"
        if entry.event == "epoch_destroyed":
            self._epoch_destroyed(entry)
        elif entry.event == "officer_decided":
            self._by_hand(entry)
        elif entry.event in _ABOUT_SUBJECT:
            self._about_subject(entry)
        if entry.event == "checked" and entry.decision in ("deny", "refer"):
            self._turned_away[entry.event_id] = entry

    def finish(self, exported_at: datetime) -> None:
        """Look for what should have happened by the time of the export and did not."""
        if self._moving:
            self._report.fail("unpaired_move", "the log ends between a moved_out and its moved_in")
        if exported_at < self._last:
            self._report.fail("time_went_back", "the export claims to be older than its last entry")
        end = max(exported_at, self._last)
        for epoch, lives in self._lives.items():
            for life in lives.values():
                self._report.alive += life.ended_by is None
                if life.ended_by is None and life.expires_at + self._grace < end:
                    self._report.fail(
                        "not_deleted",
                        f"a template was never deleted, {_seconds(life.expires_at, end)} after its expiry",
                    )
            if epoch not in self._destroyed and _epoch_end(epoch) + self._grace < end:
                self._report.fail(
                    "epoch_key_kept",
                    f"the keys of epoch {epoch} still exist, {_seconds(_epoch_end(epoch), end)} after its end",
                )

    def _by_hand(self, entry: Entry) -> None:
        """An officer decides once about a check of the last hour that did not admit, and of the same subject."""
        while self._turned_away and entry.time - next(iter(self._turned_away.values())).time > HAND_TIME:
            del self._turned_away[next(iter(self._turned_away))]
        check = self._turned_away.pop(entry.check or "", None)
        if check is None or check.gate != entry.gate or entry.subject not in (None, check.subject):
            self._fail("hand_decision_unfounded", "an officer decided about no such check, or a second time", entry)
        elif entry.epoch in self._destroyed:
            self._after_destruction(entry, entry.epoch)

    def _about_subject(self, entry: Entry) -> None:
        if entry.event == "checked":
            self._report.checks += 1
            self._report.admitted += entry.decision == "admit"
        if entry.epoch in self._destroyed:
            self._after_destruction(entry, entry.epoch)
        elif entry.subject is None or entry.epoch is None:
            if entry.event != "checked" or entry.decision == "admit":
                self._fail("no_subject", "says of nobody what can only be said of somebody", entry)
        elif entry.event in ("enrolled", "moved_in"):
            self._born(entry, entry.epoch, entry.subject)
        else:
            self._lived(entry, self._lives.get(entry.epoch, {}).get(entry.subject))

    def _after_destruction(self, entry: Entry, epoch: int) -> None:
        """Only a backup that was put back leaves rows to delete after their keys; they have no pseudonym any more."""
        if entry.event != "expired" or entry.subject is not None:
            self._fail("epoch_used_after_destruction", f"uses epoch {epoch} after its keys were destroyed", entry)
            return
        self._report.warn(
            f"entry {entry.index}: a template of epoch {epoch} was deleted after the keys: restored backup?"
        )
        lives = self._lives.get(epoch, {})
        oldest = min(lives, key=lambda subject: lives[subject].expires_at, default=None)
        if oldest is not None:
            self._deleted(entry, lives.pop(oldest))

    def _born(self, entry: Entry, epoch: int, subject: str) -> None:
        lives = self._lives.setdefault(epoch, {})
        before = lives.get(subject)
        self._report.enrolled += entry.event == "enrolled"
        if before is not None and not (entry.event == "moved_in" and before.ended_by == "moved_out"):
            self._fail("resurrected", f"the same subject was enrolled already ({before.ended_by or 'alive'})", entry)
        if entry.expires_at is None:
            self._fail("no_expiry", "a template without an expiry", entry)
            return
        if int(entry.expires_at.timestamp()) // EPOCH_SECONDS != epoch:
            self._fail("wrong_epoch", "the expiry does not lie in the epoch whose key seals the template", entry)
        if not entry.time <= entry.expires_at <= entry.time + MAX_LIFE:
            self._fail("kept_too_long", "the expiry is in the past or too far ahead", entry)
        lives[subject] = _Life(entry.expires_at)

    def _lived(self, entry: Entry, life: _Life | None) -> None:
        if life is None:
            self._fail("unknown_subject", f"{entry.event}, but never enrolled", entry)
        elif entry.event == "checked":
            self._checked(entry, life)
        elif life.ended_by is not None:
            self._fail("deleted_twice", f"{entry.event} after {life.ended_by}", entry)
        elif entry.event in ("withdrawn", "expired", "moved_out"):
            life.ended_by = entry.event
            self._deleted(entry, life)

    def _checked(self, entry: Entry, life: _Life) -> None:
        admitted = entry.decision == "admit"
        if life.ended_by is not None and admitted:
            self._fail("decision_after_deletion", f"admitted after {life.ended_by}", entry)
        elif life.ended_by is not None:
            self._report.warn(f"entry {entry.index}: recognized after {life.ended_by}, not admitted")
        elif admitted and entry.time >= life.expires_at + RACE_TOLERANCE:
            self._fail(
                "decision_after_expiry", f"admitted {_seconds(life.expires_at, entry.time)} after the expiry", entry
            )

    def _deleted(self, entry: Entry, life: _Life) -> None:
        self._report.deleted += entry.event != "moved_out"
        late = (entry.time - life.expires_at).total_seconds()
        self._report.latest_deletion_seconds = max(self._report.latest_deletion_seconds, late)
        if late > self._grace.total_seconds():
            self._fail("deleted_late", f"a gap of the purger: {entry.event} {late:.0f} s after the expiry", entry)

    def _epoch_destroyed(self, entry: Entry) -> None:
        if entry.epoch is None:
            self._fail("no_epoch", "does not say which epoch", entry)
            return
        if entry.epoch in self._destroyed:  # the purger repeats itself after a crash between key and log
            return
        self._report.epochs_destroyed += 1
        if entry.time > _epoch_end(entry.epoch) + self._grace and entry.epoch in self._lives:
            late = _seconds(_epoch_end(entry.epoch), entry.time)
            self._fail("epoch_destroyed_late", f"a gap of the purger: keys destroyed {late} after the end", entry)
        self._destroyed.add(entry.epoch)
        # What ended under this epoch needs no memory: whatever names the epoch from now on is a problem by itself.
        lives = self._lives.get(entry.epoch, {})
        self._lives[entry.epoch] = {s: life for s, life in lives.items() if life.ended_by is None}

    def _fail(self, code: str, detail: str, entry: Entry) -> None:
        self._report.fail(code, detail, entry.index)


def _epoch_end(epoch: int) -> datetime:
    return datetime.fromtimestamp((epoch + 1) * EPOCH_SECONDS, UTC)


def _seconds(then: datetime, now: datetime) -> str:
    return f"{(now - then).total_seconds():.0f} s"


# --- The bundle ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Reign:
    """A signing key of the log, and the size at which it was retired; `size` is None for the key in force."""

    key: VerifierKey
    size: int | None = None

    def covers(self, size: int) -> bool:
        """Say whether the key may sign the log of a size: a former key signs nothing beyond its own rotation."""
        return self.size is None or size <= self.size


@dataclass
class _Bundle:
    """What stands around the entries: the header, and the root that somebody signed for each size."""

    header: Fields
    key: VerifierKey
    post_quantum: VerifierKey | None
    witnesses: Sequence[VerifierKey]
    exported_at: datetime
    grace: timedelta
    entries: int
    roots: dict[int, bytes] = field(default_factory=dict)
    seen: dict[int, int] = field(default_factory=dict)  # by size: the earliest time at which a witness saw the log
    pins: list[VerifierKey] = field(default_factory=list)  # the site's keys that the auditor brought along
    former: list[_Reign] = field(default_factory=list)  # before the key in force, Ed25519 and ML-DSA-44
    vouched: set[str] = field(default_factory=set)  # labels of the keys that signed the end of their own reign

    @property
    def reigns(self) -> list[_Reign]:
        """All keys of the log."""
        return [*self.former, _Reign(self.key), *([_Reign(self.post_quantum)] if self.post_quantum else [])]


def _lines(stream: BinaryIO) -> Iterator[bytes]:
    """Yield lines without their newline; raise `ValueError` where a line is too long or cut off."""
    while line := stream.readline(MAX_LINE):
        if not line.endswith(b"\n"):
            raise ValueError("a line is too long or cut off")
        yield line[:-1]


def _is_checkpoint(line: bytes) -> bool:
    return line.startswith(b'{"checkpoint":')


@dataclass(frozen=True)
class _Pins:
    """The keys that the auditor brought along, as text."""

    vkey: str | None
    pq_vkey: str | None
    witnesses: Sequence[str]


def _pinned(text: str, *kinds: int) -> VerifierKey:
    try:
        key = VerifierKey.parse(text, kinds)
    except ValueError:
        raise UnreadableError("a pinned verifier key cannot be read, or is of another kind") from None
    if key.kind == ML_DSA_44 and MLDSA44PublicKey is None:
        raise UnreadableError("this version of the package `cryptography` cannot verify ML-DSA-44")
    return key


def _read_header(line: bytes, pins: _Pins, margin_seconds: float, report: Report) -> _Bundle:
    try:
        header = parse_object(line)
        if header.get("format") != FORMAT:
            raise ValueError("another format")
        site, own_key = str(header["site"]), str(header["vkey"])
        exported_at = parse_time(header["exported_at"])
        interval = header["purge_interval_seconds"]
        if type(interval) is not int:
            raise ValueError("no purge interval")
        own = VerifierKey.parse(own_key)
        second = header.get("post_quantum_vkey")
        own_second = None if second is None else VerifierKey.parse(str(second), (ML_DSA_44,))
    except (KeyError, ValueError, RecursionError):
        raise UnreadableError(f"the first line is not the header of a {FORMAT} file") from None
    brought = [] if pins.vkey is None else [_pinned(pins.vkey, ED25519)]
    witnesses = [_pinned(text, COSIGNATURE_V1, ML_DSA_44) for text in pins.witnesses]
    report.site, report.exported_at, report.key_pinned = site, str(header["exported_at"]), pins.vkey is not None
    if pins.vkey is None:
        report.warn(
            "THE KEY WAS NOT PINNED: the signatures were checked against the key in the file itself, which whoever "
            "forged the file would have put there. Pass --vkey with the key that the site published."
        )
    if pins.pq_vkey is not None:
        brought.append(_pinned(pins.pq_vkey, ML_DSA_44))
    elif own_second is not None and MLDSA44PublicKey is None:
        report.warn("the ML-DSA-44 signatures were not checked: this version of `cryptography` has no ML-DSA")
        own_second = None
    if own.name != site:
        report.fail("other_key", "the bundle names another site's key")
    if header.get("retention_hours") != RETENTION_HOURS:
        report.fail("header_limits", f"the retention is not {RETENTION_HOURS} hours")
    if not 0 < interval <= MAX_PURGE_INTERVAL:
        report.fail("header_limits", f"the purger must run at least every {MAX_PURGE_INTERVAL} s")
        interval = MAX_PURGE_INTERVAL
    grace = timedelta(seconds=interval + margin_seconds)
    return _Bundle(header, own, own_second, witnesses, exported_at, grace, 0, pins=brought)


def _rotation(line: bytes) -> Fields | None:
    """Return the fields of a rotation's entry, None for every other line; raise `ValueError` if it names no keys."""
    if b'"event":"signing_key_rotated"' not in line:
        return None
    fields = parse_object(line)
    for name in ("old_key", "new_key"):
        if not _TEXT_FIELDS[name].fullmatch(str(fields.get(name))):
            raise ValueError("a rotation that names no keys")
    return fields


def _settle_keys(bundle: _Bundle, rotations: Sequence[tuple[int, Fields]], report: Report) -> None:
    """Put the keys that signed this log in their order, and hold the pinned ones against them."""
    site, in_force = bundle.key.name, {"key": bundle.key, "pq_key": bundle.post_quantum}
    kinds = {"key": ED25519, "pq_key": ML_DSA_44}
    for index, fields in reversed(rotations):
        for which, kind in kinds.items():
            if MLDSA44PublicKey is None and kind == ML_DSA_44:
                continue
            old, new, following = fields.get(f"old_{which}"), fields.get(f"new_{which}"), in_force[which]
            if new is not None and following is None and index == rotations[-1][0]:
                following = bundle.post_quantum = VerifierKey.of(site, kind, bytes.fromhex(str(new)))
            if new != (following and following.public.hex()):
                report.fail("rotation_broken", "names another key than the one that follows", index)
            in_force[which] = None if old is None else VerifierKey.of(site, kind, bytes.fromhex(str(old)))
            if former := in_force[which]:
                bundle.former.append(_Reign(former, index + 1))
    report.rotations = len(rotations)
    known = {reign.key.label: reign for reign in bundle.reigns}
    for pinned in bundle.pins:
        reign = known.get(pinned.label)
        if reign is None or reign.key != pinned:
            report.fail("other_key", "the bundle belongs to another site or is signed by another key")
            if pinned.kind == ED25519:
                bundle.key, bundle.former = pinned, []
            else:
                bundle.post_quantum = pinned
        elif reign.size is not None:
            newest = bundle.key if pinned.kind == ED25519 else bundle.post_quantum
            report.warn(f"the pinned key {pinned.label} was retired by entry {reign.size - 1}: pin {_text(newest)}")


def _text(key: VerifierKey | None) -> str:
    return (
        "its successor" if key is None else f"{key.label}+{base64.b64encode(bytes([key.kind]) + key.public).decode()}"
    )


def _expect_root(bundle: _Bundle, text: str, origin: str, report: Report) -> Checkpoint | None:
    """Verify a checkpoint by every key we know, and remember which root its size must have."""
    try:
        checkpoint = Checkpoint.parse(text)
        if checkpoint.origin != bundle.key.name:
            raise ValueError("of another log")
        signers = [reign for reign in bundle.reigns if reign.key.signed(checkpoint) is not None]
        own = [reign for reign in signers if reign.key.kind == ED25519]
        if not own:
            raise ValueError("not signed by the log's key")
        if not any(reign.covers(checkpoint.size) for reign in own):
            raise ValueError("signed by a key that had been retired before")
        bundle.vouched |= {reign.key.label for reign in signers if reign.size == checkpoint.size}
        signed_twice = len(own) < len(signers)
        for witness in bundle.witnesses:
            _hear(bundle, witness, checkpoint, report)
    except ValueError as error:
        report.fail("checkpoint_invalid", f"{origin}: {error}")
        return None
    report.checkpoints += 1
    if report.kept_alone and bundle.post_quantum is not None:  # within a log, the last one is what counts
        report.post_quantum = signed_twice
        if not signed_twice:
            report.fail("post_quantum_missing", f"{origin} is not signed by the ML-DSA-44 key")
    if bundle.roots.setdefault(checkpoint.size, checkpoint.root) != checkpoint.root:
        report.fail("fork", f"{origin}: two different logs of {checkpoint.size} entries were signed")
    return checkpoint


def _hear(bundle: _Bundle, witness: VerifierKey, checkpoint: Checkpoint, report: Report) -> None:
    """Take a witness's word for a checkpoint; without a time it does not say that it saw the log."""
    if time := witness.signed(checkpoint):
        bundle.seen[checkpoint.size] = min(time, bundle.seen.get(checkpoint.size, time))
        report.witnessed[witness.label] = max(checkpoint.size, report.witnessed.get(witness.label, 0))


def _survey(path: Path, pins: _Pins, margin_seconds: float, report: Report) -> _Bundle:
    """First pass: the header, the number of entries and all checkpoints."""
    bundle: _Bundle | None = None
    last: Checkpoint | None = None
    rotations: list[tuple[int, Fields]] = []
    at_checkpoints = False
    with path.open("rb") as stream:
        try:
            for line in _lines(stream):
                if bundle is None:
                    bundle = _read_header(line, pins, margin_seconds, report)
                elif _is_checkpoint(line):
                    if not at_checkpoints:
                        _settle_keys(bundle, rotations, report)
                    at_checkpoints = True
                    last = _expect_root(bundle, _checkpoint_text(line), "a checkpoint in the bundle", report)
                elif at_checkpoints:
                    report.fail("malformed", "an entry stands after the checkpoints")
                else:
                    if (rotation := _rotation(line)) is not None:
                        rotations.append((bundle.entries, rotation))
                    bundle.entries += 1
        except ValueError as error:
            if bundle is None:
                raise UnreadableError("this is not an audit bundle") from None
            report.fail("malformed", str(error))
    if bundle is None:
        raise UnreadableError("the file is empty")
    if not at_checkpoints:
        report.fail("truncated", "the bundle does not end with a checkpoint")
    elif last is not None and last.size < bundle.entries:
        report.fail("unsigned_entries", f"{bundle.entries} entries, but the last checkpoint covers {last.size}")
    for reign in bundle.former:
        if reign.key.label not in bundle.vouched:
            report.fail("rotation_unvouched", "the former key did not sign this change of keys", (reign.size or 0) - 1)
    if last is not None and bundle.post_quantum is not None:
        report.post_quantum = bundle.post_quantum.signed(last) is not None
        if not report.post_quantum:
            report.fail("post_quantum_missing", "the last checkpoint is not signed by the ML-DSA-44 key")
    if bundle.header.get("entries") != bundle.entries:
        report.fail("truncated", f"{bundle.entries} entries where the header announces {bundle.header.get('entries')}")
    return bundle


def _checkpoint_text(line: bytes) -> str:
    fields = parse_object(line)
    if fields.keys() != {"checkpoint"} or not isinstance(fields["checkpoint"], str):
        raise ValueError("a checkpoint's line is malformed")
    return fields["checkpoint"]


def _replay(path: Path, bundle: _Bundle, leaves: dict[int, bytes], report: Report, progress: Progress) -> None:
    """Second pass: every entry, every root that was signed, and the leaves that receipts speak of."""
    tree, ledger, malformed = GrowingTree(), Ledger(report, bundle.grace), 0
    broken = not _root_agrees(bundle, tree, report)
    with path.open("rb") as stream:
        stream.readline()
        for index in range(bundle.entries):
            line = stream.readline(MAX_LINE).rstrip(b"\n")
            try:
                ledger.follow(Entry.parse(index, line))
            except (ValueError, RecursionError) as error:
                malformed += 1
                report.fail("malformed", f"the entry {error}" if malformed == 1 else "malformed", index)
            if index in leaves and leaves[index] != line:
                report.fail("receipt_contradicted", "the log holds another entry than the receipt", index)
            tree.append(leaf_hash(line))
            broken = broken or not _root_agrees(bundle, tree, report)
            seen = bundle.seen.get(tree.size)
            if seen is not None and ledger.last.timestamp() > seen + WITNESS_CLOCK.total_seconds():
                report.fail("witness_contradicted", "was witnessed before the time that it claims", index)
            if index % 1000 == 999 or index + 1 == bundle.entries:
                progress(index + 1, bundle.entries)
    ledger.finish(bundle.exported_at)
    report.entries, report.root = tree.size, base64.b64encode(tree.root()).decode()
    if (longest := max(bundle.roots, default=0)) > tree.size:
        report.fail("truncated", f"a log of {longest} entries was signed, but only {tree.size} are here")


def _root_agrees(bundle: _Bundle, tree: GrowingTree, report: Report) -> bool:
    """Compare at the sizes that were signed; only the first difference says where the change lies."""
    expected = bundle.roots.get(tree.size)
    if expected is None or expected == tree.root():
        return True
    good = max((size for size in bundle.roots if size < tree.size), default=0)
    report.fail(
        "root_mismatch",
        f"an entry from {good} up to {tree.size - 1} was edited, removed, added or reordered, or this is a fork",
    )
    return False


def _read_receipt(path: Path, bundle: _Bundle, report: Report) -> tuple[int, bytes] | None:
    """Verify a receipt by itself; return index and leaf of the deletion that the log must hold."""
    try:
        receipt = json.loads(path.read_bytes())
        if not isinstance(receipt, dict):
            raise ValueError
    except (OSError, ValueError, RecursionError):
        raise UnreadableError(f"{path} is not a receipt") from None
    try:
        reign = next((r for r in bundle.reigns if r.key.key_id.hex() == receipt.get("key_id")), _Reign(bundle.key))
        reign.key.verify_receipt(receipt)
        if receipt.get("kind") != "deletion":
            return None
        index, leaf = receipt["log_index"], receipt["leaf"].encode("ascii")
        head = _expect_root(bundle, receipt["checkpoint"], "the receipt's checkpoint", report)
        entry = Entry.parse(index, leaf)
        if head is None or entry.event not in ("withdrawn", "expired") or entry.epoch != receipt["epoch"]:
            raise ValueError("does not prove a deletion")
        if not reign.covers(head.size):
            raise ValueError("signed by a key that had been retired before")
        proof = [bytes.fromhex(step) for step in receipt["inclusion_proof"]]
        if not included(leaf_hash(leaf), index, head.size, proof, head.root):
            raise ValueError("its inclusion proof is wrong")
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        report.fail("receipt_invalid", f"the receipt {path.name} is not genuine: {error}")
        return None
    return index, leaf


def verify_bundle(
    path: str | Path,
    *,
    vkey: str | None = None,
    pq_vkey: str | None = None,
    witnesses: Sequence[str] = (),
    receipts: Sequence[str | Path] = (),
    old_checkpoints: Sequence[str | Path] = (),
    margin_seconds: float = DEFAULT_MARGIN,
    progress: Progress = lambda done, total: None,
) -> Report:
    """Verify a bundle and whatever somebody kept from earlier; raise `UnreadableError` if a file cannot be read.

    `vkey` pins the site's verifier key, `pq_vkey` its ML-DSA-44 key, `witnesses` the keys of those who must have
    cosigned at least one checkpoint; `receipts` are receipts as JSON, `old_checkpoints` checkpoints as text.
    `margin_seconds` is how much later than one purge interval a deletion may be. Memory does not grow with the log,
    only with the number of checkpoints and of templates that are alive.
    """
    report = Report()
    try:
        bundle = _survey(Path(path), _Pins(vkey, pq_vkey, witnesses), margin_seconds, report)
        leaves = _read_kept(bundle, receipts, old_checkpoints, report)
        _replay(Path(path), bundle, leaves, report, progress)
    except OSError as error:
        raise UnreadableError(f"{error.filename or path}: {error.strerror or 'cannot be read'}") from None
    return report


def verify_kept(
    *,
    vkey: str,
    pq_vkey: str | None = None,
    witnesses: Sequence[str] = (),
    receipts: Sequence[str | Path] = (),
    old_checkpoints: Sequence[str | Path] = (),
) -> Report:
    """Verify receipts and checkpoints by themselves, without a log: what a traveller can do alone.

    It shows that the site signed them and that each deletion stood in the log that the site showed then; whether it
    still does, only a bundle tells. Raises `UnreadableError` as `verify_bundle` does.
    """
    report = Report(key_pinned=True, kept_alone=True)
    key, second = _pinned(vkey, ED25519), None if pq_vkey is None else _pinned(pq_vkey, ML_DSA_44)
    if second is not None and second.name != key.name:
        report.fail("other_key", "the ML-DSA-44 key is of another site")
    watching = [_pinned(text, COSIGNATURE_V1, ML_DSA_44) for text in witnesses]
    report.site = key.name
    bundle = _Bundle({}, key, second, watching, datetime.max.replace(tzinfo=UTC), timedelta(), 0)
    try:
        report.receipts = len(_read_kept(bundle, receipts, old_checkpoints, report))
    except OSError as error:
        raise UnreadableError(f"{error.filename}: {error.strerror or 'cannot be read'}") from None
    return report


def _read_kept(
    bundle: _Bundle, receipts: Sequence[str | Path], old_checkpoints: Sequence[str | Path], report: Report
) -> dict[int, bytes]:
    """Verify what somebody kept from earlier; return the leaves, by index, that receipts say are in the log."""
    leaves: dict[int, bytes] = {}
    for old in old_checkpoints:
        try:
            text = Path(old).read_bytes()[:MAX_LINE].decode()
        except UnicodeDecodeError:
            raise UnreadableError("an old checkpoint is not text") from None
        _expect_root(bundle, text, f"the old checkpoint {Path(old).name}", report)
    for receipt in receipts:
        found = _read_receipt(Path(receipt), bundle, report)
        if found is not None and leaves.setdefault(*found) != found[1]:
            report.fail("fork", "two receipts disagree about the same entry")
    for witness in bundle.witnesses:
        if witness.label not in report.witnessed:
            report.fail("not_witnessed", f"{witness.label} cosigned no checkpoint of this log")
    return leaves


# --- Command line ----------------------------------------------------------------------------------------------------


def describe(report: Report) -> str:
    """Return the report in words."""
    lines = [f"WARNING: {warning}" for warning in report.warnings]
    lines += _describe_kept(report) if report.kept_alone else _describe_log(report)
    lines += [f"  witness {label} saw the first {size} entries" for label, size in sorted(report.witnessed.items())]
    for problem in report.problems:
        where = "" if problem.index is None else f" (entry {problem.index})"
        lines.append(f"FAILED: {problem.code}{where}: {problem.detail}")
    lines.append("VERIFIED" if report.ok else "NOT VERIFIED")
    return "\n".join(lines)


def _describe_kept(report: Report) -> list[str]:
    return [f"{report.site}: {report.receipts} deletions with their receipts, {report.checkpoints} signed checkpoints"]


def _describe_log(report: Report) -> list[str]:
    lines = [
        f"{report.site}, exported {report.exported_at}",
        f"  {report.entries} entries, {report.checkpoints} signed checkpoints, root {report.root}",
        f"  {report.enrolled} enrolled, {report.deleted} deleted, {report.alive} alive at the time of the export",
        f"  {report.checks} checks, {report.admitted} admitted",
        f"  {report.epochs_destroyed} epochs' keys destroyed",
        f"  the latest deletion came {report.latest_deletion_seconds:.0f} s after its template's expiry",
    ]
    if report.rotations:
        lines.append(f"  the signing key was replaced {report.rotations} times, each time signed by the one before")
    if report.post_quantum:
        lines.append("  the last checkpoint is signed with ML-DSA-44 as well")
    return lines


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code."""
    parser = argparse.ArgumentParser(
        prog="audit_verify.py",
        description="Verify an exported Dwarpal audit log offline.",
        epilog="Exit codes: 0 sound, 1 verification failed, 2 unreadable file or wrong usage.",
    )
    parser.add_argument(
        "bundle", type=Path, nargs="?", help="the exported log; without it receipts and checkpoints are checked alone"
    )
    parser.add_argument("--vkey", help="the verifier key that the site published; without it nothing proves who signed")
    parser.add_argument("--pq-vkey", metavar="VKEY", help="the site's ML-DSA-44 verifier key, checked beside the other")
    parser.add_argument(
        "--witness",
        metavar="VKEY",
        action="append",
        default=[],
        help="the verifier key of a witness that must have cosigned; repeatable",
    )
    parser.add_argument("--receipt", type=Path, action="append", default=[], help="a receipt (JSON); repeatable")
    parser.add_argument(
        "--old-checkpoint", type=Path, action="append", default=[], help="a checkpoint kept from earlier; repeatable"
    )
    parser.add_argument(
        "--margin",
        type=float,
        default=DEFAULT_MARGIN,
        help="seconds beyond one purge interval that a deletion may take (default: %(default)s)",
    )
    parser.add_argument("--json", action="store_true", help="print the report as JSON")
    options = parser.parse_args(arguments)
    if options.bundle is None and not (options.vkey and (options.receipt or options.old_checkpoint)):
        parser.error("without a bundle, pass --vkey and what is to be verified: --receipt or --old-checkpoint")
    kept = {
        "vkey": options.vkey,
        "pq_vkey": options.pq_vkey,
        "witnesses": options.witness,
        "receipts": options.receipt,
        "old_checkpoints": options.old_checkpoint,
    }
    try:
        if options.bundle is None:
            report = verify_kept(**kept)
        else:
            report = verify_bundle(options.bundle, margin_seconds=options.margin, **kept)
    except UnreadableError as error:
        print(
            json.dumps({"ok": False, "error": str(error)}) if options.json else f"UNREADABLE: {error}", file=sys.stderr
        )
        return 2
    print(report.as_json() if options.json else describe(report))
    return 0 if report.ok else 1


if __name__ == "__main__":
    sys.exit(main())
