"""What PostgreSQL keeps of a row that was erased, and who can still open it: real server, real files, real keys."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest
from sqlalchemy import Engine, make_url, text
from typer.testing import CliRunner

from biometrics.errors import KeyDestroyed, SealBroken
from biometrics.records import EnrollmentRecord, Purpose, SealedTemplate, TravelToken, epoch_end, new_id
from biometrics.types import Template
from enrollment.retention import RetentionService
from infra.database.scrub import build_scrubber
from infra.database.unit_of_work import SqlUnitOfWork
from infra.gallery import RotatedGallery
from infra.keys.file_store import FileKeyStore
from infra.keys.sealing import EnvelopeSealer
from infra.traces import postgres
from infra.traces.needles import template_needles
from infra.traces.postgres import KIND, server_files
from infra.traces.scan import ScanReport, scan
from services.cli.main import app
from tests.factories import NOON, make_consent, make_enrollment
from tests.fakes import FakeClock

SITE = "s"
NONCE_END = 13
"""A version byte and a nonce begin every ciphertext, and no two begin alike."""

pytestmark = pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)


class Airport:
    """A site on PostgreSQL with one traveller who holds a token, one who walks through, and one who stays."""

    def __init__(self, engine: Engine, folder: Path) -> None:
        self.engine = engine
        self.clock = FakeClock(NOON)
        self.keys = FileKeyStore(folder / "keys" / "keys.dwarpal", passphrase=None)
        self.sealer = EnvelopeSealer(self.keys, SITE)
        self.retention = RetentionService(
            self.sealer,
            RotatedGallery(),
            self.keys,
            build_scrubber(engine),
            self.unit,
            self.clock,
            timedelta(hours=3),
        )
        self.vectors = np.random.default_rng().normal(size=(3, 512)).astype(np.float32)
        self.vectors /= np.linalg.norm(self.vectors, axis=1, keepdims=True)
        enrolled = [self.enroll(vector, walk_through=place == 2) for place, vector in enumerate(self.vectors)]
        self.records = [record for record, _ in enrolled]
        self.tokens = {record.id: token for record, token in enrolled}
        _stays, self.claimed, self.walking = self.records
        self.token = self.tokens[self.claimed.id]

    def unit(self) -> SqlUnitOfWork:
        return SqlUnitOfWork(self.engine, self.keys, SITE)

    def enroll(self, vector: np.ndarray, *, walk_through: bool) -> tuple[EnrollmentRecord, TravelToken]:
        token = TravelToken.new(new_id())
        purposes = [Purpose.ENTRY, *([Purpose.WALK_THROUGH] if walk_through else [])]
        record = replace(make_enrollment(token, SealedTemplate(b"", b"")), consent=make_consent(purposes))
        with Template(vector.copy()) as template:
            sealed = self.sealer.seal(
                template,
                token=token,
                epoch=record.epoch,
                model_digest=record.model_digest,
                for_gallery=walk_through,
            )
        record = replace(record, sealed=sealed)
        with self.unit() as unit:
            unit.enrollments.add(record)
            unit.commit()
        return record, token

    def files(self) -> dict[str, bytes]:
        """Return the server's files, as a thief of its disk gets them."""
        with self.engine.execution_options(isolation_level="AUTOCOMMIT").connect() as connection:
            connection.execute(text("CHECKPOINT"))
        found = {source.name: b"".join(source.read()) for source in server_files(self.engine)}
        return {name: unpaged(content) if place(name) == "wal" else content for name, content in found.items()}

    def scanned(self) -> ScanReport:
        return scan(server_files(self.engine), template_needles(self.vectors))


@pytest.fixture
def airport(engine: Engine, tmp_path: Path) -> Airport:
    return Airport(engine, tmp_path)


def place(name: str) -> str:
    """Say whether a file is of the write-ahead log or of the tables."""
    return "wal" if "/pg_wal/" in name else "heap"


def unpaged(content: bytes) -> bytes:
    """Return a piece of the write-ahead log as one stream: a record goes on behind the header of the next page.

    Headers have 24 bytes, and 40 with the flag 2 (`xlog_internal.h`).
    """
    pages = (content[at : at + 8192] for at in range(0, len(content), 8192))
    return b"".join(page[40 if page[2:3] and page[2] & 2 else 24 :] for page in pages)


def dug_out(record: EnrollmentRecord, content: bytes) -> EnrollmentRecord | None:
    """Return the record with the ciphertexts that stand in a file; None where one of them does not."""
    found: list[bytes | None] = []
    for sealed in (record.sealed.envelope, record.sealed.for_holder, record.sealed.for_gallery):
        at = -1 if sealed is None else content.find(sealed[:NONCE_END])
        found.append(None if sealed is None or at < 0 else content[at : at + len(sealed)])
    envelope, holder, gallery = found
    if envelope is None or holder is None:
        return None
    return replace(record, sealed=SealedTemplate(envelope, holder, gallery))


def remains(record: EnrollmentRecord, files: dict[str, bytes]) -> Iterator[tuple[str, EnrollmentRecord]]:
    """Yield (`heap` or `wal`, the record as that file still has it)."""
    for name, content in files.items():
        if (old := dug_out(record, content)) is not None:
            yield place(name), old


