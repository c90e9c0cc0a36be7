"""The offline verifier against honest logs, forged files, and a dishonest operator who holds the signing key."""

import ast
import base64
import io
import json
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import create_engine, delete, update
from sqlalchemy.orm import Session

from biometrics.records import AuditEvent, Consent, EventKind, Purpose, epoch_end, epoch_of, new_id
from infra.audit import audit_verify, checkpoint
from infra.audit.audit_verify import Report, UnreadableError, main, verify_bundle
from infra.audit.canonical import canonical
from infra.audit.export import export_bundle
from infra.audit.log import SqlAuditLog
from infra.audit.tables import AuditCheckpoint, AuditCosignature, AuditEntry, AuditHead, AuditNode
from infra.database.base import Base
from infra.receipts import consent_receipt, deletion_receipt, sign_receipt
from tests.fakes import FakeKeyStore

SITE = "airport.example"
START = datetime(2025, 3, 1, 12, 20, tzinfo=UTC)
VERIFIER = Path(audit_verify.__file__)
TABLES = [table.__table__ for table in (AuditEntry, AuditNode, AuditHead, AuditCheckpoint, AuditCosignature)]


class Airport:
    """A log, its keys and a clock: enough to live through honest and dishonest days."""

    def __init__(self, session: Session, folder: Path) -> None:
        self.session, self.folder, self.keys = session, folder, FakeKeyStore()
        self.log = SqlAuditLog(session, self.keys, SITE)
        self.now = START

    def say(self, kind: EventKind, subject: str | None = None, epoch: int | None = None, **more: object) -> int:
        self.now += timedelta(seconds=1)
        event = AuditEvent(kind, self.now, new_id(), "gate/1", subject=subject, epoch=epoch)
        return self.log.append(replace(event, **more))

    def enroll(self, subject: str | None = None, hours: float = 24) -> tuple[str, int, datetime]:
        subject, expires = subject or new_id(), self.now + timedelta(hours=hours)
        epoch = epoch_of(expires)
        self.keys.epoch_key(epoch, create=True)
        self.say(EventKind.ENROLLED, subject, epoch, expires_at=expires)
        return subject, epoch, expires

    def check(self, subject: str | None, epoch: int | None, decision: str = "admit") -> int:
        return self.say(EventKind.CHECKED, subject, epoch, decision=decision, gate_id="g1", purpose=Purpose.ENTRY)

    def move(self, subject: str, epoch: int, hours: float) -> int:
        expires = self.now + timedelta(hours=hours)
        self.say(EventKind.MOVED_OUT, subject, epoch)
        self.say(EventKind.MOVED_IN, subject, epoch_of(expires), expires_at=expires)
        return epoch_of(expires)

    def destroy(self, epoch: int, late: float = 1) -> None:
        self.now = max(self.now, epoch_end(epoch) + timedelta(seconds=late))
        self.keys.destroy_epoch(epoch)
        self.say(EventKind.EPOCH_DESTROYED, epoch=epoch)

    def honest_days(self) -> None:
        """Everything that honestly happens: admits, a denial, a withdrawal, a move, expiries, an epoch's end."""
        self.say(EventKind.GATE_CREATED, gate_id="g1")
        self.say(EventKind.KEY_CREATED)
        first, epoch, expires = self.enroll()
        second, _, _ = self.enroll()
        self.log.checkpoint()
        moved, _, _ = self.enroll()
        self.check(first, epoch)
        self.check(second, epoch, "deny")
        self.check(None, None, "deny")
        self.say(EventKind.REVIEWED, first, epoch, reason="duplicate_cleared")
        self.say(EventKind.WITHDRAWN, second, epoch)
        self.log.checkpoint()
        later = self.move(moved, epoch, 30)
        later = self.move(moved, later, 30)  # a short delay: another expiry in the same epoch
        self.check(moved, later)
        self.now = expires
        self.say(EventKind.EXPIRED, first, epoch)
        self.destroy(epoch)
        self.enroll()

    def export(self, name: str = "bundle") -> Path:
        path = self.folder / name
        with path.open("wb") as stream:
            export_bundle(self.log, stream, now=self.now, purge_interval_seconds=30)
        return path

    @property
    def vkey(self) -> str:
        return checkpoint.verifier_key(SITE, self.keys.signing_key().public_key())

    def verify(self, path: Path | None = None, **more: object) -> Report:
        return verify_bundle(path or self.export(), vkey=self.vkey, **more)


