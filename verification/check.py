"""One gate check, in a straight line.

1. load the gate, its purpose and its policy; turn a replay or a missing signature away before a pixel is decoded;
2. detect exactly one usable face;  3. sample quality;  4. consistency and motion of a burst, then PAD, before any
embedding exists;  5. embed the probe, and use up its liveness session where the gate asks for one;
6. find the candidate (claimed: the travel token's or the credential; walk-through: the gallery proposes);
7. the database disposes: unexpired, not revoked, consent covers this purpose, the key still exists;
8. compare, the policy decides;  9. append to the audit log;  10. commit, then answer.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from time import perf_counter

from biometrics.credentials import JourneyCredential
from biometrics.errors import Conflict, NotFound, SealBroken
from biometrics.ports import Clock, FaceDetector, FaceEmbedder, Gallery, TemplateSealer, UnitOfWork
from biometrics.quality import QualityPolicy
from biometrics.records import AuditEvent, EnrollmentRecord, EventKind, Gate, TravelToken, new_id
from biometrics.types import Pixels, Template
from liveness.cue import Cue
from liveness.injection import CaptureClaim, CaptureSignature, SignatureVerifier, demand_signature
from liveness.pad import PadDetector
from liveness.presentation import check_frame_count, look_at
from liveness.session import LivenessProofs
from verification.credential_check import CredentialChecks
from verification.decision import Decision, Reason, admit, deny, refer
from verification.policy import POLICY_VERSION, LockoutPolicy, MatchPolicy, record_allows

Subject = EnrollmentRecord | JourneyCredential
"""Whom a check is about: what the database holds of a traveller, or what they carry."""


@dataclass(frozen=True, slots=True)
class CheckRequest:
    """What a gate sends: the claim about a capture of one or several frames, and whom to compare it with.

    That is a travel token's or credential's holder, or for a walk-through whoever is in a gallery.

    `frames` decodes them, in the claim's order, and overwrites their pixels on leaving.
    """

    claim: CaptureClaim
    frames: Callable[[], AbstractContextManager[Sequence[Pixels]]] = field(repr=False)
    token: TravelToken | None = field(default=None, repr=False)
    flight: str | None = None
    signature: CaptureSignature | None = None
    liveness_session: str | None = None
    credential: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class CheckResult:
    """What the gate is told; for metrics only, the milliseconds of each stage and what betrayed an attack."""

    check_id: str
    decision: Decision
    audit_index: int
    at: datetime
    stage_ms: dict[str, float]
    cue: Cue | None = None


@dataclass(frozen=True)
class CheckService:
    """Everything that a gate check needs, wired once at start."""

    detector: FaceDetector
    embedder: FaceEmbedder
    pad: PadDetector | None
    sealer: TemplateSealer
    gallery: Gallery
    unit_of_work: Callable[[], UnitOfWork]
    reading: Callable[[], UnitOfWork]
    clock: Clock
    quality: QualityPolicy
    match: MatchPolicy
    lockout: LockoutPolicy
    capture_window: timedelta
    walk_through_window: timedelta
    signatures: SignatureVerifier
    credentials: CredentialChecks
    proofs: LivenessProofs | None = None

    def check(self, request: CheckRequest) -> CheckResult:
        """Decide, record, commit; an exception means that nothing was committed and the gate stays shut.

        Raises `NotFound` for an unknown gate, `MalformedInput` for two frames or more than eight, `Conflict` for a
        replayed nonce or a stale capture, `NotPermitted` for a signature that is missing or wrong, `UnusableFace` for a
        capture without exactly one face of sufficient quality: no decision was made, the gate captures again.
        """
        watch = _Stopwatch()
        # 1. the gate and its policy; a replay or a forgery is turned away before it costs decoding or a network run
        gate = self._gate_for(request)
        with request.frames() as frames:
            watch.lap("decode")
            # 2. to 4. one usable, live face
            seen = look_at(frames, self.detector, self.quality, self.pad if gate.passive else None, watch.lap)
        if seen.cue is not None:
            return self._conclude(request, gate, None, watch, seen.cue)
        # 5. the probe
        with self.embedder.embed(seen.sample.aligned) as probe:
            watch.lap("embed")
            return self._conclude(request, gate, probe, watch)

    def _gate_for(self, request: CheckRequest) -> Gate:
        claim = request.claim
        check_frame_count(len(claim.digests))
        with self.reading() as unit:
            gate = unit.gates.get(claim.gate_id)
            if gate is None:
                raise NotFound
            if abs(self.clock.now() - claim.captured_at) > self.capture_window:
                raise Conflict("The capture's time is too far from ours: capture again.", code="stale_capture")
            if unit.nonces.seen(gate.id, claim.nonce):
                raise Conflict("This capture was sent before.", code="replayed")
            demand_signature(gate, claim, request.signature, unit.devices, self.signatures)
        return gate

    def _conclude(
        self, request: CheckRequest, gate: Gate, probe: Template | None, watch: _Stopwatch, cue: Cue | None = None
    ) -> CheckResult:
        """Steps 6 to 10 in one transaction; no probe means a suspected attack."""
        with self.unit_of_work() as unit:
            now = self.clock.now()  # once the lock is held: waiting for it must not make a decision look older
            unit.nonces.add(gate.id, request.claim.nonce, now)
            decision, subject = self._decide(unit, request, gate, probe, now)
            # 9. the log first
            self._count(unit, subject, decision, now)
            check_id = new_id()
            index = unit.audit.append(_event(check_id, now, gate, decision, subject))
            # 10. then the answer
            unit.commit()
        watch.lap("decide")
        return CheckResult(check_id, decision, index, now, watch.laps, cue)

    def _decide(
        self, unit: UnitOfWork, request: CheckRequest, gate: Gate, probe: Template | None, now: datetime
    ) -> tuple[Decision, Subject | None]:
        if probe is None:
            return refer(Reason.ATTACK_SUSPECTED, counts_as_failure=True), self._claimed(unit, request, now)
        if gate.active and not self._lived(unit, request.liveness_session, gate, probe, now):
            return refer(Reason.LIVENESS_REQUIRED), self._claimed(unit, request, now)
        if request.credential is not None:
            return self._decide_credential(unit, request.credential, request.flight, gate, probe, now)
        if request.token is not None:
            return self._decide_claimed(unit, request.token, gate, probe, now)
        return self._decide_walk_through(unit, request.flight, gate, probe, now)

    def _lived(self, unit: UnitOfWork, session: str | None, gate: Gate, probe: Template, now: datetime) -> bool:
        return (
            session is not None and self.proofs is not None and self.proofs.redeem(unit, session, gate.id, probe, now)
        )

    def _claimed(self, unit: UnitOfWork, request: CheckRequest, now: datetime) -> Subject | None:
        """Whom the request speaks of, if what it carries is genuine and in force."""
        if request.credential is None:
            return self._claimed_record(unit, request.token, now)
        found = self.credentials.disposes(unit, self.credentials.read(request.credential), now)
        return found if isinstance(found, JourneyCredential) else None

    def _claimed_record(self, unit: UnitOfWork, token: TravelToken | None, now: datetime) -> EnrollmentRecord | None:
        """The token's enrollment, if the token is genuine: a wrong share is as good as no enrollment."""
        return None if token is None else unit.enrollments.held(token, now)

    def _decide_claimed(
        self, unit: UnitOfWork, token: TravelToken, gate: Gate, probe: Template, now: datetime
    ) -> tuple[Decision, EnrollmentRecord | None]:
        # 6. and 7. the token's enrollment, if the database still has it
        record = self._claimed_record(unit, token, now)
        if record is None:
            return deny(Reason.NOT_ENROLLED), None
        if (objection := record_allows(record, gate, self.embedder.model_digest, now)) is not None:
            return objection, record
        # 8. compare
        try:
            with self.sealer.open_with_token(record, token) as template:
                matched = template.matches(probe, self.match.claimed())
        except SealBroken:
            return deny(Reason.NOT_ENROLLED), record
        return (admit(record.id) if matched else deny(Reason.NOT_MATCHED, counts_as_failure=True)), record

    def _decide_credential(
        self, unit: UnitOfWork, text: str, flight: str | None, gate: Gate, probe: Template, now: datetime
    ) -> tuple[Decision, JourneyCredential | None]:
        # 6. and 7. the credential, if the database knows it as unrevoked
        found = self.credentials.disposes(unit, self.credentials.read(text), now)
        if not isinstance(found, JourneyCredential):
            return deny(found), None
        if (objection := self.credentials.allows(found, gate, flight, self.embedder.model_digest, now)) is not None:
            return objection, found
        # 8. compare
        return self.credentials.compare(found, probe), found

    def _decide_walk_through(
        self, unit: UnitOfWork, flight: str | None, gate: Gate, probe: Template, now: datetime
    ) -> tuple[Decision, EnrollmentRecord | None]:
        if not gate.walk_through:
            return deny(Reason.WALK_THROUGH_NOT_OFFERED), None
        # 6. the gallery proposes
        threshold = self.match.walk_through(self.gallery.size(flight))
        if threshold is None:
            return refer(Reason.GALLERY_TOO_LARGE), None
        above = [i for i, score in self.gallery.search(probe, flight=flight, k=2) if score >= threshold]
        if not above:
            return deny(Reason.NOT_MATCHED), None
        # 7. the database disposes
        records = [
            record
            for i in above
            if (record := unit.enrollments.get(i, now)) and record.in_walk_through(now, self.walk_through_window)
        ]
        if not records:
            return deny(Reason.NOT_ENROLLED), None
        if len(records) > 1:
            return refer(Reason.AMBIGUOUS), None
        record = records[0]
        if (objection := record_allows(record, gate, self.embedder.model_digest, now)) is not None:
            return objection, record
        # 8. compare with what the database holds, not with what the gallery remembers
        try:
            with self.sealer.open_for_gallery(record) as template:
                matched = template.matches(probe, threshold)
        except SealBroken:
            return deny(Reason.NOT_ENROLLED), record
        return (admit(record.id) if matched else deny(Reason.NOT_MATCHED)), record

    def _count(self, unit: UnitOfWork, record: Subject | None, decision: Decision, now: datetime) -> None:
        """Count failures toward a lock-out, kept with the enrollment so that it holds across gates and restarts."""
        if isinstance(record, JourneyCredential):
            self.credentials.failures.count(record, decision, now)
            return
        if record is None or not (decision.counts_as_failure or (decision.admits and record.failed_checks)):
            return
        if record.locked_until is not None and record.locked_until > now:
            return  # a suspected attack during a lock-out must not lift it
        failures = record.failed_checks + 1 if decision.counts_as_failure else 0
        locked = now + self.lockout.duration if failures >= self.lockout.failures else None
        unit.enrollments.replace(replace(record, failed_checks=0 if locked else failures, locked_until=locked))


def _event(check_id: str, now: datetime, gate: Gate, decision: Decision, record: Subject | None) -> AuditEvent:
    return AuditEvent(
        kind=EventKind.CHECKED,
        time=now,
        event_id=check_id,
        policy_version=POLICY_VERSION,
        subject=record.id if record else None,
        epoch=record.epoch if record else None,
        gate_id=gate.id,
        purpose=gate.purpose,
        decision=decision.outcome,
        reason=decision.reason,
    )


class _Stopwatch:
    """Milliseconds between laps."""

    def __init__(self) -> None:
        self.laps: dict[str, float] = {}
        self._last = perf_counter()

    def lap(self, stage: str) -> None:
        now = perf_counter()
        self.laps[stage] = (now - self._last) * 1000
        self._last = now