def opens(airport: Airport, record: EnrollmentRecord, token: TravelToken | None) -> bool:
    """Say whether it opens to its template with the server's keys as they are, and the share if it is known."""
    guessed = TravelToken(record.id, bytes(32)) if token is None else token
    for way in (
        lambda: airport.sealer.open_with_token(record, guessed),
        lambda: airport.sealer.open_for_gallery(record),
    ):
        try:
            with way() as template:
                return bool((airport.vectors @ template.vector).max() > 0.99)
        except SealBroken:  # `KeyDestroyed` is one
            continue
    return False


@pytest.mark.privacy_row("erased_everywhere")
@pytest.mark.privacy_row("epoch_keys_destroyed")
def test_what_postgresql_keeps_of_a_withdrawn_row_opens_for_nobody_after_the_epoch(airport: Airport) -> None:
    for record in (airport.claimed, airport.walking):
        assert airport.retention.withdraw(record.id).scrubbed
    files = airport.files()
    report = airport.scanned()
    assert (report.traces, report.unread) == (0, {}), "what is kept is ciphertext only"
    assert report.looked_at[KIND].bytes > 2**24, "a piece of the write-ahead log alone has 16 MiB"
    claimed, walking = (list(remains(record, files)) for record in (airport.claimed, airport.walking))
    print("found of", {"claimed": {place for place, _ in claimed}, "walking": {place for place, _ in walking}})
    # During the epoch: what docs/threat-model.md says under "Honest limits", no more and no less.
    assert not any(opens(airport, old, None) for _, old in claimed), "all keys, but no share"
    assert any(opens(airport, old, airport.token) for place, old in claimed if place == "wal"), "with the share as well"
    assert any(opens(airport, old, None) for place, old in walking if place == "wal"), "needs no share by its nature"
    # After it, also with the share, and also what became garbage only now.
    airport.clock.time = epoch_end(airport.claimed.epoch)
    assert (airport.retention.purge().epochs, airport.keys.ended_epochs(airport.clock.now())) == (1, [])
    everything = airport.files()
    left = [old for record in airport.records for _, old in remains(record, everything)]
    assert {old.id for old in left} == {record.id for record in airport.records}, "the files still have all three"
    for old in left:
        assert not opens(airport, old, airport.tokens[old.id])
        with pytest.raises(KeyDestroyed):
            airport.sealer.open_with_token(old, airport.tokens[old.id])
    assert airport.scanned().traces == 0


def test_a_template_in_the_clear_is_found_where_its_row_was_deleted(airport: Airport) -> None:
    leaked = airport.vectors[0].astype("<f2").tobytes()
    with airport.engine.begin() as connection:
        connection.execute(text("CREATE TABLE leak (content BYTEA)"))
        connection.execute(text("INSERT INTO leak VALUES (:content)"), {"content": leaked})
    with airport.engine.begin() as connection:
        connection.execute(text("DELETE FROM leak"))
    airport.files()
    assert {trace.what for trace in airport.scanned().found} == {"template, float16"}


def run_scan(folder: Path, url: str) -> tuple[int, dict[str, dict[str, object]]]:
    np.save(folder / "canary.npy", np.random.default_rng().normal(size=512))
    (folder / "data").mkdir(exist_ok=True)
    command = ["privacy", "scan", "--data-dir", str(folder / "data"), "--canary", str(folder / "canary.npy"), "--json"]
    done = CliRunner().invoke(app, command, env={"DWARPAL_DATABASE_URL": url})
    assert done.stdout, done.output
    return done.exit_code, json.loads(done.stdout)


def test_the_scan_reads_the_servers_files_or_says_why_it_cannot(
    engine: Engine, database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    code, report = run_scan(tmp_path, database_url)
    assert (code, report["unread"]) == (0, {})
    assert KIND in report["looked_at"]
    reasons = []
    role = f"reader_{new_id()}"
    with engine.begin() as connection:
        connection.execute(text(f"CREATE ROLE {role} LOGIN IN ROLE pg_read_all_data"))
    code, report = run_scan(tmp_path, make_url(database_url).set(username=role).render_as_string(hide_password=False))
    reasons.append((code, report["unread"]))
    with engine.begin() as connection:
        connection.execute(text(f"DROP ROLE {role}"))
    (tmp_path / "pg" / "global").mkdir(parents=True)
    (tmp_path / "pg" / "global" / "pg_control").write_bytes(bytes(8192))
    for folder in (tmp_path / "pg", tmp_path / "nowhere"):
        monkeypatch.setattr(postgres, "_WHERE", text(f"SELECT '{folder}', CAST(1 AS bigint), 1"))
        code, report = run_scan(tmp_path, database_url)
        reasons.append((code, report["unread"]))
    assert reasons == [
        (3, {KIND: "the database's user may not know where they are: only a superuser may"}),
        (3, {KIND: "they are on another machine"}),
        (3, {KIND: "they are on another machine"}),
    ]
