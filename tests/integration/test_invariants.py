"""What must always be true (docs/threat-model.md): one test or more for each invariant."""

from __future__ import annotations

import ctypes
import json
import logging
import os
import re
import resource
import socket
import sqlite3
import sys
import tempfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError

from biometrics.errors import SealBroken
from biometrics.records import TravelToken
from biometrics.types import Pixels, Template
from infra.keys.file_store import FileKeyStore
from infra.keys.sealing import EnvelopeSealer
from services.bootstrap import Networks
from services.sweeper import Sweeper
from tests.conftest import LocalSite, encode

Start = Callable[..., LocalSite]
IMAGE_MARKS = (b"\xff\xd8\xff", b"\x89PNG\r\n", b"RIFF")


def files_below(*folders: Path) -> dict[Path, bytes]:
    return {p: p.read_bytes() for folder in folders for p in folder.rglob("*") if p.is_file()}


def test_invariant_1_no_raw_image_is_ever_written(
    site: LocalSite, astronaut: Pixels, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spool = tmp_path / "spool"
    spool.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(spool))

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a file was opened in the temporary folder")

    monkeypatch.setattr(tempfile, "TemporaryFile", refuse)
    monkeypatch.setattr(tempfile, "NamedTemporaryFile", refuse)
    monkeypatch.setattr(tempfile.SpooledTemporaryFile, "rollover", refuse)
    big = np.kron(astronaut, np.ones((3, 3, 1), np.uint8))
    rng = np.random.default_rng(0)
    big = np.clip(big.astype(np.int16) + rng.integers(-6, 7, big.shape), 0, 255).astype(np.uint8)
    png = encode(big, "PNG", pnginfo=None)
    assert len(png) > 2 * 2**20  # past the size at which Starlette would spool to disk

    enrolled = site.enroll(png)
    assert enrolled.status_code == 201, enrolled.text
    assert site.decision(png, enrolled.json()["travel_token"])[0] == "admit"
    site.check(png[:1000])

    for path, content in files_below(site.data_dir, spool).items():
        assert not any(mark in content for mark in IMAGE_MARKS), path
        assert png[5000:5064] not in content, path


def test_invariant_1_metadata_of_an_image_goes_nowhere(
    capfd: pytest.CaptureFixture[str], site: LocalSite, astronaut: Pixels
) -> None:
    marker = b"MARKER-7f3a91"
    jpeg = encode(astronaut, comment=marker)
    assert marker in jpeg
    enrolled = site.enroll(jpeg)
    answer = site.check(jpeg, enrolled.json()["travel_token"])
    out = capfd.readouterr()
    assert '"status": 200' in out.err
    everything = b"".join(files_below(site.data_dir).values()) + enrolled.content + answer.content
    assert marker not in everything + (out.out + out.err).encode()


def test_invariant_2_a_template_never_outlives_its_purpose(site: LocalSite, astronaut_jpeg: bytes) -> None:
    """The purger is dead here (it sweeps once an hour); reads alone must refuse."""
    token = site.enroll(astronaut_jpeg, departs_in=timedelta(hours=3)).json()["travel_token"]
    site.clock.offset = timedelta(hours=27) - timedelta(seconds=5)
    assert site.decision(astronaut_jpeg, token) == ("admit", "matched")
    site.clock.offset = timedelta(hours=27) + timedelta(seconds=1)
    assert site.decision(astronaut_jpeg, token) == ("deny", "not_enrolled")
    with site.system.storage.reading() as unit:
        assert unit.session.scalar(text("SELECT count(*) FROM enrollment")) == 1  # the row is still there


def test_invariant_2_expiry_is_a_database_constraint(site: LocalSite, astronaut_jpeg: bytes) -> None:
    site.enroll(astronaut_jpeg)
    with site.system.storage.unit_of_work() as unit, pytest.raises(IntegrityError):
        unit.session.execute(text("UPDATE enrollment SET expires_at = expires_at + 1000000"))


