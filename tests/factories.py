"""One factory for each type that tests need in numbers."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

import numpy as np

from biometrics.alignment import ARCFACE_TEMPLATE
from biometrics.card import ModelCard
from biometrics.records import Consent, EnrollmentRecord, Purpose, SealedTemplate, TravelToken
from biometrics.types import EMBEDDING_SIZE, Box, Face, Pixels, Template

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


def make_face(*, score: float = 0.99, size: float = 112.0) -> Face:
    """A face that fills a 112 x 112 image and stands as the aligned face does, so that aligning changes nothing."""
    return Face(Box(0.0, 0.0, size, size), score, ARCFACE_TEMPLATE.copy())


def make_capture(person: int, shot: int = 0) -> Pixels:
    """A 112 x 112 pattern that stands for a person's face: bright, detailed, and a little different at each shot."""
    fields = np.random.default_rng(person).integers(40, 240, (8, 8, 3))
    noise = np.random.default_rng((person, shot)).integers(-15, 16, (112, 112, 3))
    return np.asarray(np.clip(fields.repeat(14, axis=0).repeat(14, axis=1) + noise, 0, 255), np.uint8)


def make_card(*points: tuple[float, float]) -> ModelCard:
    """An embedder's card with these operating points (rate, threshold)."""
    return ModelCard.model_validate(
        {
            "name": "fake",
            "task": "embedder",
            "file": "fake.onnx",
            "sha256": "f" * 64,
            "architecture": "none",
            "parameters": 0,
            "input": {"size": 112, "mean": (0, 0, 0), "std": (1, 1, 1), "crop": "aligned face"},
            "output": "512-D",
            "licence": "none",
            "training": {},
            "evaluation": {},
            "operating_points": [{"rate": rate, "threshold": threshold} for rate, threshold in points],
            "limits": [],
        }
    )
