"""How long the log takes to append and to prove when it is large: a synthetic log in a database of its own.

The tree is loaded in bulk, with the bytes and indexes that appending one by one would leave; what is measured then is
the code that gates and auditors wait for, each with its transaction.
"""

from __future__ import annotations

import hashlib
import random
import resource
import statistics
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import islice
from pathlib import Path
from time import perf_counter

from sqlalchemy import Connection, Engine, Table, delete, insert

from biometrics.errors import LogInconsistent, MalformedInput
from biometrics.records import AuditEvent, EventKind, Purpose, epoch_of, new_id
from infra.audit import merkle
from infra.audit.canonical import utc_text
from infra.audit.tables import AuditEntry, AuditHead, AuditNode
from infra.database.base import Base
from infra.database.engine import build_engine, migrate
from infra.database.unit_of_work import SqlUnitOfWork
from infra.keys.file_store import FileKeyStore

SITE = "benchmark.example"
BYTES_PER_ENTRY = 1000
"""Disk that one entry takes, with its nodes, indexes and the journal, rounded up."""

SMALL = 1000
"""Entries of the log with which the large one is compared."""

_BATCH = 50_000
_STEP = timedelta(milliseconds=100)
_START = datetime(2026, 1, 1, tzinfo=UTC)
_LEAF = (
    '{"decision":"admit","epoch":%d,"event":"checked","event_id":"%s","gate":"t3-entry-1","policy":"gate/1",'
    '"purpose":"entry","reason":"matched","subject":"%s","time":"%s","v":1}'
)

Progress = Callable[[int, int], None]
_Row = tuple[int, bytes, str, int, str, str, int, str, str]


@dataclass(frozen=True, slots=True)
class Milliseconds:
    """Of one thing, over all runs."""

    median: float
    p95: float


@dataclass(frozen=True, slots=True)
class LogFigures:
    """What was measured at `SMALL` entries and at `entries`, by what was done; disk in bytes, memory in MiB."""

    entries: int
    runs: int
    load_seconds: float
    disk_bytes: int
    peak_memory_mib: int
    small: dict[str, Milliseconds]
    large: dict[str, Milliseconds]


def benchmark_log(folder: Path, entries: int, *, runs: int, progress: Progress) -> LogFigures:
    """Fill a log in an empty folder and measure it; `progress` hears (entries loaded, all).

    Raises `MalformedInput` for fewer than `SMALL` entries, and `LogInconsistent` if a proof does not hold.
    """
    if entries < SMALL:
        raise MalformedInput(f"A benchmark of the log needs at least {SMALL} entries.")
    engine = build_engine(f"sqlite:///{folder / 'benchmark.db'}")
    migrate(engine)
    keys = FileKeyStore(folder / "keys" / "keys.dwarpal", passphrase=None)
    bench = _Bench(engine, keys, runs)
    try:
        load(engine, SMALL, lambda done, total: None)
        small = bench.measure()
        started = perf_counter()
        load(engine, entries, progress)
        seconds = perf_counter() - started
        large = bench.measure()
    finally:
        engine.dispose()
    disk = sum(file.stat().st_size for file in folder.glob("benchmark.db*"))
    # Kilobytes on Linux, bytes on macOS (getrusage).
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // (2**20 if sys.platform == "darwin" else 2**10)
    return LogFigures(entries, runs, seconds, disk, peak, small, large)


def load(engine: Engine, entries: int, progress: Progress) -> None:
    """Make the log one of so many synthetic entries, whatever it held."""
    table = Base.metadata.tables[AuditEntry.__tablename__]
    with engine.begin() as connection:
        for emptied in (AuditEntry, AuditNode, AuditHead):
            connection.execute(delete(emptied))
        for index in table.indexes:  # built once at the end, as sorting is quicker than inserting in random order
            index.drop(connection)
    tree, rows = _Nodes(), _rows(entries)
    for done in range(0, entries, _BATCH):
        batch = list(islice(rows, _BATCH))
        with engine.begin() as connection:
            _insert(connection, table, batch)
            _insert(connection, Base.metadata.tables[AuditNode.__tablename__], tree.add(row[1] for row in batch))
        progress(min(done + _BATCH, entries), entries)
    with engine.begin() as connection:
        for index in table.indexes:
            index.create(connection)
        connection.execute(insert(AuditHead).values(id=1, size=entries, last_time=_START + entries * _STEP))
        connection.exec_driver_sql("ANALYZE")


