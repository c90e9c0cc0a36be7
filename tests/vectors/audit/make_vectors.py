"""Make the bundles of this folder and cases.json, which says what the offline verifier must find in each.

Everything is derived from the words in this file: keys, ids and times. The keys are known to everybody and stand for
no airport. The log, its export and its receipts are made by the code that a site runs; the forgeries by hand.
Run: PYTHONPATH=. python tests/vectors/audit/make_vectors.py
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from sqlalchemy import create_engine
from sqlalchemy.orm import Session

from biometrics.errors import KeyDestroyed
from biometrics.records import AuditEvent, EventKind, Purpose, epoch_end, epoch_of
from infra.audit.canonical import canonical
from infra.audit.checkpoint import parse_checkpoint, sign_checkpoint, verifier_key
from infra.audit.cosignature import cosign, cosigner_key
from infra.audit.export import export_bundle, post_quantum_vkey
from infra.audit.log import SqlAuditLog
from infra.audit.rotation import rotation_between
from infra.audit.tables import AuditCheckpoint, AuditCosignature, AuditEntry, AuditHead, AuditNode
from infra.database.base import Base
from infra.keys.store import RetiredKey
from infra.receipts import deletion_receipt, sign_receipt

HERE = Path(__file__).resolve().parent
SITE = "airport.example"
WITNESS = "regulator.example/w1"
START = datetime(2026, 3, 1, 6, 20, tzinfo=UTC)
TABLES = [table.__table__ for table in (AuditEntry, AuditNode, AuditHead, AuditCheckpoint, AuditCosignature)]
PROVENANCE = "Made by make_vectors.py; the keys are public and stand for no airport."

Lines = list[bytes]


def derived(*words: object) -> bytes:
    """Return 32 bytes that anybody can derive."""
    return hashlib.sha256("/".join(str(word) for word in ("dwarpal audit vectors", *words)).encode()).digest()


class PublicKeys:
    """A `KeyStore` without secrets: every key is derived from a name."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._destroyed: set[int] = set()
        self._retired: list[RetiredKey] = []
        self._prepared = False

    def epoch_key(self, epoch: int, *, create: bool = False) -> bytes:
        return self._key("epoch", epoch)

    def audit_key(self, epoch: int, *, create: bool = False) -> bytes:
        return self._key("audit", epoch)

    def signing_key(self) -> Ed25519PrivateKey:
        return self.numbered(len(self._retired))

    def next_signing_key(self) -> Ed25519PrivateKey:
        self._prepared = True
        return self.numbered(len(self._retired) + 1)

    def prepared_signing_key(self) -> Ed25519PrivateKey | None:
        return self.next_signing_key() if self._prepared else None

    def promote_signing_key(self, now: datetime) -> None:
        if self._prepared:
            self._retired.append(RetiredKey(self.signing_key().public_key(), now))
            self._prepared = False

    def retired_signing_keys(self) -> tuple[RetiredKey, ...]:
        return tuple(self._retired)

    def numbered(self, number: int) -> Ed25519PrivateKey:
        """The first signing key, or that of the so-many-th rotation."""
        return Ed25519PrivateKey.from_private_bytes(derived(self._name, "signing", *[number][:number]))

    def ended_epochs(self, now: datetime) -> list[int]:
        return []

    def destroy_epoch(self, epoch: int) -> None:
        self._destroyed.add(epoch)

    def confirm_destroyed(self, epoch: int) -> None:
        """Nothing waits for a confirmation here."""

    def _key(self, kind: str, epoch: int) -> bytes:
        if epoch in self._destroyed:
            raise KeyDestroyed("This epoch is over.")
        return derived(self._name, kind, epoch)


@dataclass
class Traveller:
    """Somebody with a template."""

    subject: str
    epoch: int
    expires: datetime


