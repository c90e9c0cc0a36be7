"""How long it takes to forget many travellers at once, and what the gates feel of it meanwhile.

A site in a temporary folder is filled with sealed random unit vectors that expire over several hours; a tenth of them
stands in the walk-through galleries. Then their time is over, and the service's own purge erases them while another
thread does what a gate check does to the database. Networks play no part in this: a gate has its probe already.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import Final

import numpy as np
import psutil

from biometrics.errors import Conflict
from biometrics.records import (
    AuditEvent,
    Consent,
    EnrollmentRecord,
    EventKind,
    Gate,
    Purpose,
    TravelToken,
    epoch_of,
    latest_expiry,
    new_id,
)
from biometrics.types import EMBEDDING_SIZE, Template
from infra.audit.audit_verify import verify_bundle
from infra.database.stores import add_many
from infra.gallery import RotatedGallery
from infra.keys.sealing import EnvelopeSealer
from infra.settings import Settings
from services.bootstrap import Storage, build_retention, build_storage
from services.export import export_log, verifier_key_of
from services.simulated_clock import SimulatedClock
from services.waiting_gate import POLICY_VERSION, WaitingGate, Waits

HOURS: Final = 4
"""So many hours pass while the travellers enroll: their templates expire in one epoch more."""

_NETWORK: Final = "0" * 64
_BATCH: Final = 1000
_IN_GALLERY: Final = 10
_FLIGHTS: Final = 20
_LIVING: Final = timedelta(days=20)
_MIB: Final = 2**20

Progress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class PurgeFigures:
    """What was measured: seconds, MiB of memory that the purge added at most, the gates' waits, and what is left."""

    database: str
    templates: int
    epochs: int
    fill_seconds: float
    purge_seconds: float
    templates_per_second: float
    memory_growth_mib: float
    gates_alone: Waits
    gates_beside_the_purge: Waits
    rows_left: int
    gallery_left: int
    keys_left: int
    log_verifies: bool

    @property
    def nothing_left(self) -> bool:
        """Whether no row, gallery row or key of the expired is left, and the log says so of each of them."""
        return not self.rows_left and not self.gallery_left and not self.keys_left and self.log_verifies


def benchmark_purge(
    settings: Settings,
    *,
    templates: int,
    database_url: str = "",
    quiet_checks: int = 300,
    progress: Progress = lambda done, total: None,
) -> PurgeFigures:
    """Fill, expire and purge so many templates; `progress` hears of both, so of twice as many.

    Without `database_url` on SQLite in a folder that vanishes. Raises `Conflict` if the named database is not empty.
    """
    with TemporaryDirectory(prefix="dwarpal-bench-") as name:
        changed = {"data_dir": Path(name), "database_url": database_url}
        storage = build_storage(Settings.model_validate(settings.model_dump() | changed))
        try:
            bench = _Bench(replace(storage, clock=SimulatedClock()), Path(name))
            return bench.run(templates, quiet_checks, progress)
        finally:
            storage.engine.dispose()


