"""Work that outlives its request: one thread, a short queue, outcomes in memory that are soon forgotten.

Nothing of a job reaches a disk: a restart forgets it. Whoever made a job can read it until 15 minutes after its end.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import StrEnum
from threading import Event, Lock
from typing import Final, Generic, TypeVar

import structlog

from biometrics.errors import NotFound, NotReady
from biometrics.ports import Clock
from biometrics.records import new_id
from infra.telemetry import fault

log = structlog.get_logger()

KEPT: Final = timedelta(minutes=15)
"""How long outcomes can be read after the end: they may hold travel tokens, which must not linger."""

MOST_WAITING: Final = 3
"""How many jobs may wait behind the one at work; each holds up to one request's body in memory."""

Outcome = TypeVar("Outcome")


class JobStatus(StrEnum):
    """Where a job stands; `interrupted` is an end too: some of its items were not worked on."""

    QUEUED = "queued"
    RUNNING = "running"
    DONE = "done"
    INTERRUPTED = "interrupted"


@dataclass(frozen=True, slots=True)
class Job(Generic[Outcome]):
    """A job at one moment: `outcomes` has one entry for each item worked on so far, in their order."""

    id: str
    owner: str = field(repr=False)
    total: int
    status: JobStatus = JobStatus.QUEUED
    outcomes: tuple[Outcome, ...] = field(default=(), repr=False)
    ended_at: datetime | None = None

    def readable(self, now: datetime) -> bool:
        """Say whether the outcomes may still be read."""
        return self.ended_at is None or now < self.ended_at + KEPT


class Jobs(Generic[Outcome]):
    """Runs jobs one after the other on one thread, one item at a time.

    An item is a callable without arguments that returns its outcome, a failure included. It is let go of as soon as
    it was called, and with it whatever it holds.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._jobs: dict[str, Job[Outcome]] = {}
        self._lock = Lock()
        self._closing = Event()
        self._worker = ThreadPoolExecutor(1, thread_name_prefix="jobs")

    def submit(
        self,
        owner: str,
        items: Sequence[Callable[[], Outcome]],
        *,
        before_start: Callable[[Job[Outcome]], None] = lambda job: None,
    ) -> Job[Outcome]:
        """Queue a job; raise `NotReady` (`busy`) if too many wait.

        `before_start` runs once the job has its place and before any item does: what it raises takes the place back.
        """
        job = self._place(owner, len(items))
        try:
            before_start(job)
            self._worker.submit(self._run, job.id, deque(items))
        except BaseException:
            with self._lock:
                del self._jobs[job.id]
            raise
        return job

    def get(self, job_id: str, owner: str) -> Job[Outcome]:
        """Return a job to its owner; raise `NotFound` alike for unknown, forgotten and others' jobs."""
        with self._lock:
            job = self._jobs.get(job_id)
        if job is None or job.owner != owner or not job.readable(self._clock.now()):
            raise NotFound
        return job

    def forget(self) -> None:
        """Let go of the jobs that ended long enough ago; reading is safe without."""
        now = self._clock.now()
        with self._lock:
            self._jobs = {job.id: job for job in self._jobs.values() if job.readable(now)}

    def close(self) -> None:
        """Finish the item at work, interrupt the rest, and wait for that."""
        self._closing.set()
        self._worker.shutdown()

    def _place(self, owner: str, total: int) -> Job[Outcome]:
        job: Job[Outcome] = Job(new_id(), owner, total)
        with self._lock:
            waiting = sum(other.status is JobStatus.QUEUED for other in self._jobs.values())
            if waiting >= MOST_WAITING or self._closing.is_set():
                raise NotReady("Too many jobs are waiting: try again.", code="busy")
            self._jobs[job.id] = job
        return job

    def _run(self, job_id: str, items: deque[Callable[[], Outcome]]) -> None:
        """Work on one job; an item that raises, against its contract, interrupts it."""
        end = JobStatus.INTERRUPTED
        try:
            if not self._closing.is_set():
                self._begin(job_id)
            while items and not self._closing.is_set():
                self._add(job_id, items.popleft()())
            end = JobStatus.INTERRUPTED if items else JobStatus.DONE
        except Exception as error:  # noqa: BLE001 - a job that stayed `running` for ever would be worse
            log.error("job_failed", **fault(error))
        finally:
            items.clear()
            with self._lock:
                job = self._jobs.pop(job_id)  # if even the clock fails, the job is forgotten and not kept for ever
                self._jobs[job_id] = replace(job, status=end, ended_at=self._clock.now())

    def _begin(self, job_id: str) -> None:
        with self._lock:
            self._jobs[job_id] = replace(self._jobs[job_id], status=JobStatus.RUNNING)

    def _add(self, job_id: str, outcome: Outcome) -> None:
        with self._lock:
            job = self._jobs[job_id]
            self._jobs[job_id] = replace(job, outcomes=(*job.outcomes, outcome))
