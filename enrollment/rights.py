"""What travellers may ask for (DPDP Act 2023 ss.11-14; GDPR arts.15-22), and by when they are answered.

The words of a request and of its answer are personal data. They are sealed under the key of the day on which they must
be gone: an open request is sealed anew before that day comes, a closed one is deleted, and then the key goes too.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Generic, Protocol, TypeVar

from biometrics.errors import Conflict, KeyDestroyed, MalformedInput, NotFound
from biometrics.ports import Clock, UnitOfWork
from biometrics.records import AuditEvent, EventKind, TravelToken, epoch_of, new_id
from enrollment.rights_request import CLOSED, WORDLESS, OpenedRequest, RightsKind, RightsRequest, RightsState

POLICY_VERSION = "rights/1"
MOST_OPEN = 10
"""Open requests of one enrollment: more would only fill the database."""

FADING = timedelta(days=7)
"""An open request whose key has no more than this to live is sealed under a later one."""

_SWEEP_BATCH = 500


class TextSealer(Protocol):
    """Seals words under an epoch's key."""

    def seal(self, text: str, *, request_id: str, role: str, epoch: int) -> bytes:
        """Seal words for one place; raise `KeyDestroyed` if the epoch has ended."""
        ...

    def open(self, sealed: bytes, *, request_id: str, role: str, epoch: int) -> str:
        """Open them again; raise `SealBroken`, or `KeyDestroyed` if the epoch has ended."""
        ...


class RightsStore(Protocol):
    """Rights requests in the database."""

    def add(self, request: RightsRequest) -> None:
        """Add a new request."""
        ...

    def get(self, request_id: str) -> RightsRequest | None:
        """Return a request or None, locked until a writing unit of work ends."""
        ...

    def replace(self, request: RightsRequest) -> None:
        """Overwrite the request of the same id; raise `NotFound` if there is none."""
        ...

    def page(self, start: int, limit: int, *, open_only: bool) -> Sequence[RightsRequest]:
        """Return a page: open requests first, then by due date."""
        ...

    def of_enrollment(self, enrollment_id: str) -> Sequence[RightsRequest]:
        """Return an enrollment's requests, oldest first."""
        ...

    def fading(self, epoch: int, limit: int) -> Sequence[RightsRequest]:
        """Return up to `limit` open requests that are sealed under `epoch` or an earlier one."""
        ...

    def erase(self, now: datetime) -> int:
        """Delete the requests with `erase_at <= now`; return how many."""
        ...


class RightsUnit(UnitOfWork, Protocol):
    """A unit of work that also holds rights requests."""

    rights: RightsStore


Unit = TypeVar("Unit", bound=RightsUnit)


