"""When a face opens a gate: thresholds from declared error rates, and the rules that a record must meet first."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from biometrics.comparison import Measured, identification_rate, threshold_at
from biometrics.errors import ModelUnusable
from biometrics.records import EnrollmentRecord, Gate
from verification.decision import Decision, Reason, deny, refer

POLICY_VERSION = "gate/1"


DUPLICATE_FMR = 1e-3
"""How often two strangers of one flight may be flagged as one face, for each comparison."""


@dataclass(frozen=True, slots=True)
class MatchPolicy:
    """Cosine thresholds at declared error rates, from the site's calibration or the network's card, unless overridden.

    `fmr` is the false-match rate of one claimed comparison, `fpir` the chance that a walk-through search of the whole
    gallery names anybody for a face that is not in it.
    """

    measured: Measured
    fmr: float
    fpir: float
    override: float | None = None

    def claimed(self) -> float:
        """Return the threshold of a 1:1 comparison."""
        return self.override if self.override is not None else threshold_at(self.measured, self.fmr)

    def walk_through(self, gallery_size: int) -> float | None:
        """Return the threshold of a 1:N search, or None where nobody measured so far out."""
        if self.override is not None:
            return self.override
        try:
            return threshold_at(self.measured, identification_rate(self.fpir, max(gallery_size, 1)))
        except ModelUnusable:
            return None

    def duplicate(self) -> float:
        """Return the cosine from which a new face is taken for one already enrolled.

        It is the threshold of `DUPLICATE_FMR`, or of the smallest rate measured where that is larger: an officer then
        sees more suspects, and nothing is extrapolated. The override counts only where nothing was measured.
        """
        points = self.measured.operating_points
        if not points and self.override is not None:
            return self.override
        return threshold_at(self.measured, max(DUPLICATE_FMR, min((point.rate for point in points), default=0.0)))


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
