"""The end of an enrollment, and the changes on the way there: withdraw, purge, move, review.

Erasing is always in the same order: gallery overwritten, row deleted and logged in one transaction, free pages
scrubbed, then the receipt.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from time import perf_counter, sleep

from biometrics.errors import Conflict, MalformedInput, NotFound, NotReady, SealBroken
from biometrics.ports import Clock, EpochKeys, Gallery, StorageScrubber, TemplateSealer, UnitOfWork
from biometrics.records import (
    AuditEvent,
    EnrollmentRecord,
    EventKind,
    TravelToken,
    epoch_of,
    latest_expiry,
    new_id,
)
from enrollment.credentials import expired_credential
from enrollment.enroll import LONGEST_NOTICE, POLICY_VERSION

PURGE_BATCH = 200
NONCE_MEMORY = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class Erased:
    """What was erased: the enrollment's epoch, where the log says so, and whether free pages are scrubbed already."""

    epoch: int
    audit_index: int
    at: datetime
    scrubbed: bool


@dataclass(frozen=True, slots=True)
class Purged:
    """What one sweep did."""

    templates: int
    epochs: int
    nonces: int


@dataclass(frozen=True)
class RetentionService:
    """Everything that forgetting needs, wired once at start."""

    sealer: TemplateSealer
    gallery: Gallery
    keys: EpochKeys
    scrubber: StorageScrubber
    unit_of_work: Callable[[], UnitOfWork]
    clock: Clock
    walk_through_window: timedelta
    model_digest: str | None = None
    """Of the network that serves; without one no template enters a gallery."""
    stand_back: Callable[[float], None] = sleep
    """Waits for so many seconds between two batches of a purge."""

    def withdraw(self, enrollment_id: str) -> Erased:
        """Erase one enrollment now; raise `NotFound` if there is none (also when it has expired)."""
        with self.unit_of_work() as unit:
            now = self.clock.now()
            record = unit.enrollments.get(enrollment_id, now)
            if record is None:
                raise NotFound
            self.gallery.remove(record.id)
            unit.enrollments.delete(record.id)
            index = unit.audit.append(_event(EventKind.WITHDRAWN, now, record))
            unit.commit()
        # A check that read the row before this commit may have put nothing back: only enrollment adds to the gallery,
        # and the synchronizer re-reads the database. Removing again closes the gap with a synchronizer's run.
        self.gallery.remove(record.id)
        return Erased(record.epoch, index, now, scrubbed=self._scrub())

    def purge(self, *, progress: Callable[[int], None] = lambda erased: None) -> Purged:
        """Erase everything that has expired, destroy the keys of ended epochs, forget old nonces.

        Works in batches so that gates are never held up for long; safe to run twice at once. `progress` hears how many
        templates are erased so far.
        """
        now = self.clock.now()  # one time for all: a key may not go before its last template is logged as expired
        templates = 0
        for purge in (self._purge_batch, self._purge_credentials):
            while batch := self._in_turn(purge, now):
                templates += batch
                progress(templates)
        epochs = self._destroy_ended_epochs(now)
        with self.unit_of_work() as unit:
            nonces = unit.nonces.forget_before(now - NONCE_MEMORY)
            unit.commit()
        self._scrub()
        return Purged(templates, epochs, nonces)

    def _scrub(self) -> bool:
        """Scrub free pages; a reader that stands in the way is no reason to fail: every purge scrubs again."""
        try:
            self.scrubber.scrub()
        except NotReady:
            return False
        return True

    def _in_turn(self, purge: Callable[[datetime], int], now: datetime) -> int:
        """Erase one batch, then stand back for as long as that took: gates wait for the lock in which it was done."""
        started = perf_counter()
        batch = purge(now)
        if batch:
            self.stand_back(perf_counter() - started)
        return batch

    def _purge_batch(self, now: datetime) -> int:
        with self.unit_of_work() as unit:
            records = {record.id: record for record in unit.enrollments.expired(now, PURGE_BATCH)}
            self.gallery.remove_many(records.keys())
            deleted = unit.enrollments.delete_many(records.keys())
            unit.audit.append_many([_event(EventKind.EXPIRED, now, r) for r in records.values() if r.id in deleted])
            unit.commit()
        return len(records)

    def _purge_credentials(self, now: datetime) -> int:
        """Delete the places of expired credentials, which they give up on the hour; those withdrawn are logged."""
        with self.unit_of_work() as unit:
            places = unit.credentials.expired(epoch_of(now), PURGE_BATCH)
            over = [place for place, revoked in places if unit.credentials.delete(place) and not revoked]
            unit.audit.append_many([expired_credential(place, now) for place in over])
            unit.commit()
        return len(places)

    def _destroy_ended_epochs(self, now: datetime) -> int:
        """Destroy and log in one breath; `ended_epochs` names an epoch again until `confirm_destroyed` has been heard.

        So a crash at any point leaves no key alive, and no destruction unlogged.
        """
        ended = self.keys.ended_epochs(now)
        for epoch in ended:
            with self.unit_of_work() as unit:
                if epoch not in self.keys.ended_epochs(now):
                    continue  # another purger was quicker
                unit.audit.append(AuditEvent(EventKind.EPOCH_DESTROYED, now, new_id(), POLICY_VERSION, epoch=epoch))
                self.keys.destroy_epoch(epoch)
                unit.commit()
            self.keys.confirm_destroyed(epoch)
        return len(ended)

    def move(self, token: TravelToken, *, departs_at: datetime | None) -> EnrollmentRecord:
        """Move the departure, or cancel it with None; the template is opened with the token and sealed anew.

        Raises `NotFound`, `MalformedInput` for a departure that has passed or is over 30 days away, `Conflict` if the
        enrollment is too old to outlive its cancelled journey, `SealBroken` if the share is wrong.
        """
        with self.unit_of_work() as unit:
            now = self.clock.now()  # once the lock is held: waiting for it must not revive what has expired
            if departs_at is not None and not now < departs_at < now + LONGEST_NOTICE:
                raise MalformedInput("The departure is in the past or too far ahead.", code="departure_out_of_range")
            old = unit.enrollments.get(token.enrollment_id, now)
            if old is None:
                raise NotFound
            expires_at = latest_expiry(old.enrolled_at, departs_at)
            if expires_at <= now:
                raise Conflict("Without its journey this enrollment is over: withdraw it.", code="journey_over")
            with self.sealer.open_with_token(old, token) as template:
                sealed = self.sealer.seal(
                    template,
                    token=token,
                    epoch=epoch_of(expires_at),
                    model_digest=old.model_digest,
                    for_gallery=old.sealed.for_gallery is not None,
                )
            new = replace(old, departs_at=departs_at, expires_at=expires_at, sealed=sealed)
            unit.enrollments.replace(new)
            unit.audit.append(_event(EventKind.MOVED_OUT, now, old))
            unit.audit.append(replace(_event(EventKind.MOVED_IN, now, new), expires_at=expires_at))
            unit.commit()
        if not new.in_walk_through(now, self.walk_through_window):
            self.gallery.remove(new.id)
        self._scrub()
        return new

    def review(self, enrollment_id: str, *, cleared: bool) -> None:
        """Record an officer's finding on a suspected duplicate; clearing it lets the gates admit again."""
        with self.unit_of_work() as unit:
            now = self.clock.now()
            record = unit.enrollments.get(enrollment_id, now)
            if record is None:
                raise NotFound
            if not record.duplicate_suspected:
                raise Conflict("There is no suspicion to review.", code="nothing_to_review")
            unit.enrollments.replace(replace(record, duplicate_suspected=not cleared))
            reason = "duplicate_cleared" if cleared else "duplicate_confirmed"
            unit.audit.append(replace(_event(EventKind.REVIEWED, now, record), reason=reason))
            unit.commit()

    def synchronize_gallery(self) -> int:
        """Make the galleries equal to the database: used at start, then after every purge; return how many are in.

        Templates of another network stay out: their cosines with the probes of this one mean nothing.
        """
        with self.unit_of_work() as unit:
            present = self.gallery.ids()  # before the database is read: who enrolls in between stays
            wanted = {
                r.id: r
                for r in unit.enrollments.walk_through(self.clock.now(), self.walk_through_window)
                if r.model_digest == self.model_digest
            }
            self.gallery.remove_many(present - wanted.keys())
            for record in (wanted[i] for i in wanted.keys() - present):
                try:
                    with self.sealer.open_for_gallery(record) as template:
                        self.gallery.add(record.flight, record.id, template)
                except SealBroken:
                    continue  # its epoch is over, or one row was tampered with: no reason to keep all gates shut
        return self.gallery.size()


def _event(kind: EventKind, now: datetime, record: EnrollmentRecord) -> AuditEvent:
    return AuditEvent(kind, now, new_id(), POLICY_VERSION, subject=record.id, epoch=record.epoch)