@pytest.fixture
def airport(tmp_path: Path) -> Iterator[Airport]:
    engine = create_engine("sqlite://", hide_parameters=True)
    Base.metadata.create_all(engine, tables=TABLES)
    with Session(engine) as session:
        yield Airport(session, tmp_path)
    engine.dispose()


def codes(report: Report) -> set[str]:
    return {problem.code for problem in report.problems}


def rewrite(path: Path, change: Callable[[list[bytes]], list[bytes]]) -> Path:
    lines = path.read_bytes().splitlines()
    path.write_bytes(b"".join(line + b"\n" for line in change(lines)))
    return path


# --- Honest logs


def test_an_honest_log_verifies(airport: Airport) -> None:
    airport.honest_days()
    report = airport.verify()
    assert report.problems == []
    assert report.warnings == []
    assert (report.enrolled, report.deleted, report.alive) == (4, 2, 2)
    assert (report.checks, report.admitted, report.epochs_destroyed) == (4, 2, 1)
    assert report.checkpoints == 3
    assert report.entries == airport.log.size()
    assert report.root == base64.b64encode(airport.log.root()).decode()


def test_an_empty_log_verifies(airport: Airport) -> None:
    assert airport.verify().ok


def test_the_bundle_holds_the_exact_leaves_in_bounded_pages(airport: Airport) -> None:
    for _ in range(2100):
        airport.say(EventKind.PURGED, count=0)
    heard: list[tuple[int, int]] = []
    stream = io.BytesIO()
    written = export_bundle(
        airport.log,
        stream,
        now=airport.now,
        purge_interval_seconds=0.5,
        progress=lambda done, total: heard.append((done, total)),
    )
    lines = stream.getvalue().splitlines()
    assert written == 2100
    assert lines[1:-1] == [entry.leaf for entry in airport.log.entries(0, 5000)]
    assert heard == [(1000, 2100), (2000, 2100), (2100, 2100)]
    assert json.loads(lines[0])["retention_hours"] == 24
    assert json.loads(lines[0])["purge_interval_seconds"] == 1
    path = airport.folder / "large"
    path.write_bytes(stream.getvalue())
    steps: list[tuple[int, int]] = []
    assert airport.verify(path, progress=lambda done, total: steps.append((done, total))).ok
    assert steps == heard


def test_without_a_pinned_key_it_says_so_loudly(airport: Airport) -> None:
    airport.honest_days()
    report = verify_bundle(airport.export())
    assert report.ok
    assert not report.key_pinned
    assert "NOT PINNED" in report.warnings[0]
    assert "WARNING: THE KEY WAS NOT PINNED" in audit_verify.describe(report)


def test_a_restored_backup_is_deleted_with_a_warning(airport: Airport) -> None:
    subject, epoch, expires = airport.enroll()
    airport.now = expires
    airport.destroy(epoch)
    airport.say(EventKind.EXPIRED, subject, epoch)
    airport.session.flush()
    report = airport.verify(margin_seconds=3600)
    assert report.ok
    assert "restored backup" in report.warnings[0]
    assert report.alive == 0


def test_the_purger_may_repeat_itself_after_a_crash(airport: Airport) -> None:
    airport.honest_days()
    epoch = min(airport.keys.destroyed)
    airport.say(EventKind.EPOCH_DESTROYED, epoch=epoch)
    assert airport.verify().ok


# --- Files that were tampered with


def drop(index: int) -> Callable[[list[bytes]], list[bytes]]:
    return lambda lines: lines[:index] + lines[index + 1 :]


def swap(lines: list[bytes]) -> list[bytes]:
    return [*lines[:2], lines[3], lines[2], *lines[4:]]


def recount(lines: list[bytes]) -> list[bytes]:
    header = json.loads(lines[0])
    header["entries"] = sum(b'"event_id"' in line for line in lines)
    return [canonical(header), *lines[1:]]