@dataclass
class Airport:
    """A site's log and clock, and what travellers and auditors took home."""

    session: Session
    key_name: str = "the site"
    now: datetime = START
    receipt: dict[str, object] = field(default_factory=dict)
    checkpoint: str = ""
    made: int = 0

    def __post_init__(self) -> None:
        self.keys = PublicKeys(self.key_name)
        self.log = SqlAuditLog(self.session, self.keys, SITE)

    @property
    def vkey(self) -> str:
        return verifier_key(SITE, self.keys.signing_key().public_key())

    def new_id(self) -> str:
        self.made += 1
        return derived("id", self.made).hex()[:32]

    def say(self, kind: EventKind, who: Traveller | None = None, **more: object) -> int:
        self.now += timedelta(seconds=1)
        about = {} if who is None else {"subject": who.subject, "epoch": who.epoch}
        event = AuditEvent(kind, self.now, self.new_id(), "gate/1")
        return self.log.append(replace(event, **about, **more))

    def enroll(self, again: Traveller | None = None, hours: float = 24) -> Traveller:
        expires = self.now + timedelta(hours=hours)
        who = Traveller(again.subject if again else self.new_id(), epoch_of(expires), expires)
        self.say(EventKind.ENROLLED, who, expires_at=expires)
        return who

    def check(self, who: Traveller | None, decision: str, reason: str) -> None:
        more = {"decision": decision, "reason": reason, "gate_id": "t3-entry-1", "purpose": Purpose.ENTRY}
        self.say(EventKind.CHECKED, who, **more)

    def withdraw(self, who: Traveller) -> None:
        index = self.say(EventKind.WITHDRAWN, who)
        key = self.keys.signing_key()
        made = deletion_receipt(log=self.log, index=index, epoch=who.epoch, now=self.now)
        body = {k: v for k, v in made.items() if k not in ("type", "kind", "site", "key_id", "signature")}
        # A receipt has a random id, and ML-DSA-44 signatures are random: here nothing is.
        body |= {"receipt_id": self.new_id(), "checkpoint": self.log.checkpoint()}
        self.receipt = dict(sign_receipt("deletion", body, key, SITE))

    def destroy(self, epoch: int) -> None:
        self.now = epoch_end(epoch)
        self.keys.destroy_epoch(epoch)
        self.say(EventKind.EPOCH_DESTROYED, epoch=epoch)

    def rotate(self) -> None:
        """Replace the signing key; the former signs for the new one."""
        self.now += timedelta(seconds=1)
        self.log.rotate_signing_key(AuditEvent(EventKind.SIGNING_KEY_ROTATED, self.now, self.new_id(), "keys/1"))
        self.keys.promote_signing_key(self.now)

    def morning(self) -> tuple[Traveller, Traveller]:
        """Two travellers; one is admitted and stays, the other one is denied and withdraws."""
        self.say(EventKind.GATE_CREATED, gate_id="t3-entry-1")
        self.say(EventKind.KEY_CREATED, reason="gate")
        first, second = self.enroll(), self.enroll()
        self.check(first, "admit", "matched")
        self.check(second, "deny", "not_matched")
        self.check(None, "deny", "not_enrolled")
        self.withdraw(second)
        self.checkpoint = self.log.checkpoint()
        return first, second

    def next_day(self, first: Traveller) -> None:
        """The first one expires, the keys of the hour are destroyed, a new traveller comes."""
        self.now = first.expires
        self.say(EventKind.EXPIRED, first)
        self.destroy(first.epoch)
        self.check(self.enroll(), "admit", "matched")
        self.log.checkpoint()
        self.say(EventKind.KEY_REVOKED, reason="gate")

    def export(self, path: Path, *, post_quantum: bool = False) -> None:
        with path.open("wb") as stream:
            export_bundle(self.log, stream, now=self.now, purge_interval_seconds=30, post_quantum=post_quantum)


@contextmanager
def airport(**more: str) -> Iterator[Airport]:
    engine = create_engine("sqlite://", hide_parameters=True)
    Base.metadata.create_all(engine, tables=TABLES)
    with Session(engine) as session:
        yield Airport(session, **more)
    engine.dispose()


# --- Forgers without the key: the file is changed, and its header made to agree


def index_of(lines: Lines, mark: bytes) -> int:
    return next(i for i, line in enumerate(lines) if mark in line)


def edit(lines: Lines) -> Lines:
    at = index_of(lines, b'"decision":"deny"')
    forged = lines[at].replace(b'"deny"', b'"admit"').replace(b"not_matched", b"matched")
    return [*lines[:at], forged, *lines[at + 1 :]]


