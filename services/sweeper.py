"""The worker that forgets: purges, destroys keys and keeps the galleries equal to the database."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from threading import Event, Thread

import structlog

from infra.free_memory import overwrite_free_blocks
from infra.idempotency import IdempotencyStore
from infra.telemetry import fault
from infra.web_sessions import WebSessions
from services.bootstrap import Dwarpal, Storage, finish_rotation

log = structlog.get_logger()


class Sweeper:
    """Sweeps every `purge_interval_seconds` on a thread of its own; gates stay safe if it dies (reads check expiry).

    `also` is run with each sweep: what else is to be forgotten.
    """

    def __init__(self, dwarpal: Dwarpal, *, also: Callable[[], None] = lambda: None) -> None:
        self._dwarpal = dwarpal
        self._also = also
        self._stop = Event()
        self._thread = Thread(target=self._run, name="sweeper", daemon=True)
        self.last_sweep: datetime | None = None

    def start(self) -> None:
        """Begin to sweep."""
        self._thread.start()

    def stop(self) -> None:
        """Finish the sweep under way and end."""
        self._stop.set()
        self._thread.join(timeout=30)

    def alive(self) -> bool:
        """Say whether the thread runs."""
        return self._thread.is_alive()

    def sweep(self) -> None:
        """Sweep once, and sign a checkpoint of the log."""
        self._also()
        dwarpal = self._dwarpal
        purged = dwarpal.retention.purge()
        dwarpal.metrics.gallery_size.set(dwarpal.retention.synchronize_gallery())
        dwarpal.metrics.last_purge.set_to_current_time()
        if purged.templates:
            dwarpal.metrics.erasures.labels("expired").inc(purged.templates)
        if purged.templates or purged.epochs:
            log.info("purged", templates=purged.templates, epochs=purged.epochs, nonces=purged.nonces)
            overwrite_free_blocks()  # where copies of their keys and shares may have been
        tidy_and_sign(dwarpal.storage)
        self.last_sweep = dwarpal.storage.now()

    def _run(self) -> None:
        while not self._stop.wait(self._dwarpal.settings.purge_interval_seconds):
            try:
                self.sweep()
            except Exception as error:  # noqa: BLE001 - a sweeper that dies quietly would be worse; reads stay safe
                log.error("sweep_failed", **fault(error))


def tidy_and_sign(storage: Storage) -> None:
    """End a sweep: finish an interrupted rotation, forget what is over of answers and sessions, sign a checkpoint."""
    finish_rotation(storage)
    with storage.unit_of_work() as unit:
        IdempotencyStore(unit.session, storage.keys).forget_before(storage.now())
        WebSessions(unit.session).forget_before(storage.now())
        unit.log.checkpoint()
        unit.commit()