@dataclass(frozen=True)
class RightsService(Generic[Unit]):
    """Files, shows, decides and forgets requests; `due` and `kept` are the site's periods."""

    sealer: TextSealer
    unit_of_work: Callable[[], Unit]
    clock: Clock
    due: timedelta
    kept: timedelta

    def file(
        self,
        kind: RightsKind,
        text: str,
        *,
        enrollment_id: str | None,
        token: TravelToken | None = None,
        before_commit: Callable[[Unit, RightsRequest], None] = lambda unit, request: None,
    ) -> RightsRequest:
        """File a request, for a holder (`token`) or by an officer (without).

        Raises `NotFound` if there is no such enrollment or the token is not its own, `MalformedInput` if words are
        missing, `Conflict` if too many requests of this enrollment are open.
        """
        if not text.strip() and kind not in WORDLESS:
            raise MalformedInput("Say what this request is about.", code="text_missing")
        with self.unit_of_work() as unit:
            now = self.clock.now()
            verifier = None
            if enrollment_id is not None:
                found = unit.enrollments
                record = found.get(enrollment_id, now) if token is None else found.held(token, now)
                if record is None or record.id != enrollment_id:
                    raise NotFound
                if sum(r.closed_at is None for r in unit.rights.of_enrollment(record.id)) >= MOST_OPEN:
                    raise Conflict("Too many requests are open: wait for an answer.", code="too_many_requests")
                verifier = record.holder_verifier
            request_id, due_at = new_id(), now + self.due
            epoch = _last_epoch_of_day(due_at + self.kept)
            sealed = self.sealer.seal(text, request_id=request_id, role="text", epoch=epoch)
            request = RightsRequest(
                request_id, kind, now, due_at, epoch, sealed, enrollment_id=enrollment_id, holder_verifier=verifier
            )
            unit.rights.add(request)
            unit.audit.append(_event(EventKind.RIGHTS_RECEIVED, now, request))
            before_commit(unit, request)
            unit.commit()
        return request

    def show(self, request_id: str, *, token: TravelToken | None) -> OpenedRequest:
        """Return a request with its words, to its holder or to an officer, whose reading is logged.

        Raises `NotFound` alike for an unknown request and for somebody else's.
        """
        with self.unit_of_work() as unit:
            request = unit.rights.get(request_id)
            if request is None or (token is not None and not request.belongs_to(token)):
                raise NotFound
            if token is None:
                unit.audit.append(_event(EventKind.RIGHTS_READ, self.clock.now(), request))
                unit.commit()
        return self.opened(request)

    def opened(self, request: RightsRequest) -> OpenedRequest:
        """Return a request with its words."""
        text, answer = self._words(request)
        return OpenedRequest(request, text, answer)

    def decide(
        self,
        request_id: str,
        state: RightsState,
        answer: str = "",
        *,
        before_commit: Callable[[Unit, RightsRequest], None] = lambda unit, request: None,
    ) -> RightsRequest:
        """Take a request up (`in_progress`), or close it (`done`, `refused`) with an answer.

        Raises `NotFound`, `Conflict` if it is closed already, `MalformedInput` for any other state, or if a closing
        decision has no words for the traveller.
        """
        closes = state in CLOSED
        if not closes and state is not RightsState.IN_PROGRESS:
            raise MalformedInput("A decision is in_progress, done or refused.", code="not_a_decision")
        if closes and not answer.strip():
            raise MalformedInput("Closing a request takes an answer to the traveller.", code="answer_missing")
        with self.unit_of_work() as unit:
            now = self.clock.now()
            request = unit.rights.get(request_id)
            if request is None:
                raise NotFound
            if request.closed_at is not None:
                raise Conflict("This request is closed.", code="request_closed")
            request = replace(request, state=state)
            text, _ = self._words(request)
            if closes:
                request = replace(request, closed_at=now, erase_at=now + self.kept)
                request = self._sealed(request, text, answer, _last_epoch_of_day(now + self.kept))
            elif answer.strip():
                request = self._sealed(request, text, answer, request.epoch)
            unit.rights.replace(request)
            unit.audit.append(_event(EventKind.RIGHTS_DECIDED, now, request))
            before_commit(unit, request)
            unit.commit()
        return request

    def sweep(self) -> int:
        """Delete closed requests whose time is over, and keep the words of open ones readable; return the deleted.

        To be run before the keys of ended epochs are destroyed.
        """
        with self.unit_of_work() as unit:
            now = self.clock.now()
            erased = unit.rights.erase(now)
            if erased:
                unit.audit.append(AuditEvent(EventKind.RIGHTS_ERASED, now, new_id(), POLICY_VERSION, count=erased))
            for request in unit.rights.fading(epoch_of(now + FADING), _SWEEP_BATCH):
                text, answer = self._words(request)
                later = _last_epoch_of_day(now + FADING + self.kept)
                unit.rights.replace(self._sealed(request, text, answer, later))
            unit.commit()
        return erased

    def _words(self, request: RightsRequest) -> tuple[str | None, str | None]:
        def opened(sealed: bytes | None, role: str) -> str | None:
            if sealed is None:
                return None
            try:
                return self.sealer.open(sealed, request_id=request.id, role=role, epoch=request.epoch)
            except KeyDestroyed:  # after an outage longer than `FADING` in which another process purged
                return None

        return opened(request.text, "text"), opened(request.answer, "answer")

    def _sealed(self, request: RightsRequest, text: str | None, answer: str | None, epoch: int) -> RightsRequest:
        def sealed(words: str | None, role: str) -> bytes | None:
            if words is None:
                return None
            return self.sealer.seal(words, request_id=request.id, role=role, epoch=epoch)

        return replace(request, epoch=epoch, text=sealed(text, "text"), answer=sealed(answer, "answer"))


def _last_epoch_of_day(at: datetime) -> int:
    """Return the last epoch of a UTC day: one key for all requests of a day keeps the key store small."""
    return epoch_of(at.astimezone(UTC).replace(hour=23))


def _event(kind: EventKind, now: datetime, request: RightsRequest) -> AuditEvent:
    # The request's random id links its entries; nothing in the log links it to an enrollment.
    decision = request.state.value if kind is EventKind.RIGHTS_DECIDED else None
    return AuditEvent(kind, now, request.id, POLICY_VERSION, decision=decision, reason=request.kind.value)
