"""Steps 6 to 8 of a gate check for a traveller who carries their template: the credential takes the record's place."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from threading import Lock

from biometrics.credentials import CredentialReader, JourneyCredential
from biometrics.errors import NotPermitted, SealBroken
from biometrics.ports import UnitOfWork
from biometrics.records import Gate
from biometrics.types import Template
from verification.decision import Decision, Reason, admit, deny, refer
from verification.policy import LockoutPolicy


class FailureMemory:
    """Counts failed comparisons of each credential in memory, since no database knows it; forgotten at its end.

    One process counts for itself, and a restart begins anew.
    """

    def __init__(self, policy: LockoutPolicy) -> None:
        self._policy = policy
        self._counts: dict[str, _Failures] = {}
        self._lock = Lock()

    def locked(self, credential: JourneyCredential, now: datetime) -> bool:
        """Say whether this credential is locked out."""
        with self._lock:
            found = self._counts.get(credential.id)
            return found is not None and found.locked_until is not None and found.locked_until > now

    def count(self, credential: JourneyCredential, decision: Decision, now: datetime) -> None:
        """Count a failure, forget all of them once admitted; a lock-out under way stays as it is."""
        with self._lock:
            for name in [name for name, kept in self._counts.items() if kept.expires_at <= now]:
                del self._counts[name]
            before = self._counts.get(credential.id, _Failures(credential.expires_at))
            if before.locked_until is not None and before.locked_until > now:
                return
            if decision.counts_as_failure:
                failures = before.count + 1
                full = failures >= self._policy.failures
                until = now + self._policy.duration if full else None
                self._counts[credential.id] = _Failures(credential.expires_at, 0 if full else failures, until)
            elif decision.admits:
                self._counts.pop(credential.id, None)


@dataclass(frozen=True, slots=True)
class _Failures:
    expires_at: datetime
    count: int = 0
    locked_until: datetime | None = None


@dataclass(frozen=True)
class CredentialChecks:
    """What a gate check needs to judge a credential; `threshold` is that of a claimed comparison."""

    reader: CredentialReader
    failures: FailureMemory
    threshold: Callable[[], float] = field(repr=False)

    def read(self, text: str) -> JourneyCredential | None:
        """Return what this site signed, or None; raise `MalformedInput` for what has not the form of a credential."""
        try:
            return self.reader.read(text)
        except NotPermitted:
            return None

    def disposes(
        self, unit: UnitOfWork, credential: JourneyCredential | None, now: datetime
    ) -> JourneyCredential | Reason:
        """Return the credential if it is genuine, unexpired and in force, otherwise what is wrong with it."""
        if credential is None:
            return Reason.CREDENTIAL_INVALID
        if credential.expires_at <= now:
            return Reason.CREDENTIAL_EXPIRED
        revoked = unit.credentials.revoked(credential.place)
        if revoked is None:
            return Reason.CREDENTIAL_INVALID
        return Reason.CREDENTIAL_REVOKED if revoked else credential

    def allows(
        self, credential: JourneyCredential, gate: Gate, flight: str | None, model_digest: str, now: datetime
    ) -> Decision | None:
        """Return the reason for which this credential may not even be compared, or None; see `record_allows`."""
        if self.failures.locked(credential, now):
            return refer(Reason.LOCKED_OUT, credential.id)
        if gate.purpose not in credential.purposes:
            return deny(Reason.PURPOSE_NOT_CONSENTED, credential.id)
        if not model_digest.startswith(credential.model):
            return refer(Reason.ENROLLED_WITH_OTHER_MODEL, credential.id)
        if flight is not None and credential.flight != flight:  # also where the traveller withheld it
            return deny(Reason.OTHER_JOURNEY, credential.id)
        return None

    def compare(self, credential: JourneyCredential, probe: Template) -> Decision:
        """Decrypt, compare, forget."""
        try:
            with self.reader.open(credential) as template:
                matched = template.matches(probe, self.threshold())
        except SealBroken:
            return deny(Reason.CREDENTIAL_INVALID)
        return admit(credential.id) if matched else deny(Reason.NOT_MATCHED, counts_as_failure=True)