def test_invariant_2_walk_through_forgets_on_time_without_the_purger(site: LocalSite, astronaut_jpeg: bytes) -> None:
    site.enroll(astronaut_jpeg, purposes=["entry", "walk_through"])
    assert site.decision(astronaut_jpeg) == ("admit", "matched")
    site.clock.offset = timedelta(hours=27, seconds=1)
    assert site.decision(astronaut_jpeg) == ("deny", "not_enrolled")


def test_invariant_3_deleting_destroys_a_key(site: LocalSite, start_site: Start, astronaut_jpeg: bytes) -> None:
    """Yesterday's backup of the database, put back after the epoch's end, opens nothing."""
    enrolled = site.enroll(astronaut_jpeg, purposes=["entry", "walk_through"]).json()
    token = TravelToken.parse(enrolled["travel_token"])
    with site.system.storage.reading() as unit:
        record = unit.enrollments.get(token.enrollment_id, site.now())
        assert record is not None
    backup = tmp_backup(site.data_dir / "dwarpal.db")
    site.clock.offset = timedelta(hours=29)
    Sweeper(site.system).sweep()
    restored = sqlite3.connect(backup)
    assert restored.execute("SELECT count(*) FROM enrollment").fetchone() == (1,)
    restored.close()
    sealer = EnvelopeSealer(site.system.storage.keys, "test.example")
    with pytest.raises(SealBroken):
        sealer.open_with_token(record, token)
    with pytest.raises(SealBroken):
        sealer.open_for_gallery(record)


def tmp_backup(database: Path) -> Path:
    copy = database.with_name("backup.db")
    source, target = sqlite3.connect(database), sqlite3.connect(copy)
    source.backup(target)
    source.close()
    target.close()
    return copy


def test_invariant_3_nothing_of_a_withdrawn_template_stays_in_the_files(site: LocalSite, astronaut_jpeg: bytes) -> None:
    enrolled = site.enroll(astronaut_jpeg, purposes=["entry", "walk_through"]).json()
    with site.system.storage.reading() as unit:
        record = unit.enrollments.get(enrolled["enrollment_id"], site.now())
    assert record is not None
    canaries = (record.sealed.envelope[20:60], record.sealed.for_holder[20:60], record.holder_verifier)
    assert any(canaries[0] in content for content in files_below(site.data_dir).values())
    assert site.withdraw(enrolled).json()["pages_scrubbed"]
    for path, content in files_below(site.data_dir).items():
        assert not any(canary in content for canary in canaries), path
    assert site.system.gallery.size() == 0


def test_invariant_4_stolen_database_and_keys_open_nothing_of_a_token_holder(
    site: LocalSite, astronaut_jpeg: bytes
) -> None:
    token = TravelToken.parse(site.enroll(astronaut_jpeg, idempotency_key="k" * 32).json()["travel_token"])
    with site.system.storage.reading() as unit:
        record = unit.enrollments.get(token.enrollment_id, site.now())
    assert record is not None and record.sealed.for_gallery is None
    thief = EnvelopeSealer(FileKeyStore(site.data_dir / "keys" / "keys.dwarpal", passphrase=None), "test.example")
    with pytest.raises(SealBroken):
        thief.open_for_gallery(record)
    for share in (bytes(32), record.holder_verifier, record.sealed.for_holder[:32], os.urandom(32)):
        with pytest.raises(SealBroken):
            thief.open_with_token(record, TravelToken(record.id, share))
    with thief.open_with_token(record, token) as template:
        assert template.vector.any()  # the same keys do open it for the holder
    for path, content in files_below(site.data_dir).items():
        assert token.share not in content and token.text.encode() not in content, path


def test_invariant_5_no_purpose_no_processing(site: LocalSite, astronaut_jpeg: bytes) -> None:
    token = site.enroll(astronaut_jpeg, purposes=["boarding"]).json()["travel_token"]
    assert site.decision(astronaut_jpeg, token, gate="boarding-1") == ("admit", "matched")
    assert site.decision(astronaut_jpeg, token, gate="entry-1") == ("deny", "purpose_not_consented")
    assert site.decision(astronaut_jpeg, gate="boarding-1") == ("deny", "not_matched")  # not in any gallery
    assert site.system.gallery.size() == 0