def delete(lines: Lines) -> Lines:
    at = index_of(lines, b'"decision":"admit"')
    return [*lines[:at], *lines[at + 1 :]]


def insert(lines: Lines) -> Lines:
    at = index_of(lines, b'"decision":"admit"')
    forged = json.loads(lines[at]) | {"event_id": derived("forged").hex()[:32]}
    return [*lines[: at + 1], canonical(forged), *lines[at + 1 :]]


def reorder(lines: Lines) -> Lines:
    """Exchange the times as well, so that only the tree can tell."""
    at = index_of(lines, b'"decision":"admit"')
    early, late = json.loads(lines[at]), json.loads(lines[at + 1])
    early["time"], late["time"] = late["time"], early["time"]
    return [*lines[:at], canonical(late), canonical(early), *lines[at + 2 :]]


def truncate(lines: Lines) -> Lines:
    """Cut off the last two entries; the checkpoints stay."""
    at = index_of(lines, b'{"checkpoint"')
    return [*lines[: at - 2], *lines[at:]]


FORGERIES: dict[str, tuple[Callable[[Lines], Lines], str]] = {
    "edit": (edit, "root_mismatch"),
    "delete": (delete, "root_mismatch"),
    "insert": (insert, "root_mismatch"),
    "reorder": (reorder, "root_mismatch"),
    "truncate": (truncate, "truncated"),
}


def forge(valid: Path, change: Callable[[Lines], Lines], path: Path) -> None:
    lines = change(valid.read_bytes().splitlines())
    header = json.loads(lines[0])
    header["entries"] = sum(b'"event_id"' in line for line in lines)
    path.write_bytes(b"".join(line + b"\n" for line in (canonical(header), *lines[1:])))


# --- Operators with the key: everything is signed, and still does not hold


def late_deletion(site: Airport, first: Traveller, second: Traveller) -> None:
    site.now = first.expires + timedelta(minutes=10)
    site.say(EventKind.EXPIRED, first)


def purge_gap(site: Airport, first: Traveller, second: Traveller) -> None:
    """The purger stands still: at the export nothing has happened for half an hour."""
    site.now = first.expires + timedelta(minutes=30)
    site.say(EventKind.KEY_CREATED, reason="auditor")


def key_gap(site: Airport, first: Traveller, second: Traveller) -> None:
    """Templates are deleted on time, but the keys of their hour live on."""
    site.now = first.expires
    site.say(EventKind.EXPIRED, first)
    site.now = epoch_end(first.epoch) + timedelta(minutes=30)
    site.say(EventKind.KEY_CREATED, reason="auditor")


def decision_after_expiry(site: Airport, first: Traveller, second: Traveller) -> None:
    site.now = first.expires + timedelta(seconds=10)
    site.check(first, "admit", "matched")
    site.say(EventKind.EXPIRED, first)


def decision_after_deletion(site: Airport, first: Traveller, second: Traveller) -> None:
    site.check(second, "admit", "matched")


def deleted_twice(site: Airport, first: Traveller, second: Traveller) -> None:
    site.say(EventKind.WITHDRAWN, second)


def never_enrolled(site: Airport, first: Traveller, second: Traveller) -> None:
    site.say(EventKind.WITHDRAWN, replace(first, subject=site.new_id()))


def by_hand(site: Airport, first: Traveller, second: Traveller, about: str = "deny", times: int = 1) -> None:
    """An officer lets somebody through whom a gate turned away."""
    checks = [entry for entry in site.log.entries(0, 100) if entry.fields().get("decision") == about]
    check, gate = checks[0].fields(), "t3-entry-1"
    for _ in range(times):
        more = {"gate_id": gate, "purpose": Purpose.ENTRY, "decision": "admit", "reason": "papers_checked"}
        about_whom = {"epoch": checks[0].epoch, "pseudonym": checks[0].subject, "check_id": str(check["event_id"])}
        site.say(EventKind.OFFICER_DECIDED, **more, **about_whom)


def by_hand_twice(site: Airport, first: Traveller, second: Traveller) -> None:
    by_hand(site, first, second, times=2)


def by_hand_of_admitted(site: Airport, first: Traveller, second: Traveller) -> None:
    by_hand(site, first, second, about="admit")


def by_hand_too_late(site: Airport, first: Traveller, second: Traveller) -> None:
    site.now += timedelta(hours=2)
    by_hand(site, first, second)


