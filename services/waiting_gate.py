"""A gate that does to the database what a claimed check does, over and over, and notes how long it waits."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from time import perf_counter
from typing import Final

import numpy as np

from biometrics.errors import Conflict, NotReady
from biometrics.records import AuditEvent, EventKind, Gate, TravelToken, new_id
from biometrics.types import Template
from infra.keys.sealing import EnvelopeSealer
from services.bootstrap import Storage

POLICY_VERSION: Final = "bench/1"

_SAME: Final = 0.5
_PAUSE_SECONDS: Final = 0.02


@dataclass(frozen=True, slots=True)
class Waits:
    """Milliseconds of the gates' transactions, and how many were refused because the database was busy."""

    checks: int
    refused: int
    median: float
    p95: float
    p99: float
    longest: float

    @classmethod
    def of(cls, seconds: list[float], refused: int) -> Waits:
        """Summarize at least one transaction."""
        median, p95, p99, longest = (1000 * float(value) for value in np.percentile(seconds, [50, 95, 99, 100]))
        return cls(len(seconds), refused, median, p95, p99, longest)


class WaitingGate:
    """Makes the transactions of claimed checks of one traveller whose time is not over, one after the other."""

    def __init__(
        self, storage: Storage, sealer: EnvelopeSealer, gate: Gate, token: TravelToken, probe: Template
    ) -> None:
        self._storage, self._sealer, self._gate, self._token, self._probe = storage, sealer, gate, token, probe
        self._seconds: list[float] = []
        self._refused = 0
        self._done = threading.Event()

    def measure(self, checks: int) -> Waits:
        """Make so many checks and return how long they took."""
        for _ in range(checks):
            self._timed_check()
        measured = self.waits()
        self._seconds, self._refused = [], 0
        return measured

    def waits(self) -> Waits:
        """Return how long the checks took."""
        return Waits.of(self._seconds, self._refused)

    @contextmanager
    def at_work(self) -> Iterator[None]:
        """Make checks on a thread of its own while the block runs."""
        thread = threading.Thread(target=self._work, name="gate")
        thread.start()
        try:
            yield
        finally:
            self._done.set()
            thread.join()

    def _work(self) -> None:
        while not self._done.wait(_PAUSE_SECONDS):
            self._timed_check()

    def _timed_check(self) -> None:
        started = perf_counter()
        try:
            self._check()
        except NotReady:
            self._refused += 1
        self._seconds.append(perf_counter() - started)

    def _check(self) -> None:
        with self._storage.reading() as unit:
            unit.gates.get(self._gate.id)
            unit.nonces.seen(self._gate.id, "")
        with self._storage.unit_of_work() as unit:
            now = self._storage.now()
            unit.nonces.add(self._gate.id, new_id(), now)
            record = unit.enrollments.held(self._token, now)
            if record is None:
                raise Conflict("The gate's traveller is gone.", code="benchmark_broken")
            with self._sealer.open_with_token(record, self._token) as template:
                decision = "admit" if template.matches(self._probe, _SAME) else "deny"
            unit.audit.append(
                AuditEvent(
                    EventKind.CHECKED,
                    now,
                    new_id(),
                    POLICY_VERSION,
                    subject=record.id,
                    epoch=record.epoch,
                    gate_id=self._gate.id,
                    purpose=self._gate.purpose,
                    decision=decision,
                    reason="matched",
                )
            )
            unit.commit()