class _Bench:
    """One site, its galleries and its gate."""

    def __init__(self, storage: Storage, folder: Path) -> None:
        assert isinstance(storage.clock, SimulatedClock)  # noqa: S101 - `benchmark_purge` has just put it there
        self._clock = storage.clock
        self._storage = storage
        self._folder = folder
        self._sealer = EnvelopeSealer(storage.keys, storage.settings.site)
        self._gallery = RotatedGallery()
        self._rng = np.random.default_rng()

    def run(self, templates: int, quiet_checks: int, progress: Progress) -> PurgeFigures:
        """Do all of it once."""
        started = perf_counter()
        gate = self._open_gate()
        epochs = self._fill(templates, lambda done: progress(done, 2 * templates))
        filled = perf_counter() - started
        self._clock.time += timedelta(hours=26)
        alone = gate.measure(quiet_checks)
        retention = build_retention(self._storage, self._gallery)
        memory = _Memory()

        def purging(done: int) -> None:
            memory.look()
            progress(templates + done, 2 * templates)

        with gate.at_work():
            started = perf_counter()
            purged = retention.purge(progress=purging)
            seconds = perf_counter() - started
        memory.look()
        with self._storage.reading() as unit:
            left = len(unit.enrollments.expired(self._clock.now(), templates))
        return PurgeFigures(
            database=self._storage.engine.dialect.name,
            templates=purged.templates,
            epochs=len(epochs),
            fill_seconds=filled,
            purge_seconds=seconds,
            templates_per_second=purged.templates / seconds,
            memory_growth_mib=memory.growth_mib,
            gates_alone=alone,
            gates_beside_the_purge=gate.waits(),
            rows_left=left,
            gallery_left=self._gallery.size(),
            keys_left=len(epochs & set(self._storage.keys.ended_epochs(self._clock.now()))),
            log_verifies=self._verify(),
        )

    def _open_gate(self) -> WaitingGate:
        with self._storage.unit_of_work() as unit:
            if unit.log.size():
                raise Conflict("This database is in use: name an empty one.", code="database_not_empty")
            gate = Gate("bench-1", Purpose.ENTRY)
            unit.gates.add(gate)
            record, token, template = self._traveller(walk_through=False, stays=True)
            add_many(unit.session, [record])
            unit.audit.append(self._enrolled(record))
            unit.commit()
        return WaitingGate(self._storage, self._sealer, gate, token, template)

    def _fill(self, templates: int, progress: Callable[[int], None]) -> set[int]:
        """Enroll travellers over `HOURS`; return the epochs in which their templates expire."""
        epochs: set[int] = set()
        for done in range(0, templates, _BATCH):
            records = []
            for number in range(done, min(done + _BATCH, templates)):
                walk_through = number % _IN_GALLERY == 0
                record, _token, template = self._traveller(walk_through=walk_through, stays=False)
                with template:
                    if walk_through:
                        self._gallery.add(record.flight, record.id, template)
                records.append(record)
                self._clock.time += timedelta(hours=HOURS) / templates
            with self._storage.unit_of_work() as unit:
                add_many(unit.session, records)
                unit.audit.append_many([self._enrolled(record) for record in records])
                unit.commit()
            epochs |= {record.epoch for record in records}
            progress(done + len(records))
        return epochs

    def _traveller(self, *, walk_through: bool, stays: bool) -> tuple[EnrollmentRecord, TravelToken, Template]:
        now = self._clock.now()
        departs_at = now + _LIVING if stays else None
        expires_at = latest_expiry(now, departs_at)
        vector = self._rng.normal(size=EMBEDDING_SIZE).astype(np.float32)
        template, token = Template(vector / np.linalg.norm(vector)), TravelToken.new(new_id())
        sealed = self._sealer.seal(
            template, token=token, epoch=epoch_of(expires_at), model_digest=_NETWORK, for_gallery=walk_through
        )
        purposes = frozenset({Purpose.ENTRY, Purpose.WALK_THROUGH} if walk_through else {Purpose.ENTRY})
        record = EnrollmentRecord(
            token.enrollment_id,
            f"BENCH-{self._rng.integers(_FLIGHTS)}",
            now,
            departs_at,
            expires_at,
            Consent(purposes, POLICY_VERSION, _NETWORK, "en", now),
            _NETWORK,
            sealed,
            token.verifier,
        )
        return record, token, template

    def _enrolled(self, record: EnrollmentRecord) -> AuditEvent:
        return AuditEvent(
            EventKind.ENROLLED,
            record.enrolled_at,
            new_id(),
            POLICY_VERSION,
            subject=record.id,
            epoch=record.epoch,
            expires_at=record.expires_at,
        )

    def _verify(self) -> bool:
        """Say whether the exported log holds: the tree, every enrollment's end, every decision's right to be made."""
        self._clock.time += timedelta(days=1)  # whoever has no end by now never gets one
        bundle = self._folder / "bundle.jsonl"
        with bundle.open("wb") as stream:
            export_log(self._storage, stream)
        # The first templates waited for the last ones' time to be over.
        late = timedelta(hours=HOURS + 3).total_seconds()
        return verify_bundle(bundle, vkey=verifier_key_of(self._storage), margin_seconds=late).ok


class _Memory:
    """How far this process's resident memory has risen."""

    def __init__(self) -> None:
        self._process = psutil.Process()
        self._before = self._most = self._process.memory_info().rss

    def look(self) -> None:
        """Note what it is now."""
        self._most = max(self._most, self._process.memory_info().rss)

    @property
    def growth_mib(self) -> float:
        """MiB above where it was at first."""
        return float(self._most - self._before) / _MIB