def enrolled_again(site: Airport, first: Traveller, second: Traveller) -> None:
    site.enroll(again=second)


def kept_too_long(site: Airport, first: Traveller, second: Traveller) -> None:
    site.enroll(hours=24 * 33)


def epoch_revived(site: Airport, first: Traveller, second: Traveller) -> None:
    site.now = first.expires
    site.say(EventKind.EXPIRED, first)
    site.destroy(first.epoch)
    site.keys = site.log._keys = PublicKeys(site.key_name)  # a copy of the keys was kept
    site.check(first, "admit", "matched")


MISDEEDS: dict[str, tuple[Callable[[Airport, Traveller, Traveller], None], str | None]] = {
    "by-hand": (by_hand, None),
    "by-hand-twice": (by_hand_twice, "hand_decision_unfounded"),
    "by-hand-of-admitted": (by_hand_of_admitted, "hand_decision_unfounded"),
    "by-hand-too-late": (by_hand_too_late, "hand_decision_unfounded"),
    "late-deletion": (late_deletion, "deleted_late"),
    "purge-gap": (purge_gap, "not_deleted"),
    "key-gap": (key_gap, "epoch_key_kept"),
    "decision-after-expiry": (decision_after_expiry, "decision_after_expiry"),
    "decision-after-deletion": (decision_after_deletion, "decision_after_deletion"),
    "deleted-twice": (deleted_twice, "deleted_twice"),
    "never-enrolled": (never_enrolled, "unknown_subject"),
    "enrolled-again": (enrolled_again, "resurrected"),
    "kept-too-long": (kept_too_long, "kept_too_long"),
    "epoch-revived": (epoch_revived, "epoch_used_after_destruction"),
}


def make_history(folder: Path, name: str) -> None:
    """Rewrite history with the key: sound by itself, and contradicted by what others kept."""
    with airport() as site:
        first, _ = site.morning()
        if name == "fork":  # goes on from the morning in another way, to a checkpoint of the same size
            site.now = first.expires
            site.say(EventKind.EXPIRED, first)
            site.destroy(first.epoch)
            site.check(site.enroll(), "deny", "not_matched")
            site.log.checkpoint()
            site.say(EventKind.KEY_REVOKED, reason="gate")
            (folder / "fork.last.checkpoint").write_text(site.log.checkpoint(), encoding="utf-8")
        site.export(folder / f"{name}.jsonl")


# --- Without a log: what a traveller or an auditor has in hand


def kept_alone() -> list[dict[str, object]]:
    forked = ["valid.last.checkpoint", "fork.last.checkpoint"]
    return [
        case("receipt alone", None, bundle="", receipt="valid.receipt.json"),
        case("flipped receipt alone", "receipt_invalid", bundle="", receipt="flipped.receipt.json"),
        case("two checkpoints that agree", None, bundle="", old_checkpoint=["valid.first.checkpoint", forked[0]]),
        case("two checkpoints of a fork", "fork", bundle="", old_checkpoint=forked),
    ]


# --- Witnesses, and the second signature of the site


def cosign_last(lines: Lines, seen: datetime, change: int = 0) -> Lines:
    """Put the witness's line under the last checkpoint; `change` is put over a byte of the signature."""
    text = json.loads(lines[-1])["checkpoint"]
    line = parse_checkpoint(cosign_text(text, seen)).signatures[-1]
    forged = replace(line, signature=line.signature[:-1] + bytes([line.signature[-1] ^ change]))
    return [*lines[:-1], canonical({"checkpoint": text + forged.line})]


def cosign_text(text: str, seen: datetime) -> str:
    return text + cosign(parse_checkpoint(text), WITNESS, witness_key(), int(seen.timestamp()))


def witness_key() -> Ed25519PrivateKey:
    return Ed25519PrivateKey.from_private_bytes(derived("the witness", "signing"))


