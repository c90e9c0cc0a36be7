"""When a face opens a gate: thresholds from declared error rates, and the rules that a record must meet first."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from biometrics.card import ModelCard
from biometrics.comparison import identification_rate, threshold_at
from biometrics.errors import ModelUnusable
from biometrics.records import EnrollmentRecord, Gate
from verification.decision import Decision, Reason, deny, refer

POLICY_VERSION = "gate/1"


@dataclass(frozen=True, slots=True)
class MatchPolicy:
    """Cosine thresholds: the model card's at a declared error rate, unless a site overrides them.

    `fmr` is the false-match rate of one claimed comparison, `fpir` the chance that a walk-through search of the whole
    gallery names anybody for a face that is not in it.
    """

    card: ModelCard
    fmr: float
    fpir: float
    override: float | None = None

    def claimed(self) -> float:
        """Return the threshold of a 1:1 comparison."""
        return self.override if self.override is not None else threshold_at(self.card, self.fmr)

    def walk_through(self, gallery_size: int) -> float | None:
        """Return the threshold of a 1:N search, or None where the card was not measured so far out."""
        if self.override is not None:
            return self.override
        try:
            return threshold_at(self.card, identification_rate(self.fpir, max(gallery_size, 1)))
        except ModelUnusable:
            return None


@dataclass(frozen=True, slots=True)
class LockoutPolicy:
    """After `failures` failed comparisons of one traveller, further checks are referred for `duration`."""

    failures: int
    duration: timedelta


def record_allows(record: EnrollmentRecord, gate: Gate, model_digest: str, now: datetime) -> Decision | None:
    """Return the reason for which this record may not even be compared, or None.

    The record is known to exist and to be unexpired: the store returns no other.
    """
    if record.locked_until is not None and record.locked_until > now:
        return refer(Reason.LOCKED_OUT, record.id)
    if gate.purpose not in record.consent.purposes:
        return deny(Reason.PURPOSE_NOT_CONSENTED, record.id)
    if record.model_digest != model_digest:
        return refer(Reason.ENROLLED_WITH_OTHER_MODEL, record.id)
    if record.duplicate_suspected:
        return refer(Reason.DUPLICATE_SUSPECTED, record.id)
    return None