def test_invariant_6_every_decision_is_logged_before_the_gate_hears(
    site: LocalSite, astronaut_jpeg: bytes, hopper_jpeg: bytes
) -> None:
    token = site.enroll(astronaut_jpeg).json()["travel_token"]
    for image, claimed in ((astronaut_jpeg, token), (hopper_jpeg, token), (hopper_jpeg, None)):
        answer = site.check(image, claimed).json()
        with site.system.storage.reading() as unit:
            fields = unit.log.entry(answer["audit_index"]).fields()
        assert (fields["event_id"], fields["decision"], fields["reason"]) == (
            answer["check_id"],
            answer["decision"],
            answer["reason"],
        )


def test_invariant_6_the_log_holds_nothing_personal(site: LocalSite, astronaut_jpeg: bytes) -> None:
    allowed = {
        "v", "time", "event", "event_id", "policy", "subject", "epoch", "gate", "purpose", "decision", "reason",
        "expires_at", "count",
    }  # fmt: skip
    enrolled = site.enroll(astronaut_jpeg, flight="AI302").json()
    site.check(astronaut_jpeg, enrolled["travel_token"])
    site.withdraw(enrolled)
    lines = [json.loads(line) for line in site.export().splitlines()[1:]]
    entries = [line for line in lines if "event" in line]
    assert {"enrolled", "checked", "withdrawn"} <= {entry["event"] for entry in entries}
    assert set().union(*entries) <= allowed
    text_of_log = json.dumps(entries)
    assert enrolled["enrollment_id"] not in text_of_log
    assert "AI302" not in text_of_log
    assert not any(isinstance(value, float) for entry in entries for value in entry.values())


class Broken:
    """Any part of the check that fails in its own way."""

    provider_name = "none"
    model_digest = "0" * 64
    failures: ClassVar[dict[str, BaseException]] = {
        "error": RuntimeError("secret-7731"),
        "memory": MemoryError(),
        "timeout": TimeoutError("secret-7731"),
    }

    def __init__(self, failure: str) -> None:
        self._failure = self.failures[failure]

    def __getattr__(self, name: str) -> object:
        raise self._failure

    def detect(self, image: Pixels) -> object:
        raise self._failure

    def embed(self, aligned: Pixels) -> Template:
        raise self._failure

    def assess(self, image: Pixels, face: object) -> object:
        raise self._failure


@pytest.mark.parametrize("failure", list(Broken.failures))
@pytest.mark.parametrize("part", ["detector", "embedder", "pad"])
def test_invariant_7_the_gate_fails_shut(
    site: LocalSite, start_site: Start, astronaut_jpeg: bytes, part: str, failure: str
) -> None:
    token = site.enroll(astronaut_jpeg).json()["travel_token"]

    def wrap(networks: Networks) -> Networks:
        return replace(networks, **{part: Broken(failure)})

    broken = start_site(wrap=wrap)
    with broken.system.storage.reading() as unit:
        before = unit.log.size()
    answer = broken.check(astronaut_jpeg, token)
    assert answer.status_code == 500
    assert "admit" not in answer.text and "secret" not in answer.text
    with broken.system.storage.reading() as unit:
        assert unit.log.size() == before  # nothing was committed


def test_invariant_7_a_locked_database_admits_nobody(site: LocalSite, astronaut_jpeg: bytes) -> None:
    token = site.enroll(astronaut_jpeg).json()["travel_token"]
    blocker = sqlite3.connect(site.data_dir / "dwarpal.db", isolation_level=None)
    blocker.execute("BEGIN IMMEDIATE")
    try:
        answer = site.check(astronaut_jpeg, token)
    finally:
        blocker.execute("ROLLBACK")
        blocker.close()
    assert answer.status_code == 503
    assert "admit" not in answer.text