def _insert(connection: Connection, table: Table, rows: list[_Row] | list[tuple[int, int, bytes]]) -> None:
    """Insert tuples in the order of the table's columns, past SQLAlchemy's work on every row."""
    columns = ", ".join(f'"{column.name}"' for column in table.columns)
    marks = ", ".join("?" for _ in table.columns)
    connection.exec_driver_sql(f"INSERT INTO {table.name} ({columns}) VALUES ({marks})", rows)  # noqa: S608 - our names


def _rows(entries: int) -> Iterator[_Row]:
    """Yield rows of `audit_entry`: checks of travellers who pass four gates each."""
    for index in range(entries):
        time = _START + index * _STEP
        subject = hashlib.sha256(b"%d" % (index // 4)).hexdigest()
        epoch = epoch_of(time + timedelta(hours=24))
        leaf = _LEAF % (epoch, subject[:32], subject, utc_text(time))
        yield (
            index,
            leaf.encode(),
            "checked",
            int(time.timestamp() * 1e6),
            "t3-entry-1",
            subject,
            epoch,
            "admit",
            "matched",
        )


class _Nodes:
    """The complete subtrees of a growing tree, as rows of `audit_node`."""

    def __init__(self) -> None:
        self._size = 0
        self._border: dict[int, bytes] = {}  # by level, the left sibling that waits for its right one

    def add(self, leaves: Iterator[bytes]) -> list[tuple[int, int, bytes]]:
        """Return (level, index, hash) of every node that these leaves complete."""
        made = []
        for leaf in leaves:
            nodes = merkle.new_nodes(self._size, leaf, lambda level, index: self._border[level])
            self._border.update({level: node for level, _, node in nodes})
            made += nodes
            self._size += 1
        return made


class _Bench:
    """Measures a log of any size."""

    def __init__(self, engine: Engine, keys: FileKeyStore, runs: int) -> None:
        self._engine, self._keys, self._runs = engine, keys, runs

    def measure(self) -> dict[str, Milliseconds]:
        """Return the figures of everything that somebody waits for."""
        chance = random.Random(1)  # noqa: S311 - the same places each time, not a secret
        with self._reading() as unit:
            size, root = unit.log.size(), unit.log.root()
        places = [chance.randrange(size) for _ in range(self._runs)]
        return {
            "append and commit": self._each(self._append, places),
            "inclusion proof": self._each(lambda index: self._include(index, size, root), places),
            "consistency proof": self._each(lambda old: self._extend(old, size, root), places),
            "checkpoint": self._each(lambda _: self._checkpoint(), places),
        }

    def _each(self, deed: Callable[[int], Callable[[], bool] | None], places: list[int]) -> Milliseconds:
        """Time a deed at every place; whether what came of it holds is not part of the time."""
        took = []
        for place in places:
            started = perf_counter()
            holds = deed(place)
            took.append((perf_counter() - started) * 1000)
            if holds is not None and not holds():
                raise LogInconsistent("A proof of the log does not hold.", code="proof_wrong")
        return Milliseconds(statistics.median(took), sorted(took)[int(0.95 * len(took))])

    def _append(self, _place: int) -> None:
        with SqlUnitOfWork(self._engine, self._keys, SITE) as unit:
            size = unit.log.size()
            now = _START + size * _STEP
            epoch = epoch_of(now + timedelta(hours=24))
            self._keys.audit_key(epoch, create=True)
            unit.audit.append(
                AuditEvent(
                    EventKind.CHECKED,
                    now,
                    new_id(),
                    "gate/1",
                    subject=new_id(),
                    epoch=epoch,
                    gate_id="t3-entry-1",
                    purpose=Purpose.ENTRY,
                    decision="admit",
                    reason="matched",
                )
            )
            unit.commit()

    def _include(self, index: int, size: int, root: bytes) -> Callable[[], bool]:
        with self._reading() as unit:
            proof = unit.log.inclusion_proof(index, size)
            leaf = unit.log.entry(index).leaf
        return lambda: merkle.verify_inclusion(merkle.leaf_hash(leaf), index, size, proof, root)

    def _extend(self, old: int, size: int, root: bytes) -> Callable[[], bool]:
        with self._reading() as unit:
            proof, old_root = unit.log.consistency_proof(old, size), unit.log.root(old)
        return lambda: merkle.verify_consistency(old, size, proof, old_root, root)

    def _checkpoint(self) -> None:
        with self._reading() as unit:
            unit.log.published(unit.log.checkpoint(keep=False))

    def _reading(self) -> SqlUnitOfWork:
        return SqlUnitOfWork(self._engine, self._keys, SITE, read_only=True)
