"""Enrollment in a straight line: consent, captures, one template, sealed.

`enroll()` is prepare, record, commit, as a gate check is; nothing is kept of a capture but the template.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import combinations

from biometrics.capture import acquire
from biometrics.comparison import cosine, mean_template
from biometrics.errors import Conflict, MalformedInput, UnusableFace
from biometrics.ports import Clock, FaceDetector, FaceEmbedder, Gallery, TemplateSealer, UnitOfWork
from biometrics.quality import QualityPolicy
from biometrics.records import (
    AuditEvent,
    Consent,
    EnrollmentRecord,
    EventKind,
    Purpose,
    TravelToken,
    epoch_of,
    latest_expiry,
    new_id,
)
from biometrics.types import Pixels, QualityCode, Template
from liveness.pad import PadDetector

POLICY_VERSION = "enrollment/1"

LONGEST_NOTICE = timedelta(days=30)
"""How far ahead of departure one may enroll."""


@dataclass(frozen=True, slots=True)
class Rejected:
    """One image that could not be used: its place in the request and why."""

    index: int
    reason: str


@dataclass(frozen=True, slots=True)
class Enrolled:
    """The outcome: the record, the token (told once), which images counted, and the log index."""

    record: EnrollmentRecord
    token: TravelToken = field(repr=False)
    accepted: tuple[int, ...]
    rejected: tuple[Rejected, ...]
    audit_index: int


class NoUsableImage(UnusableFace):
    """No image of an enrollment could be used; `rejected` says why for each."""

    def __init__(self, rejected: Sequence[Rejected]) -> None:
        super().__init__("No image shows a usable face.", code=rejected[0].reason if rejected else None)
        self.rejected = tuple(rejected)


@dataclass(frozen=True)
class EnrollmentService:
    """Everything that enrolling needs, wired once at start.

    `same_person` is the cosine from which two captures are of one person, `duplicate` the cosine from which a face
    already in the flight's gallery is flagged.
    """

    detector: FaceDetector
    embedder: FaceEmbedder
    pad: PadDetector | None
    sealer: TemplateSealer
    gallery: Gallery
    unit_of_work: Callable[[], UnitOfWork]
    clock: Clock
    quality: QualityPolicy
    same_person: float
    duplicate: float
    walk_through_window: timedelta

    def enroll(
        self,
        images: Sequence[Pixels],
        *,
        consent: Consent,
        flight: str,
        departs_at: datetime | None,
        document: Pixels | None = None,
        before_commit: Callable[[UnitOfWork, Enrolled], None] = lambda unit, enrolled: None,
    ) -> Enrolled:
        """Enroll a traveller from 1 or more captures.

        1. check the journey; 2. take a template from each capture, keeping the reasons of those that fail;
        3. all captures show one person; 4. the document photograph, if given, shows that person too;
        5. look for the same face in the flight's gallery; 6. seal; 7. record and log; 8. commit, then tell the gallery.

        Raises `MalformedInput` for an impossible journey, `NoUsableImage` (422) if no capture serves, `UnusableFace`
        for a document photograph without one usable face, `Conflict` if the document shows somebody else.
        `before_commit` runs in the transaction that records the enrollment: what it raises undoes all of it.
        """
        now = self.clock.now()
        # 1. the journey
        self.check_journey(departs_at, now=now)
        # 2. to 4. one template
        with self.capture(images, document) as (template, accepted, rejected):
            # 5. the same face under another identity
            walk_through = Purpose.WALK_THROUGH in consent.purposes
            duplicate = walk_through and self._is_duplicate(template, flight)
            # 6. seal
            token = TravelToken.new(new_id())
            expires_at = latest_expiry(now, departs_at)
            record = EnrollmentRecord(
                id=token.enrollment_id,
                flight=flight,
                enrolled_at=now,
                departs_at=departs_at,
                expires_at=expires_at,
                consent=consent,
                model_digest=self.embedder.model_digest,
                sealed=self.sealer.seal(
                    template,
                    token=token,
                    epoch=epoch_of(expires_at),
                    model_digest=self.embedder.model_digest,
                    for_gallery=walk_through,
                ),
                holder_verifier=token.verifier,
                duplicate_suspected=duplicate,
            )
            # 7. and 8. record, log, commit
            enrolled = self._record(record, token, accepted, rejected, before_commit)
            if record.in_walk_through(now, self.walk_through_window):
                self.gallery.add(flight, record.id, template)
        return enrolled

    @contextmanager
    def capture(
        self, images: Sequence[Pixels], document: Pixels | None
    ) -> Iterator[tuple[Template, tuple[int, ...], tuple[Rejected, ...]]]:
        """Steps 2 to 4: one template from all captures, overwritten on leaving; which were used, and which not.

        Raises as `enroll` does, but for the journey.
        """
        # 2. a template from each capture
        with self._templates(images) as (templates, accepted, rejected):
            if not templates:
                raise NoUsableImage(rejected)
            # 3. one person only: every two, or a likeness of both could lead from one person to another
            if any(cosine(a, b) < self.same_person for a, b in combinations(templates, 2)):
                raise Conflict("The images do not all show the same person.", code="different_persons")
            with mean_template(templates) as template:
                # 4. the document photograph
                if document is not None:
                    self._check_document(template, document)
                yield template, accepted, rejected

    def check_journey(self, departs_at: datetime | None, *, now: datetime) -> None:
        """Raise `MalformedInput` (`departure_out_of_range`) for a departure that is over or too far ahead."""
        if departs_at is not None and not now - timedelta(hours=24) < departs_at < now + LONGEST_NOTICE:
            raise MalformedInput("The departure is in the past or too far ahead.", code="departure_out_of_range")

    @contextmanager
    def _templates(
        self, images: Sequence[Pixels]
    ) -> Iterator[tuple[list[Template], tuple[int, ...], tuple[Rejected, ...]]]:
        """One template from each usable capture, which captures those are, and why the others are none.

        However the block ends, and if a network fails on the way, the templates are overwritten.
        """
        templates: list[Template] = []
        accepted: list[int] = []
        rejected: list[Rejected] = []
        try:
            for index, image in enumerate(images):
                try:
                    templates.append(self._template(image))
                    accepted.append(index)
                except UnusableFace as error:
                    rejected.append(Rejected(index, error.code))
            yield templates, tuple(accepted), tuple(rejected)
        finally:
            for template in templates:
                template.zero()

    def _template(self, image: Pixels) -> Template:
        sample = acquire(image, self.detector, self.quality)
        if not sample.quality:
            raise UnusableFace("The face cannot be used.", code=sample.quality.problems[0])
        if self.pad is not None and not self.pad.assess(image, sample.face).bona_fide:
            raise UnusableFace("The face may be a picture of one.", code=QualityCode.ATTACK_SUSPECTED)
        return self.embedder.embed(sample.aligned)

    def _check_document(self, template: Template, document: Pixels) -> None:
        """A document photograph is printed and often small: it needs one face, no more, and must match."""
        sample = acquire(document, self.detector, self.quality)
        with self.embedder.embed(sample.aligned) as other:
            if cosine(template, other) < self.same_person:
                raise Conflict("The document photograph shows somebody else.", code="document_mismatch")

    def _is_duplicate(self, template: Template, flight: str) -> bool:
        return any(score >= self.duplicate for _, score in self.gallery.search(template, flight=flight, k=1))

    def _record(
        self,
        record: EnrollmentRecord,
        token: TravelToken,
        accepted: tuple[int, ...],
        rejected: tuple[Rejected, ...],
        before_commit: Callable[[UnitOfWork, Enrolled], None],
    ) -> Enrolled:
        with self.unit_of_work() as unit:
            unit.enrollments.add(record)
            index = unit.audit.append(
                AuditEvent(
                    kind=EventKind.ENROLLED,
                    time=record.enrolled_at,
                    event_id=new_id(),
                    policy_version=POLICY_VERSION,
                    subject=record.id,
                    epoch=record.epoch,
                    reason="duplicate_suspected" if record.duplicate_suspected else None,
                    expires_at=record.expires_at,
                )
            )
            enrolled = Enrolled(record, token, accepted, rejected, index)
            before_commit(unit, enrolled)
            unit.commit()
        return enrolled
