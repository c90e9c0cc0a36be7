"""How long records other than templates are kept, by the law that a site is under (docs/settings.md has the reasons).

Templates are not among them: their 24 hours are the same everywhere.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

LEAST_LOG_DAYS = 365
"""DPDP Rules 2025, Rule 8(3): logs of processing are kept for at least a year."""


class RetentionProfile(StrEnum):
    """The law that sets the periods."""

    INDIA = "india"
    EU = "eu"


@dataclass(frozen=True, slots=True)
class Periods:
    """Days: the least for the audit log, the most until a rights request is answered."""

    log_days: int
    due_days: int


PERIODS = {
    RetentionProfile.INDIA: Periods(log_days=LEAST_LOG_DAYS, due_days=90),  # DPDP Rules, Rules 8(3) and 14
    RetentionProfile.EU: Periods(log_days=LEAST_LOG_DAYS, due_days=30),  # GDPR art. 12(3): one month
}
