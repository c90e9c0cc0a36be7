"""Thresholds from declared rates, and the order of objections to a record."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from biometrics.errors import ModelUnusable
from biometrics.records import EnrollmentRecord, Gate, Purpose
from tests.factories import NOON, make_card
from tests.house import House
from verification.decision import Decision, Outcome, Reason, admit, deny, refer
from verification.policy import MatchPolicy, record_allows

CARD = make_card((1e-4, 0.45), (1e-3, 0.38), (1e-2, 0.29))
GATE = Gate("entry", Purpose.ENTRY)


@pytest.fixture
def record() -> EnrollmentRecord:
    return House().enroll(1).record


def reason_of(record: EnrollmentRecord, *, digest: str = "f" * 64) -> str | None:
    objection = record_allows(record, GATE, digest, NOON)
    return None if objection is None else objection.reason


def test_a_record_with_nothing_against_it_may_be_compared(record: EnrollmentRecord) -> None:
    assert reason_of(record) is None


def test_objections_are_told_in_one_order(record: EnrollmentRecord) -> None:
    other_purpose = replace(record.consent, purposes=frozenset({Purpose.BOARDING}))
    worst = replace(record, duplicate_suspected=True, consent=other_purpose, locked_until=NOON + timedelta(seconds=1))
    assert reason_of(worst, digest="0" * 64) == Reason.LOCKED_OUT
    no_longer_locked = replace(worst, locked_until=NOON)
    assert reason_of(no_longer_locked, digest="0" * 64) == Reason.PURPOSE_NOT_CONSENTED
    consented = replace(no_longer_locked, consent=record.consent)
    assert reason_of(consented, digest="0" * 64) == Reason.ENROLLED_WITH_OTHER_MODEL
    assert reason_of(consented) == Reason.DUPLICATE_SUSPECTED


def test_thresholds_come_from_the_card() -> None:
    policy = MatchPolicy(CARD, fmr=1e-3, fpir=1e-2)
    assert policy.claimed() == pytest.approx(0.38)
    assert policy.walk_through(0) == policy.walk_through(1) == pytest.approx(0.29)
    assert policy.walk_through(100) == pytest.approx(0.45, abs=1e-3)


def test_a_gallery_past_the_measurements_has_no_threshold() -> None:
    assert MatchPolicy(CARD, fmr=1e-3, fpir=1e-2).walk_through(1000) is None
    with pytest.raises(ModelUnusable):
        MatchPolicy(CARD, fmr=1e-6, fpir=1e-2).claimed()


def test_an_override_stands_above_the_card() -> None:
    policy = MatchPolicy(CARD, fmr=1e-9, fpir=1e-9, override=0.0)
    assert policy.claimed() == policy.walk_through(10**6) == 0.0


def test_duplicates_are_sought_at_their_rate_or_at_the_smallest_measured() -> None:
    assert MatchPolicy(CARD, fmr=1e-2, fpir=1e-2).duplicate() == pytest.approx(0.38)
    coarse = MatchPolicy(make_card((1e-2, 0.29), (5e-3, 0.32)), fmr=1e-2, fpir=1e-2)
    assert coarse.duplicate() == pytest.approx(0.32)
    assert replace(coarse, override=0.7).duplicate() == pytest.approx(0.32)
    assert MatchPolicy(make_card(), fmr=1e-2, fpir=1e-2, override=0.7).duplicate() == 0.7
    with pytest.raises(ModelUnusable):
        MatchPolicy(make_card(), fmr=1e-2, fpir=1e-2).duplicate()


@given(st.integers(1, 90), st.integers(1, 90))
def test_a_larger_gallery_never_has_a_lower_threshold(a: int, b: int) -> None:
    policy = MatchPolicy(CARD, fmr=1e-3, fpir=1e-2)
    small, large = policy.walk_through(min(a, b)), policy.walk_through(max(a, b))
    assert small is not None and large is not None
    assert small <= large


def test_only_an_admission_admits() -> None:
    assert admit("x").admits
    assert not deny(Reason.NOT_MATCHED).admits
    assert not refer(Reason.MATCHED).admits, "even if the reason lies"
    assert {outcome.value for outcome in Outcome} == {"admit", "deny", "refer"}


def test_a_decision_has_no_truth_value() -> None:
    with pytest.raises(TypeError):
        bool(Decision(Outcome.ADMIT, Reason.MATCHED))