def test_invariant_7_an_admission_never_follows_a_receipt(site: LocalSite, astronaut_jpeg: bytes) -> None:
    """Checks race with the withdrawal: an admission stands before the withdrawal in the log, or does not stand."""
    for _ in range(5):
        enrolled = site.enroll(astronaut_jpeg).json()
        with ThreadPoolExecutor(4) as pool:
            checks = [pool.submit(site.check, astronaut_jpeg, enrolled["travel_token"]) for _ in range(6)]
            withdrawal = pool.submit(site.withdraw, enrolled).result().json()
            answers = [c.result().json() for c in checks]
        erased_at = withdrawal["receipt"]["log_index"]
        admitted = [a["audit_index"] for a in answers if a.get("decision") == "admit"]
        assert all(index < erased_at for index in admitted)


SCORE = re.compile(r"\b0\.\d{3,}")


def test_invariant_8_no_score_leaves_the_system(
    capfd: pytest.CaptureFixture[str], site: LocalSite, astronaut_jpeg: bytes, hopper_jpeg: bytes
) -> None:
    token = site.enroll(astronaut_jpeg, purposes=["entry", "walk_through"]).json()["travel_token"]
    answers = [site.check(i, t) for i in (astronaut_jpeg, hopper_jpeg) for t in (token, None)]
    for answer in answers:
        body = answer.json()
        assert set(body) == {"check_id", "decision", "reason", "checked_at", "audit_index", "duration_ms"}
    headers = " ".join(f"{k}: {v}" for a in answers for k, v in a.headers.items())
    logs = capfd.readouterr()
    leaf_text = site.export().decode()
    assert '"status": 200' in logs.err
    for where in (headers, leaf_text, logs.out + logs.err):
        assert not SCORE.search(re.sub(r"\d\d:\d\d\.\d+", "", where)), where[:200]
    schema = site.client.get("/openapi.json").json()
    names = {n.lower() for s in schema["components"]["schemas"].values() for n in s.get("properties", {})}
    assert not {n for n in names if re.search(r"score|similar|cosine|embedding|template|vector", n)}


def test_invariant_9_nothing_leaves_the_site(
    site: LocalSite, astronaut_jpeg: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A whole journey, with every attempt to connect anywhere recorded."""
    attempts: list[object] = []

    def record(_self: socket.socket, address: object) -> None:
        attempts.append(address)
        raise ConnectionRefusedError

    monkeypatch.setattr(socket.socket, "connect", record)
    monkeypatch.setattr(socket, "getaddrinfo", lambda *a, **_: attempts.append(a) or [])
    enrolled = site.enroll(astronaut_jpeg).json()
    assert site.decision(astronaut_jpeg, enrolled["travel_token"])[0] == "admit"
    assert site.withdraw(enrolled).status_code == 200
    Sweeper(site.system).sweep()
    site.export()
    assert attempts == []


def test_logs_hold_no_identifier_or_secret(
    capfd: pytest.CaptureFixture[str], site: LocalSite, astronaut_jpeg: bytes
) -> None:
    logging.getLogger("sqlalchemy").warning("library loggers stay quiet about values")
    enrolled = site.enroll(astronaut_jpeg, flight="AI302").json()
    token = enrolled["travel_token"]
    site.check(astronaut_jpeg, token)
    site.client.get(f"/v1/enrollments/{enrolled['enrollment_id']}", headers=site.auth(token))
    site.check(b"\xff\xd8\xff broken", token)
    site.withdraw(enrolled)
    logs = "".join(capfd.readouterr())
    assert "/v1/enrollments/{enrollment_id}" in logs
    for secret in (enrolled["enrollment_id"], token, "AI302", *site.keys.values()):
        assert secret not in logs


def test_no_crash_writes_memory_to_disk(site: LocalSite) -> None:
    assert resource.getrlimit(resource.RLIMIT_CORE) == (0, 0)
    if sys.platform == "linux":
        assert ctypes.CDLL(None).prctl(3, 0, 0, 0, 0) == 0  # PR_GET_DUMPABLE
