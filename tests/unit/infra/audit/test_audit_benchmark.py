"""The benchmark of the log: what it loads is a log like any other, and it refuses to time proofs that do not hold."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import update

from biometrics.errors import LogInconsistent, MalformedInput
from infra.audit import benchmark, merkle
from infra.audit.audit_verify import Entry
from infra.audit.benchmark import SMALL, benchmark_log
from infra.audit.tables import AuditNode
from infra.database.engine import build_engine, migrate
from infra.database.unit_of_work import SqlUnitOfWork
from tests.fakes import FakeKeyStore


def test_the_loaded_log_is_the_one_that_appending_makes(tmp_path: Path) -> None:
    engine = build_engine(f"sqlite:///{tmp_path / 'log.db'}")
    migrate(engine)
    benchmark.load(engine, 1237, lambda done, total: None)
    with SqlUnitOfWork(engine, FakeKeyStore(), benchmark.SITE, read_only=True) as unit:
        entries = unit.log.entries(0, 5000)
        assert unit.log.size() == len(entries) == 1237
        for size in (1, 2, 1024, 1236, 1237):
            assert unit.log.root(size) == merkle.root_of(entry.leaf for entry in entries[:size])
        parsed = [Entry.parse(entry.index, entry.leaf) for entry in entries]
    assert [entry.time for entry in entries] == [entry.time for entry in parsed]
    assert parsed[-1].time == datetime(2026, 1, 1, tzinfo=UTC) + timedelta(milliseconds=123_600)
    assert len({entry.subject for entry in parsed}) == 310
    engine.dispose()


def test_figures_of_a_log(tmp_path: Path) -> None:
    heard: list[tuple[int, int]] = []
    figures = benchmark_log(tmp_path, 3000, runs=20, progress=lambda done, total: heard.append((done, total)))
    assert heard == [(3000, 3000)]
    assert (figures.entries, figures.runs) == (3000, 20)
    assert set(figures.small) == set(figures.large)
    assert {"append and commit", "inclusion proof", "consistency proof"} < set(figures.large)
    assert all(0 < one.median <= one.p95 for one in figures.large.values())
    assert figures.disk_bytes > 3000 * 400


def test_a_benchmark_needs_a_log_of_some_size(tmp_path: Path) -> None:
    with pytest.raises(MalformedInput):
        benchmark_log(tmp_path, SMALL - 1, runs=20, progress=lambda done, total: None)


def test_a_proof_that_does_not_hold_is_no_figure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    load = benchmark.load

    def load_and_spoil(engine, entries, progress):  # type: ignore[no-untyped-def]
        load(engine, entries, progress)
        with engine.begin() as connection:
            connection.execute(update(AuditNode).where(AuditNode.level == 0).values(hash=bytes(32)))

    monkeypatch.setattr(benchmark, "load", load_and_spoil)
    with pytest.raises(LogInconsistent):
        benchmark_log(tmp_path, SMALL, runs=20, progress=lambda done, total: None)
