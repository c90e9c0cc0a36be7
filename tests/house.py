"""The whole domain on fakes: enrolling, checking and forgetting, with every seam in reach."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from datetime import datetime, timedelta

from biometrics.quality import QualityPolicy
from biometrics.records import AuditEvent, EnrollmentRecord, EventKind, Gate, Purpose, TravelToken
from biometrics.types import Pixels
from enrollment.credentials import CredentialService, IssuedCredential
from enrollment.enroll import Enrolled, EnrollmentService
from enrollment.retention import RetentionService
from infra.capture_signing import Ed25519Verifier
from infra.credentials.journey import SiteCredentials
from liveness.injection import CaptureClaim, CaptureSignature
from tests.factories import NOON, make_capture, make_card, make_consent, make_face
from tests.fakes import (
    FakeClock,
    FakeFaceDetector,
    FakeFaceEmbedder,
    FakeGallery,
    FakeKeyStore,
    FakeLivenessProofs,
    FakePadDetector,
    FakeScrubber,
    FakeSealer,
    FakeTables,
    FakeUnitOfWork,
    Journal,
    Watched,
)
from verification.check import CheckRequest, CheckResult, CheckService
from verification.credential_check import CredentialChecks, FailureMemory
from verification.policy import LockoutPolicy, MatchPolicy

DEPARTURE = NOON + timedelta(hours=3)
WINDOW = timedelta(hours=6)
SAME = 0.5
"""The cosine from which two patterns are one person: shots of one reach 0.9, of two stay below 0.3."""

EVERYTHING = frozenset(Purpose)


class House:
    """One site at noon, with gates `entry` (also for walk-through), `security` and `boarding`."""

    def __init__(self) -> None:
        self.journal = Journal()
        self.clock = FakeClock(NOON)
        self.keys = FakeKeyStore()
        self.detector = FakeFaceDetector(make_face())
        self.embedder = FakeFaceEmbedder()
        self.proofs = FakeLivenessProofs()
        self.gallery = FakeGallery()
        self.scrubber = FakeScrubber()
        self.tables = FakeTables(
            gates={p.value: Gate(p.value, p, p is Purpose.ENTRY) for p in Purpose if p is not Purpose.WALK_THROUGH}
        )
        watched = {
            "detector": self.detector,
            "embedder": self.embedder,
            "pad": FakePadDetector(),
            "sealer": FakeSealer(self.keys),
            "gallery": self.gallery,
        }
        seams = {name: Watched(fake, name, self.journal) for name, fake in watched.items()}
        # noise and blocks are no eyes and mouths
        quality = QualityPolicy(min_mouth_detail=0.0, min_eye_brightness=0.0)
        self.enrollment = EnrollmentService(
            **seams,
            unit_of_work=self.unit,
            clock=self.clock,
            quality=quality,
            same_person=SAME,
            duplicate=SAME,
            walk_through_window=WINDOW,
        )
        reader = Watched(SiteCredentials(self.keys, "test.example"), "credentials", self.journal)
        lockout = LockoutPolicy(5, timedelta(minutes=5))
        self.credentials = CredentialService(self.enrollment, reader, self.unit, self.clock)
        self.checks = CheckService(
            **seams,
            unit_of_work=self.unit,
            reading=self.unit,
            clock=self.clock,
            quality=quality,
            match=MatchPolicy(make_card((1e-6, SAME), (1e-3, 0.4)), fmr=1e-6, fpir=1e-3),
            lockout=lockout,
            capture_window=timedelta(seconds=60),
            walk_through_window=WINDOW,
            signatures=Ed25519Verifier(),
            credentials=CredentialChecks(reader, FailureMemory(lockout), lambda: SAME),
            proofs=Watched(self.proofs, "proofs", self.journal),
        )
        self.retention = RetentionService(
            sealer=seams["sealer"],
            gallery=seams["gallery"],
            keys=Watched(self.keys, "keys", self.journal),
            scrubber=Watched(self.scrubber, "scrubber", self.journal),
            unit_of_work=self.unit,
            clock=self.clock,
            walk_through_window=WINDOW,
            model_digest=self.embedder.model_digest,
            stand_back=lambda seconds: self.journal.note("stand_back"),
        )

    def unit(self) -> FakeUnitOfWork:
        """A unit of work."""
        return FakeUnitOfWork(self.tables, self.keys, self.journal)

    def enroll(
        self,
        person: int = 1,
        *,
        images: Iterable[Pixels] | None = None,
        purposes: Iterable[Purpose] = EVERYTHING,
        flight: str = "AI302",
        departs_at: datetime | None = DEPARTURE,
        document: Pixels | None = None,
        before_commit: Callable[[FakeUnitOfWork, Enrolled], None] = lambda unit, enrolled: None,
    ) -> Enrolled:
        """Enroll a person."""
        return self.enrollment.enroll(
            list(images) if images is not None else [make_capture(person)],
            consent=make_consent(purposes),
            flight=flight,
            departs_at=departs_at,
            document=document,
            before_commit=before_commit,
        )

    def issue(
        self,
        person: int = 1,
        *,
        purposes: Iterable[Purpose] = (Purpose.ENTRY, Purpose.SECURITY, Purpose.BOARDING),
        flight: str = "AI302",
        departs_at: datetime | None = DEPARTURE,
    ) -> IssuedCredential:
        """Issue a journey credential to a person."""
        consent = make_consent(purposes)
        return self.credentials.issue([make_capture(person)], consent=consent, flight=flight, departs_at=departs_at)

    def check(
        self,
        person: int = 1,
        token: TravelToken | None = None,
        *,
        gate: str = "entry",
        image: Pixels | None = None,
        images: Sequence[Pixels] | None = None,
        nonce: str | None = None,
        captured_at: datetime | None = None,
        flight: str | None = None,
        sign: Callable[[CaptureClaim], CaptureSignature | None] = lambda claim: None,
        liveness_session: str | None = None,
        credential: str | None = None,
    ) -> CheckResult:
        """Let a person stand before a gate."""
        frames = images or [make_capture(person, shot=1) if image is None else image]
        claim = CaptureClaim(
            gate,
            nonce or secrets.token_hex(16),
            captured_at or self.clock.now(),
            tuple(hashlib.sha256(frame.tobytes()).digest() for frame in frames),
        )

        def decode() -> AbstractContextManager[Sequence[Pixels]]:
            self.journal.note("decode")
            return nullcontext(frames)

        return self.checks.check(CheckRequest(claim, decode, token, flight, sign(claim), liveness_session, credential))

    def answer(self, person: int = 1, token: TravelToken | None = None, **request: object) -> tuple[str, str]:
        """Return the outcome and the reason of a check."""
        decision = self.check(person, token, **request).decision  # type: ignore[arg-type]
        return decision.outcome.value, decision.reason.value

    def record(self, enrolled: Enrolled) -> EnrollmentRecord:
        """Return what the database holds of an enrollment."""
        return self.tables.enrollments[enrolled.record.id]

    def change(self, enrolled: Enrolled, **fields: object) -> None:
        """Change what the database holds of an enrollment."""
        self.tables.enrollments[enrolled.record.id] = replace(self.record(enrolled), **fields)  # type: ignore[arg-type]

    def events(self, kind: EventKind) -> list[AuditEvent]:
        """Return what the log holds of one kind."""
        return [event for event in self.tables.events if event.kind is kind]

    def pass_time(self, **time: float) -> None:
        """Move the clock."""
        self.clock.time += timedelta(**time)


class FakeStorage:
    """What the service layer asks of a `Storage`, on a house's tables; there is no SQL session behind it."""

    def __init__(self, house: House) -> None:
        self._house = house

    def unit_of_work(self) -> FakeUnitOfWork:
        return self._house.unit()

    reading = unit_of_work

    def now(self) -> datetime:
        return self._house.clock.now()
