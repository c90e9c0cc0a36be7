"""What a gate is told: admit, deny or refer, with a coarse reason and never a score."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum


class Outcome(StrEnum):
    """The three answers."""

    ADMIT = "admit"
    DENY = "deny"
    REFER = "refer"


class Reason(StrEnum):
    """Why, as coarsely as the gate needs to know."""

    MATCHED = "matched"
    NOT_ENROLLED = "not_enrolled"
    NOT_MATCHED = "not_matched"
    CREDENTIAL_INVALID = "credential_invalid"
    CREDENTIAL_EXPIRED = "credential_expired"
    CREDENTIAL_REVOKED = "credential_revoked"
    OTHER_JOURNEY = "other_journey"
    PURPOSE_NOT_CONSENTED = "purpose_not_consented"
    WALK_THROUGH_NOT_OFFERED = "walk_through_not_offered"
    ATTACK_SUSPECTED = "attack_suspected"
    LIVENESS_REQUIRED = "liveness_required"
    DUPLICATE_SUSPECTED = "duplicate_suspected"
    LOCKED_OUT = "locked_out"
    ENROLLED_WITH_OTHER_MODEL = "enrolled_with_other_model"
    GALLERY_TOO_LARGE = "gallery_too_large"
    AMBIGUOUS = "ambiguous"


@dataclass(frozen=True, slots=True)
class Decision:
    """An outcome and its reason.

    It has no truth value of its own: a denial that counted as false once passed for "no objection".

    `counts_as_failure` marks a comparison that failed and counts toward the traveller's lock-out.
    """

    outcome: Outcome
    reason: Reason
    enrollment_id: str | None = field(default=None, repr=False)
    counts_as_failure: bool = False

    def __bool__(self) -> bool:
        raise TypeError("ask `admits`, or compare with None")

    @property
    def admits(self) -> bool:
        """Say whether the gate opens."""
        return self.outcome is Outcome.ADMIT


def admit(enrollment_id: str) -> Decision:
    """Open the gate for this enrollment."""
    return Decision(Outcome.ADMIT, Reason.MATCHED, enrollment_id)


def deny(reason: Reason, enrollment_id: str | None = None, *, counts_as_failure: bool = False) -> Decision:
    """Keep the gate shut."""
    return Decision(Outcome.DENY, reason, enrollment_id, counts_as_failure)


def refer(reason: Reason, enrollment_id: str | None = None, *, counts_as_failure: bool = False) -> Decision:
    """Keep the gate shut and call an officer."""
    return Decision(Outcome.REFER, reason, enrollment_id, counts_as_failure)
