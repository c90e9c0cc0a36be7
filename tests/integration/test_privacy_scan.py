"""`dwarpal privacy scan` finds what was planted, in every place that it looks at, and nothing after an erasure."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from sqlalchemy import Engine, text
from typer.testing import CliRunner

from biometrics.records import TravelToken
from infra.keys.sealing import EnvelopeSealer
from services.cli.main import app
from tests.conftest import LocalSite

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="memory is read through /proc")


@pytest.fixture
def template(tmp_path: Path) -> np.ndarray:
    vector = np.random.default_rng(3).normal(size=512)
    vector = (vector / np.linalg.norm(vector)).astype(np.float32)
    np.save(tmp_path / "canary.npy", vector)
    return vector


def run_scan(folder: Path, *options: object) -> tuple[int, dict[str, object], set[str]]:
    data_dir = folder / "data"
    data_dir.mkdir(exist_ok=True)
    command = ["privacy", "scan", "--data-dir", str(data_dir), "--canary", str(folder / "canary.npy"), "--json"]
    done = CliRunner().invoke(app, [*command, *map(str, options)])
    assert done.stdout, done.output
    report = json.loads(done.stdout)
    return done.exit_code, report, {f"{trace['what']} | {trace['source']}" for trace in report["found"]}


def test_canaries_in_the_data_folder_and_in_named_logs(
    tmp_path: Path, template: np.ndarray, astronaut_jpeg: bytes
) -> None:
    assert run_scan(tmp_path)[0] == 0
    (tmp_path / "data" / "spool").write_bytes(bytes(99) + template.astype("<f2").tobytes())
    (tmp_path / "app.log").write_bytes(b"line\n" + astronaut_jpeg)
    code, report, found = run_scan(tmp_path, tmp_path / "app.log")
    assert code == 1
    assert found == {
        f"template, float16 | {tmp_path}/data/spool",
        f"JPEG picture | {tmp_path}/app.log",
    }
    assert report["looked_at"]["data folder"] == {"sources": 1, "bytes": 99 + 1024}  # type: ignore[index]
    shown = CliRunner().invoke(
        app, ["privacy", "scan", str(tmp_path / "app.log"), "--data-dir", str(tmp_path / "data")]
    )
    assert shown.exit_code == 1
    assert "FOUND JPEG picture" in shown.stdout


def test_canaries_in_the_rows_of_either_database(
    tmp_path: Path, template: np.ndarray, engine: Engine, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DWARPAL_DATABASE_URL", database_url)
    assert run_scan(tmp_path)[0] == 0
    kind = "BYTEA" if engine.dialect.name == "postgresql" else "BLOB"
    with engine.begin() as connection:
        connection.execute(text(f"CREATE TABLE leak (id INTEGER, content {kind})"))
        # PostgreSQL compresses what is long and alike, and its files would not show the template
        connection.execute(text("INSERT INTO leak VALUES (1, :c)"), {"c": bytes(9000) + template.tobytes()})
    code, _, found = run_scan(tmp_path)
    assert (code, found) == (1, {"template, float32 | leak"})


def test_canaries_in_a_journal_are_found(tmp_path: Path, template: np.ndarray) -> None:
    (tmp_path / "data").mkdir()
    writer = sqlite3.connect(tmp_path / "data" / "dwarpal.db", isolation_level=None)
    writer.executescript("PRAGMA journal_mode=wal; PRAGMA wal_autocheckpoint=0; CREATE TABLE t (content BLOB)")
    writer.execute("INSERT INTO t VALUES (?)", (template.tobytes(),))
    writer.execute("DELETE FROM t")
    _, _, found = run_scan(tmp_path)
    writer.close()
    assert found == {f"template, float32 | {tmp_path}/data/dwarpal.db-wal"}


HOLDER = """
import sys, numpy as np
{load}
{held}
print("ready", flush=True)
sys.stdin.read()
"""


@contextmanager
def holding(folder: Path, held: str, load: str = "vector = np.load(sys.argv[1])") -> Iterator[int]:
    program = [sys.executable, "-c", HOLDER.format(load=load, held=held), str(folder / "canary.npy")]
    with subprocess.Popen(program, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin and process.stdout
        assert process.stdout.readline() == b"ready\n"
        yield process.pid
        process.stdin.close()


@pytest.mark.parametrize(
    ("held", "what"),
    [
        ("half = vector.astype('<f2'); del vector", "template, float16"),
        ("", "template, float32"),
        ("freed = [bytes(vector.tobytes()) for _ in range(50)]; del freed", "template, float32"),
        ("picture = b'\\x89PNG\\r\\n\\x1a\\n\\0\\0\\0\\rIHDR\\0\\0\\2\\0\\0\\0\\2\\0\\10\\2\\0\\0\\0'", "PNG picture"),
    ],
)
def test_canaries_in_a_process_are_found(tmp_path: Path, template: np.ndarray, held: str, what: str) -> None:
    with holding(tmp_path, held) as pid:
        code, report, found = run_scan(tmp_path, "--pid", pid)
    assert code == 1
    assert any(one.startswith(f"{what} | process {pid}") for one in found)
    assert report["looked_at"]["memory"]["bytes"] > 2**20  # type: ignore[index]


FREED = "copies = [open(sys.argv[1], 'rb', buffering=0).read() for _ in range(50)]; del copies"


@pytest.mark.privacy_row("memory_dump")
@pytest.mark.parametrize(("first", "code"), [("", 1), ("overwrite_freed_memory()", 0)])
def test_what_the_service_frees_is_overwritten(tmp_path: Path, template: np.ndarray, first: str, code: int) -> None:
    load = f"from services.bootstrap import overwrite_freed_memory; {first}"
    with holding(tmp_path, FREED, load=load) as pid:
        assert run_scan(tmp_path, "--pid", pid)[0] == code


def test_a_process_that_never_held_it_holds_no_canary(tmp_path: Path, template: np.ndarray) -> None:
    with holding(tmp_path, "", load="vector = None") as pid:
        assert run_scan(tmp_path, "--pid", pid)[0] == 0


def test_a_scan_of_nobody_or_of_itself_is_refused(tmp_path: Path) -> None:
    for pid, code in ((2**22 + 1, 3), (os.getpid(), 2)):  # no process has a number above 2^22
        done = CliRunner().invoke(app, ["privacy", "scan", "--data-dir", str(tmp_path), "--pid", str(pid)])
        assert done.exit_code == code, done.output


@pytest.mark.privacy_row("erased_everywhere")
def test_nothing_is_found_after_an_erasure(site: LocalSite, astronaut_jpeg: bytes, tmp_path: Path) -> None:
    """The whole road: the template that a traveller's photograph became leaves nothing in any file or row."""
    enrolled = site.enroll(astronaut_jpeg, purposes=["entry", "walk_through"]).json()
    token = TravelToken.parse(enrolled["travel_token"])
    assert site.decision(astronaut_jpeg, token.text)[0] == "admit"
    with site.system.storage.reading() as unit:
        record = unit.enrollments.get(token.enrollment_id, site.now())
    assert record is not None
    with EnvelopeSealer(site.system.storage.keys, "test.example").open_with_token(record, token) as opened:
        np.save(tmp_path / "canary.npy", opened.vector)
    site.withdraw(enrolled)
    code, report, _ = run_scan(tmp_path)
    assert (code, report["traces"]) == (0, 0)
    assert set(report["looked_at"]) == {"data folder", "database rows"}  # type: ignore[arg-type]