def make_witnessed(folder: Path, exported: datetime) -> list[dict[str, object]]:
    valid, key = folder / "valid.jsonl", cosigner_key(WITNESS, witness_key()).text
    changes: dict[str, tuple[Callable[[Lines], Lines], str | None]] = {
        "witnessed": (lambda lines: cosign_last(lines, exported), None),
        "witness-forged": (lambda lines: cosign_last(lines, exported, change=1), "checkpoint_invalid"),
        "postdated": (lambda lines: cosign_last(lines, exported - timedelta(minutes=10)), "witness_contradicted"),
    }
    for name, (change, _) in changes.items():
        forge(valid, change, folder / f"{name}.jsonl")
    cases = [case(name, reason, witness=key) for name, (_, reason) in changes.items()]
    return [*cases, case("witness that never came", "not_witnessed", bundle="valid.jsonl", witness=key)]


def make_post_quantum(folder: Path) -> list[dict[str, object]]:
    """ML-DSA-44 signatures are random, so that `post-quantum.jsonl` differs in its last line each time."""
    with airport() as site:
        site.morning()
        site.export(folder / "post-quantum.jsonl", post_quantum=True)
        key, other = (post_quantum_vkey(SITE, keys.signing_key()) for keys in (site.keys, PublicKeys("somebody else")))

    def strip(lines: Lines) -> Lines:
        text = json.loads(lines[-1])["checkpoint"]
        return [*lines[:-1], canonical({"checkpoint": text[: text.rindex("—")]})]

    forge(folder / "post-quantum.jsonl", strip, folder / "post-quantum-stripped.jsonl")
    return [
        case("post-quantum", None, pq_vkey=key),
        case("post-quantum-stripped", "post_quantum_missing", pq_vkey=key),
        case(
            "checkpoint alone, signed once",
            "post_quantum_missing",
            bundle="",
            old_checkpoint="valid.first.checkpoint",
            pq_vkey=key,
        ),
        case("post-quantum, wrong key", "other_key", bundle="post-quantum.jsonl", pq_vkey=other),
    ]


# --- New signing keys


def rotated(site: Airport) -> list[str]:
    """A morning, a first rotation, a second one next day; return the verifier keys, oldest first."""
    first, _ = site.morning()
    keys = [site.vkey]
    site.rotate()
    keys.append(site.vkey)
    site.check(first, "admit", "matched")
    site.log.checkpoint()
    site.next_day(first)
    site.rotate()
    return [*keys, site.vkey]


def own_successor(site: Airport) -> None:
    """Whoever can write to the database, and has no key, appoints a key of their own."""
    site.morning()
    thief = PublicKeys("a thief")
    site.say(EventKind.SIGNING_KEY_ROTATED, rotation=rotation_between(site.keys.signing_key(), thief.signing_key()))
    site.keys = site.log.signer._keys = thief
    site.log.signer.sign = lambda size, root: sign_checkpoint(SITE, size, root, thief.signing_key())


def broken_chain(site: Airport) -> None:
    """The second rotation begins with a key that never signed here."""
    site.morning()
    site.rotate()
    following = site.keys.next_signing_key()
    keys = rotation_between(PublicKeys("somebody else").signing_key(), following)
    site.say(EventKind.SIGNING_KEY_ROTATED, rotation=keys)
    site.log.signer.sign = lambda size, root: sign_checkpoint(SITE, size, root, following)
    site.keys.promote_signing_key(site.now)


def signs_on(lines: Lines) -> Lines:
    """The former key is stolen, and signs a checkpoint of today."""
    head = parse_checkpoint(json.loads(lines[-1])["checkpoint"])
    stolen = PublicKeys("the site").signing_key()
    return [*lines[:-1], canonical({"checkpoint": sign_checkpoint(SITE, head.size, head.root, stolen)}), lines[-1]]


def unvouched(lines: Lines) -> Lines:
    """Leave out the checkpoint of the first rotation."""
    size = index_of(lines, b"signing_key_rotated")
    return [line for line in lines if f"{SITE}\\n{size}\\n".encode() not in line]