def edited(lines: list[bytes]) -> list[bytes]:
    at = next(i for i, line in enumerate(lines) if b'"decision":"deny"' in line)
    return [*lines[:at], lines[at].replace(b'"deny"', b'"refer"'), *lines[at + 1 :]]


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (edited, "root_mismatch"),
        (lambda lines: recount(drop(3)(lines)), "root_mismatch"),
        (drop(3), "truncated"),
        (swap, "root_mismatch"),
        (lambda lines: recount([*lines[:2], lines[1], *lines[2:]]), "root_mismatch"),
        (lambda lines: lines[:-3], "truncated"),
        (lambda lines: recount([*lines[:-6], *lines[-3:]]), "truncated"),
        (lambda lines: recount(lines[:-1]), "unsigned_entries"),
        (lambda lines: [*lines, lines[-5]], "malformed"),
        (lambda lines: [*lines[:2], lines[2].replace(b",", b", ", 1), *lines[3:]], "malformed"),
        (lambda lines: [*lines[:2], lines[2].replace(b'{"', b'{"name":"Asha","', 1), *lines[3:]], "malformed"),
        (lambda lines: [*lines[:2], lines[2].replace(b"gate/1", b"Asha R"), *lines[3:]], "malformed"),
        (lambda lines: [*lines[:2], b"[" * 5000, *lines[3:]], "malformed"),
        (lambda lines: [*lines[:2], b"", *lines[3:]], "malformed"),
        (lambda lines: [*lines[:2], b"\xff\xfe", *lines[3:]], "malformed"),
        (lambda lines: [*lines[:2], b"7" * 200_000, *lines[3:]], "malformed"),
        (lambda lines: [*lines[:-1], lines[-1].replace(b"\\n\\n", b"\\n \\n\\n")], "checkpoint_invalid"),
        (lambda lines: [*lines[:-1], b'{"checkpoint":5}'], "malformed"),
        (lambda lines: [lines[0].replace(b'hours":24', b'hours":48'), *lines[1:]], "header_limits"),
        (lambda lines: [lines[0].replace(b'seconds":30', b'seconds":99999'), *lines[1:]], "header_limits"),
        (lambda lines: [lines[0].replace(b"2025-", b"2024-"), *lines[1:]], "time_went_back"),
    ],
)
def test_a_tampered_file_fails(airport: Airport, change: Callable[[list[bytes]], list[bytes]], expected: str) -> None:
    airport.honest_days()
    report = airport.verify(rewrite(airport.export(), change))
    assert not report.ok
    assert expected in codes(report)


