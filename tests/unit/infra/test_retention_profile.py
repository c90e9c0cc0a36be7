"""The periods of everything but templates."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from infra.retention_profile import PERIODS, RetentionProfile
from infra.settings import Settings


def test_no_profile_keeps_the_log_for_less_than_a_year() -> None:
    assert PERIODS.keys() == set(RetentionProfile)
    assert min(periods.log_days for periods in PERIODS.values()) >= 365
    assert Settings(log_retention_days=800).effective_log_retention_days == 800
    with pytest.raises(ValidationError, match="log_retention_days"):
        Settings(log_retention_days=364)


@pytest.mark.parametrize(("profile", "due"), [("india", 90), ("eu", 30)])
def test_a_request_is_never_due_later_than_the_law_says(profile: str, due: int) -> None:
    assert Settings(retention_profile=profile).effective_rights_due_days == due  # type: ignore[arg-type]
    assert Settings(retention_profile=profile, rights_due_days=7).effective_rights_due_days == 7  # type: ignore[arg-type]
    with pytest.raises(ValidationError, match="longer than"):
        Settings(retention_profile=profile, rights_due_days=due + 1)  # type: ignore[arg-type]