def make_rotated(folder: Path) -> list[dict[str, object]]:
    """Checkpoints of rotations are signed with ML-DSA-44, too, and so differ each time."""
    with airport() as site:
        keys = rotated(site)
        site.export(folder / "rotated.jsonl", post_quantum=True)
    seconds = [post_quantum_vkey(SITE, PublicKeys("the site").numbered(number)) for number in range(3)]
    cases = [
        case(
            f"rotated, pinned to the {which} key",
            None,
            bundle="rotated.jsonl",
            vkey=key,
            pq_vkey=second,
            receipt="valid.receipt.json",
        )
        for which, key, second in zip(("first", "second", "last"), keys, seconds, strict=True)
    ]
    for name, deed, reason in (
        ("rotated-by-a-thief", own_successor, "rotation_unvouched"),
        ("rotation-broken", broken_chain, "rotation_broken"),
    ):
        with airport() as site:
            deed(site)
            site.export(folder / f"{name}.jsonl", post_quantum=True)
        cases.append(case(name, reason))
    for name, change, reason in (
        ("rotation-unvouched", unvouched, "rotation_unvouched"),
        ("retired-key-signs-on", signs_on, "checkpoint_invalid"),
    ):
        forge(folder / "rotated.jsonl", change, folder / f"{name}.jsonl")
        cases.append(case(name, reason, vkey=keys[-1]))
    return [
        *cases,
        case("fork with a former key, seen with it alone", None, bundle="valid.jsonl", vkey=keys[0]),
        case("fork with a former key", "other_key", bundle="valid.jsonl", vkey=keys[-1]),
    ]


def case(
    name: str, reason: str | None, *, bundle: str | None = None, **kept: str | list[str] | None
) -> dict[str, object]:
    return {
        "name": name,
        "bundle": f"{name}.jsonl" if bundle is None else bundle,
        "exit": 0 if reason is None else 1,
        "reason": reason,
    } | kept


def make(folder: Path) -> None:
    """Write every file of the vectors into a folder."""
    cases = []
    with airport() as site:
        first, _ = site.morning()
        site.next_day(first)
        site.export(folder / "valid.jsonl")
        (folder / "valid.receipt.json").write_text(json.dumps(site.receipt, indent=1) + "\n", encoding="ascii")
        (folder / "valid.first.checkpoint").write_text(site.checkpoint, encoding="utf-8")
        (folder / "valid.last.checkpoint").write_text(site.log.checkpoint(), encoding="utf-8")
        flipped = dict(site.receipt)
        flipped["receipt_id"] = f"{int(str(flipped['receipt_id']), 16) ^ 1:032x}"
        (folder / "flipped.receipt.json").write_text(json.dumps(flipped, indent=1) + "\n", encoding="ascii")
        vkey, exported = site.vkey, site.now
    everything = {"receipt": "valid.receipt.json", "old_checkpoint": "valid.first.checkpoint"}
    cases.append(case("valid", None, **everything))
    for name, (change, reason) in FORGERIES.items():
        forge(folder / "valid.jsonl", change, folder / f"{name}.jsonl")
        cases.append(case(name, reason))
    for name, reason in (("rolled-back", "truncated"), ("fork", "fork")):
        make_history(folder, name)
        cases.append(case(f"{name}, seen alone", None, bundle=f"{name}.jsonl"))
        cases.append(case(name, reason, old_checkpoint="valid.last.checkpoint"))
    with airport(key_name="somebody else") as other:
        other.next_day(other.morning()[0])
        other.export(folder / "wrong-key.jsonl")
        cases.append(case("wrong-key", "other_key"))
    for name, (deed, reason) in MISDEEDS.items():
        with airport() as site:
            deed(site, *site.morning())
            site.export(folder / f"{name}.jsonl")
        cases.append(case(name, reason))
    cases.append(
        case("flipped bit in a receipt", "receipt_invalid", bundle="valid.jsonl", receipt="flipped.receipt.json")
    )
    cases.append(
        case(
            "receipt of a deletion that was taken back",
            "receipt_contradicted",
            bundle="late-deletion.jsonl",
            receipt="taken-back.receipt.json",
        )
    )
    with airport() as site:
        first, _ = site.morning()
        site.withdraw(first)
        (folder / "taken-back.receipt.json").write_text(json.dumps(site.receipt, indent=1) + "\n", encoding="ascii")
    cases += kept_alone()
    cases += make_witnessed(folder, exported) + make_post_quantum(folder) + make_rotated(folder)
    text = json.dumps({"provenance": PROVENANCE, "vkey": vkey, "cases": cases}, indent=1)
    (folder / "cases.json").write_text(text + "\n", encoding="ascii")


if __name__ == "__main__":
    make(HERE)
