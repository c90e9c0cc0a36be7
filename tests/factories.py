"""One factory for each type that tests need in numbers."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

import numpy as np

from biometrics.records import Consent, EnrollmentRecord, Purpose, SealedTemplate, TravelToken
from biometrics.types import EMBEDDING_SIZE, Template

NOON = datetime(2025, 3, 1, 12, 0, tzinfo=UTC)


def make_template(seed: int = 1) -> Template:
    """A random unit vector; it stands for nobody."""
    vector = np.random.default_rng(seed).standard_normal(EMBEDDING_SIZE).astype(np.float32)
    return Template(vector / np.float32(np.linalg.norm(vector)))


def make_consent(purposes: Iterable[Purpose] = (Purpose.ENTRY, Purpose.BOARDING)) -> Consent:
    """A consent to some purposes."""
    return Consent(frozenset(purposes), "1", "ab" * 32, "en", NOON)


def make_enrollment(
    token: TravelToken,
    sealed: SealedTemplate,
    *,
    enrolled_at: datetime = NOON,
    departs_at: datetime | None = None,
    expires_at: datetime | None = None,
    consent: Consent | None = None,
    model_digest: str = "cd" * 32,
    flight: str = "AI101",
) -> EnrollmentRecord:
    """An enrollment that is kept as long as allowed unless told otherwise."""
    return EnrollmentRecord(
        id=token.enrollment_id,
        flight=flight,
        enrolled_at=enrolled_at,
        departs_at=departs_at,
        expires_at=expires_at or max(enrolled_at, departs_at or enrolled_at) + timedelta(hours=24),
        consent=consent or make_consent(),
        model_digest=model_digest,
        sealed=sealed,
        holder_verifier=token.verifier,
    )