def test_the_first_difference_is_located(airport: Airport) -> None:
    airport.honest_days()
    report = airport.verify(rewrite(airport.export(), edited))
    (problem,) = [p for p in report.problems if p.code == "root_mismatch"]
    assert "from 4 up to 9" in problem.detail


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
@given(data=st.data())
def test_any_flipped_bit_fails(airport: Airport, data: st.DataObject) -> None:
    if airport.log.size() == 0:
        airport.honest_days()
    path = airport.export()
    raw = bytearray(path.read_bytes())
    after_header = raw.index(b"\n") + 1  # the header is not signed: it only limits what the verifier expects
    bit = data.draw(st.integers(after_header * 8, len(raw) * 8 - 1))
    raw[bit // 8] ^= 1 << bit % 8
    path.write_bytes(raw)
    assert not airport.verify(path).ok


@pytest.mark.parametrize(
    "content", [b"", b"\n", b"{}\n", b"\x89PNG\r\n\x1a\n", b"x" * 300_000, b'{"format":"dwarpal-audit-bundle/v1"}\n']
)
def test_what_is_no_bundle_is_unreadable(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "bundle"
    path.write_bytes(content)
    with pytest.raises(UnreadableError):
        verify_bundle(path)


def test_unreadable_companions(airport: Airport) -> None:
    path, junk = airport.export(), airport.folder / "junk"
    junk.write_bytes(b"\xff")
    for more in (
        {"receipts": [junk]},
        {"receipts": [airport.folder / "missing"]},
        {"old_checkpoints": [junk]},
        {"old_checkpoints": [airport.folder / "missing"]},
    ):
        with pytest.raises(UnreadableError):
            airport.verify(path, **more)
    with pytest.raises(UnreadableError):
        verify_bundle(path, vkey="nonsense")


# --- A forger without the key, and an operator who rewrites history with it


def test_a_log_signed_by_another_key_fails(airport: Airport) -> None:
    airport.honest_days()
    path, pinned = airport.export(), airport.vkey
    forged = checkpoint.verifier_key(SITE, Ed25519PrivateKey.generate().public_key())
    assert codes(verify_bundle(path, vkey=forged)) >= {"other_key", "checkpoint_invalid"}
    assert verify_bundle(path, vkey=pinned).ok


def kept_checkpoint(airport: Airport) -> Path:
    path = airport.folder / "old-checkpoint"
    path.write_text(airport.log.checkpoint())
    return path


def test_truncation_shows_against_an_old_checkpoint(airport: Airport) -> None:
    airport.honest_days()
    old = kept_checkpoint(airport)
    assert airport.verify(old_checkpoints=[old]).ok
    size = airport.log.size()
    airport.session.execute(delete(AuditEntry).where(AuditEntry.index >= size - 2))
    airport.session.execute(update(AuditHead).values(size=size - 2))
    airport.session.execute(delete(AuditCheckpoint))
    path = airport.export()
    assert airport.verify(path).ok  # nothing inside the file can tell
    assert "truncated" in codes(airport.verify(path, old_checkpoints=[old]))


def test_a_database_that_lost_entries_shows_by_its_own_checkpoints(airport: Airport) -> None:
    airport.honest_days()
    airport.log.checkpoint()
    size = airport.log.size()
    airport.session.execute(delete(AuditEntry).where(AuditEntry.index >= size - 2))
    airport.session.execute(update(AuditHead).values(size=size - 2))
    assert "truncated" in codes(airport.verify())


def test_a_fork_shows_against_an_old_checkpoint(airport: Airport) -> None:
    airport.honest_days()
    airport.session.commit()
    airport.say(EventKind.KEY_CREATED)
    old = kept_checkpoint(airport)
    airport.session.rollback()
    airport.say(EventKind.KEY_REVOKED)
    path = airport.export()
    assert airport.verify(path).ok  # nothing inside the file can tell
    assert "fork" in codes(airport.verify(path, old_checkpoints=[old]))


def test_two_checkpoints_of_one_size_are_a_fork(airport: Airport) -> None:
    airport.honest_days()
    forked = checkpoint.sign_checkpoint(SITE, 3, bytes(32), airport.keys.signing_key())
    lines = [canonical({"checkpoint": text}) for text in (forked, checkpoint_of(airport, 3))]
    report = airport.verify(rewrite(airport.export(), lambda all_: [*all_[:-1], *lines, all_[-1]]))
    assert {"fork", "root_mismatch"} <= codes(report)


def checkpoint_of(airport: Airport, size: int) -> str:
    return checkpoint.sign_checkpoint(SITE, size, airport.log.root(size), airport.keys.signing_key())


def test_consistency_with_an_honest_old_checkpoint_and_its_cosignatures(airport: Airport) -> None:
    airport.honest_days()
    witness = Ed25519PrivateKey.generate()
    text = checkpoint_of(airport, 7)
    body = checkpoint.parse_checkpoint(text).signed_text.encode()
    blob = checkpoint.key_id("w", witness.public_key()) + witness.sign(body)
    old = airport.folder / "old"
    old.write_text(text + f"— w {base64.b64encode(blob).decode()}\n")
    assert airport.verify(old_checkpoints=[old]).ok


# --- A dishonest or sleeping operator: properly signed, and still caught


def resurrected(airport: Airport) -> None:
    subject, epoch, _ = airport.enroll()
    airport.say(EventKind.WITHDRAWN, subject, epoch)
    airport.enroll(subject)


def admitted_after_withdrawal(airport: Airport) -> None:
    subject, epoch, _ = airport.enroll()
    airport.say(EventKind.WITHDRAWN, subject, epoch)
    airport.check(subject, epoch)


def admitted_after_expiry(airport: Airport) -> None:
    subject, epoch, expires = airport.enroll()
    airport.now = expires
    airport.check(subject, epoch)
    airport.say(EventKind.EXPIRED, subject, epoch)


def never_deleted(airport: Airport) -> None:
    _, _, expires = airport.enroll()
    airport.now = expires + timedelta(seconds=95)


def deleted_late(airport: Airport) -> None:
    subject, epoch, expires = airport.enroll()
    airport.now = expires + timedelta(seconds=95)
    airport.say(EventKind.EXPIRED, subject, epoch)


def deleted_twice(airport: Airport) -> None:
    subject, epoch, expires = airport.enroll()
    airport.say(EventKind.WITHDRAWN, subject, epoch)
    airport.now = expires
    airport.say(EventKind.EXPIRED, subject, epoch)


def key_kept(airport: Airport) -> None:
    subject, epoch, _ = airport.enroll()
    airport.say(EventKind.WITHDRAWN, subject, epoch)
    airport.now = epoch_end(epoch) + timedelta(seconds=95)


def key_destroyed_late(airport: Airport) -> None:
    subject, epoch, _ = airport.enroll()
    airport.say(EventKind.WITHDRAWN, subject, epoch)
    airport.destroy(epoch, late=95)


def used_after_destruction(airport: Airport) -> None:
    subject, epoch, _ = airport.enroll()
    key = airport.keys.keys[epoch]
    airport.say(EventKind.WITHDRAWN, subject, epoch)
    airport.destroy(epoch)
    airport.keys.destroyed.clear()
    airport.keys.keys[epoch] = key
    airport.check(subject, epoch)


def admitted_nobody(airport: Airport) -> None:
    airport.check(None, None)


def admitted_a_stranger(airport: Airport) -> None:
    _, epoch, _ = airport.enroll()
    airport.check(new_id(), epoch)


def without_expiry(airport: Airport) -> None:
    _, epoch, _ = airport.enroll()
    airport.say(EventKind.ENROLLED, new_id(), epoch)


def kept_for_months(airport: Airport) -> None:
    airport.enroll(hours=24 * 90)


def another_epochs_key(airport: Airport) -> None:
    _, epoch, expires = airport.enroll()
    airport.say(EventKind.ENROLLED, new_id(), epoch, expires_at=expires + timedelta(hours=1))


def moved_in_from_nowhere(airport: Airport) -> None:
    _, epoch, expires = airport.enroll()
    airport.say(EventKind.MOVED_IN, new_id(), epoch, expires_at=expires)


def moved_out_to_nowhere(airport: Airport) -> None:
    subject, epoch, _ = airport.enroll()
    airport.say(EventKind.MOVED_OUT, subject, epoch)


def moved_after_withdrawal(airport: Airport) -> None:
    subject, epoch, _ = airport.enroll()
    airport.say(EventKind.WITHDRAWN, subject, epoch)
    airport.move(subject, epoch, 24)


def unnamed_epoch(airport: Airport) -> None:
    airport.say(EventKind.EPOCH_DESTROYED)


@pytest.mark.parametrize(
    ("deed", "expected"),
    [
        (resurrected, "resurrected"),
        (admitted_after_withdrawal, "decision_after_deletion"),
        (admitted_after_expiry, "decision_after_expiry"),
        (never_deleted, "not_deleted"),
        (deleted_late, "deleted_late"),
        (deleted_twice, "deleted_twice"),
        (key_kept, "epoch_key_kept"),
        (key_destroyed_late, "epoch_destroyed_late"),
        (used_after_destruction, "epoch_used_after_destruction"),
        (admitted_nobody, "no_subject"),
        (admitted_a_stranger, "unknown_subject"),
        (without_expiry, "no_expiry"),
        (kept_for_months, "kept_too_long"),
        (another_epochs_key, "wrong_epoch"),
        (moved_in_from_nowhere, "unpaired_move"),
        (moved_out_to_nowhere, "unpaired_move"),
        (moved_after_withdrawal, "deleted_twice"),
        (unnamed_epoch, "no_epoch"),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_a_signed_misdeed_is_caught(airport: Airport, deed: Callable[[Airport], None], expected: str) -> None:
    deed(airport)
    assert expected in codes(airport.verify())


@pytest.mark.parametrize("deed", [deleted_late, key_destroyed_late])
def test_a_known_outage_can_be_allowed_for(airport: Airport, deed: Callable[[Airport], None]) -> None:
    deed(airport)
    assert airport.verify(margin_seconds=120).ok


def test_a_denial_after_deletion_is_a_warning(airport: Airport) -> None:
    subject, epoch, _ = airport.enroll()
    airport.say(EventKind.WITHDRAWN, subject, epoch)
    airport.check(subject, epoch, "deny")
    report = airport.verify()
    assert report.ok
    assert "not admitted" in report.warnings[0]


# --- Receipts


def receipt_file(airport: Airport, **changes: object) -> Path:
    subject, epoch, _ = airport.enroll()
    index = airport.say(EventKind.WITHDRAWN, subject, epoch)
    key = airport.keys.signing_key()
    receipt = deletion_receipt(log=airport.log, index=index, epoch=epoch, now=airport.now)
    if changes:
        body = {k: v for k, v in receipt.items() if k not in ("type", "kind", "site", "key_id", "signature")}
        receipt = sign_receipt("deletion", body | changes, key, SITE)
    path = airport.folder / "receipt.json"
    path.write_text(json.dumps(receipt, indent=2))
    return path


def test_a_receipt_agrees_with_the_log(airport: Airport) -> None:
    airport.honest_days()
    path = receipt_file(airport)
    airport.say(EventKind.KEY_REVOKED)
    assert airport.verify(receipts=[path]).ok


@pytest.mark.parametrize(
    "changes",
    [
        {"log_index": 0},
        {"epoch": 1},
        {"inclusion_proof": []},
        {"inclusion_proof": 5},
        {"leaf": "{}"},
        {"checkpoint": "x"},
    ],
)
def test_a_false_receipt_fails_even_if_signed(airport: Airport, changes: dict) -> None:
    airport.honest_days()
    assert codes(airport.verify(receipts=[receipt_file(airport, **changes)])) & {
        "receipt_invalid",
        "checkpoint_invalid",
    }


def test_a_changed_receipt_fails(airport: Airport) -> None:
    airport.honest_days()
    path = receipt_file(airport)
    path.write_text(re.sub(r'"receipt_id": "[0-9a-f]{2}', '"receipt_id": "zz', path.read_text()))
    assert codes(airport.verify(receipts=[path])) == {"receipt_invalid"}


def test_a_deletion_that_was_taken_back_shows_by_its_receipt(airport: Airport) -> None:
    """The operator rolls the log back to before the withdrawal and lets another day happen."""
    airport.honest_days()
    airport.session.commit()
    receipt = receipt_file(airport)
    airport.session.rollback()
    for _ in range(4):
        airport.say(EventKind.KEY_CREATED)
    path = airport.export()
    assert airport.verify(path).ok
    assert {"receipt_contradicted", "root_mismatch"} <= codes(airport.verify(path, receipts=[receipt]))


def test_a_consent_receipt_is_checked_by_its_signature(airport: Airport) -> None:
    receipt = consent_receipt(
        consent=Consent(frozenset({Purpose.ENTRY}), "1", "00" * 32, "en", START),
        enrollment_id=new_id(),
        expires_at=START,
        key=airport.keys.signing_key(),
        site=SITE,
        now=START,
    )
    path = airport.folder / "consent.json"
    path.write_text(json.dumps(receipt))
    assert airport.verify(receipts=[path]).ok
    path.write_text(json.dumps(receipt | {"lawful_basis": "none"}))
    assert codes(airport.verify(receipts=[path])) == {"receipt_invalid"}


# --- The command


def test_the_file_stands_alone() -> None:
    tree = ast.parse(VERIFIER.read_text())
    imported = {
        name.split(".")[0]
        for node in ast.walk(tree)
        for name in (
            [alias.name for alias in node.names]
            if isinstance(node, ast.Import)
            else [node.module or ""]
            if isinstance(node, ast.ImportFrom)
            else []
        )
    }
    assert imported - set(sys.stdlib_module_names) == {"cryptography"}


def run(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a copy of the file, isolated from the project, in an environment without anything."""
    copy = folder / "audit_verify.py"
    copy.write_bytes(VERIFIER.read_bytes())
    command = [sys.executable, "-I", str(copy), *arguments]
    return subprocess.run(command, cwd=folder, env={}, capture_output=True, text=True, timeout=60, check=False)


def test_a_copy_of_the_file_verifies_in_isolation(airport: Airport) -> None:
    airport.honest_days()
    old, receipt = kept_checkpoint(airport), receipt_file(airport)
    path = airport.export()
    arguments = [str(path), "--vkey", airport.vkey, "--receipt", str(receipt), "--old-checkpoint", str(old)]
    done = run(airport.folder, *arguments)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.endswith("VERIFIED\n")
    rewrite(path, edited)
    failed = run(airport.folder, *arguments, "--json")
    assert failed.returncode == 1
    said = json.loads(failed.stdout)
    assert said["ok"] is False
    assert said["problems"][0]["code"] == "root_mismatch"
    assert run(airport.folder, "missing").returncode == 2
    assert run(airport.folder).returncode == 2


def test_exit_codes_and_words(airport: Airport, capsys: pytest.CaptureFixture[str]) -> None:
    admitted_after_expiry(airport)
    path = str(airport.export())
    assert main([path, "--vkey", airport.vkey]) == 1
    said = capsys.readouterr().out
    assert "FAILED: decision_after_expiry (entry 1): admitted 1 s after the expiry" in said
    assert said.endswith("NOT VERIFIED\n")
    assert main([path + "x"]) == 2
    assert capsys.readouterr().err.startswith("UNREADABLE: ")
    assert main([path + "x", "--json"]) == 2
    assert json.loads(capsys.readouterr().err)["ok"] is False
