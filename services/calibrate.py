"""Makes a calibration record, from the network's card or from a site's own comparisons, and puts it in force."""

from __future__ import annotations

from datetime import datetime
from importlib.metadata import version
from pathlib import Path

from biometrics.card import ModelCard
from biometrics.comparison import threshold_at
from biometrics.errors import CalibrationUnusable
from biometrics.records import AuditEvent, EventKind, new_id
from evaluation.acquisition import Acquired
from evaluation.calibration import CONFIDENCE, Claim, MeasuredPoint, measure
from evaluation.comparisons import Comparisons
from evaluation.intervals import Interval
from evaluation.rates import Support
from infra.audit.canonical import utc_text
from infra.calibration import (
    DEPENDENCE,
    PIPELINE,
    CalibrationRecord,
    Declared,
    RecordPoint,
    Sample,
    SignedRecord,
    detector_digest,
    log_reason,
    sign_record,
    store_record,
    verify_record,
)
from services.administration import POLICY_VERSION
from services.bootstrap import Storage
from services.calibration import check_flip


def record_from_card(card: ModelCard, claim: Claim, *, flip: bool, now: datetime) -> CalibrationRecord:
    """Return a record of what the card measured.

    Raises `ModelUnusable` if that does not reach as far as the claim, `CalibrationUnusable` if the card has no points
    or was measured with another flip setting.
    """
    if not card.operating_points:
        raise CalibrationUnusable(
            f"The card of {card.name} has no operating points: run `dwarpal calibrate` on pairs of your own."
        )
    check_flip(card, flip=flip)
    for rate in claim.rates():
        threshold_at(card, rate)
    return CalibrationRecord(
        created_at=utc_text(now),
        software=version("dwarpal"),
        model=card.name,
        model_sha256=card.sha256,
        flip=flip,
        pipeline=PIPELINE,
        detector_sha256=detector_digest(),
        execution_providers=None,
        source="card",
        declared=_declared(claim, "card"),
        points=[
            RecordPoint(rate=repr(point.rate), threshold=repr(point.threshold), support="card", basis="card")
            for point in sorted(card.operating_points, key=lambda point: -point.rate)
        ],
        sample=None,
    )


def record_from_sample(
    card: ModelCard,
    claim: Claim,
    comparisons: Comparisons,
    acquired: Acquired,
    *,
    cross: bool,
    face: str,
    pairs_sha256: str,
    flip: bool,
    providers: dict[str, str],
    now: datetime,
) -> CalibrationRecord:
    """Return a record of what was measured on a site's own photographs; raise `SampleTooSmall` for too few."""
    points = measure(comparisons, claim)
    weak = any(point.support is not Support.SUPPORTED for point in points if point.rate in claim.rates())
    return CalibrationRecord(
        created_at=utc_text(now),
        software=version("dwarpal"),
        model=card.name,
        model_sha256=card.sha256,
        flip=flip,
        pipeline=PIPELINE,
        detector_sha256=detector_digest(),
        execution_providers=providers,
        source="pairs",
        declared=_declared(claim, Support.FEW_ERRORS.value if weak else Support.SUPPORTED.value),
        points=[_point(point) for point in points],
        sample=Sample(
            comparisons="cross" if cross else "pairs",
            pairs_sha256=pairs_sha256,
            face=face,
            images=acquired.n_images,
            failed_images=acquired.n_failed,
            mated=len(comparisons.mated),
            non_mated=comparisons.n_non_mated,
            resampled="subjects" if comparisons.people_known else "images",
            subjects=comparisons.n_units,
            subject_pairs=comparisons.n_subject_pairs,
            confidence=repr(CONFIDENCE),
            dependence=DEPENDENCE if comparisons.share_subjects else None,
        ),
    )


def put_in_force(storage: Storage, record: CalibrationRecord) -> tuple[SignedRecord, Path]:
    """Sign a record, write it, and let the log say that it is in force, which the next start heeds.

    The file is complete on disk before the log's entry is committed: a crash leaves the former record in force.
    """
    settings, key = storage.settings, storage.keys.signing_key()
    content = sign_record(record, key, settings.site)
    signed = verify_record(content, [key.public_key()], settings.site)
    path = store_record(settings.data_dir, content)
    with storage.unit_of_work() as unit:
        reason = log_reason(signed.sha256)
        unit.audit.append(AuditEvent(EventKind.CALIBRATED, storage.now(), new_id(), POLICY_VERSION, reason=reason))
        unit.commit()
    return signed, path


def _declared(claim: Claim, support: str) -> Declared:
    fpir = None if claim.fpir is None else repr(claim.fpir)
    return Declared.model_validate(
        {"fmr": repr(claim.fmr), "fpir": fpir, "gallery_size": claim.gallery_size, "support": support}
    )


def _point(point: MeasuredPoint) -> RecordPoint:
    return RecordPoint.model_validate(
        {
            "rate": repr(point.rate),
            "threshold": f"{point.threshold:.6f}",
            "support": point.support.value,
            "basis": point.basis.value,
            "false_matches": point.false_matches,
            "false_non_matches": point.false_non_matches,
            "exact": _ends(point.exact),
            "by_subject": None if point.by_subject is None else _ends(point.by_subject),
        }
    )


def _ends(interval: Interval) -> list[str]:
    return [f"{end:.3g}" for end in interval]
