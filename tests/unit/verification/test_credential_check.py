"""A gate check by a journey credential: each early return, the lock-out in memory, and nothing left over."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import numpy as np
import pytest

from biometrics.errors import MalformedInput
from biometrics.records import EventKind, LivenessPolicy, Purpose
from enrollment.credentials import IssuedCredential
from infra.credentials.sd_jwt import SdJwt
from tests.factories import make_capture
from tests.house import House


@pytest.fixture
def house() -> House:
    return House()


@pytest.fixture
def issued(house: House) -> IssuedCredential:
    issued = house.issue(1)
    house.journal.calls.clear()
    return issued


def test_its_holder_is_admitted_and_nobody_else(house: House, issued: IssuedCredential) -> None:
    assert house.answer(1, credential=issued.text) == ("admit", "matched")
    assert house.answer(2, credential=issued.text) == ("deny", "not_matched")
    subjects = {event.subject for event in house.events(EventKind.CHECKED)}
    assert subjects == {issued.place.id}
    assert not any(template.vector.any() for template in house.journal.templates)


def test_the_steps_are_those_of_any_check(house: House, issued: IssuedCredential) -> None:
    house.check(1, credential=issued.text)
    assert house.journal.calls == [
        *("unit.begin", "gates.get", "nonces.seen", "unit.end"),
        *("decode", "detector.detect", "pad.assess", "embedder.embed"),
        *("unit.begin", "nonces.add", "credentials.read", "credentials.revoked", "credentials.open", "audit.append"),
        *("unit.commit", "unit.end"),
    ]


def test_purpose_flight_and_network_are_checked_before_anything_is_decrypted(
    house: House, issued: IssuedCredential
) -> None:
    entry_only = house.issue(1, purposes=[Purpose.ENTRY])
    house.journal.calls.clear()
    assert house.answer(1, credential=entry_only.text, gate="boarding") == ("deny", "purpose_not_consented")
    assert house.answer(1, credential=issued.text, flight="AI999") == ("deny", "other_journey")
    withheld = SdJwt.parse(issued.text).without("flight").text
    assert house.answer(1, credential=withheld, flight="AI302") == ("deny", "other_journey")
    house.embedder.model_digest = "a" * 64
    assert house.answer(1, credential=issued.text) == ("refer", "enrolled_with_other_model")
    assert "credentials.open" not in house.journal.calls


def test_a_revoked_an_expired_and_an_unknown_one_open_nothing(house: House, issued: IssuedCredential) -> None:
    restored = dict(house.tables.credentials)
    house.credentials.revoke(issued.place)
    assert house.answer(1, credential=issued.text) == ("deny", "credential_revoked")
    house.tables.credentials.clear()  # as after restoring a backup from before it was issued
    assert house.answer(1, credential=issued.text) == ("deny", "credential_invalid")
    house.tables.credentials.update(restored)
    house.clock.time = issued.place.expires_at
    assert house.answer(1, credential=issued.text) == ("deny", "credential_expired")
    assert "credentials.open" not in house.journal.calls
    assert {event.subject for event in house.events(EventKind.CHECKED)} == {None}


def test_it_opens_until_its_last_second_without_any_purge(house: House, issued: IssuedCredential) -> None:
    house.clock.time = issued.place.expires_at - timedelta(seconds=1)
    assert house.answer(1, credential=issued.text) == ("admit", "matched")


def test_another_sites_credential_is_denied_and_no_credential_is_an_error(
    house: House, issued: IssuedCredential
) -> None:
    stranger = House().issue(1)
    assert house.answer(1, credential=stranger.text) == ("deny", "credential_invalid")
    with pytest.raises(MalformedInput):
        house.check(1, credential="DWP1.no.credential")
    assert len(house.events(EventKind.CHECKED)) == 1


def test_an_attack_is_referred_and_counted(house: House, issued: IssuedCredential) -> None:
    printed = np.asarray(make_capture(1, shot=1) // 2)
    for _ in range(5):
        assert house.answer(image=printed, credential=issued.text) == ("refer", "attack_suspected")
    assert house.answer(1, credential=issued.text) == ("refer", "locked_out")
    assert "credentials.open" not in house.journal.calls


def test_a_gate_with_a_challenge_asks_for_it_here_too(house: House, issued: IssuedCredential) -> None:
    house.tables.gates["entry"] = replace(house.tables.gates["entry"], liveness=LivenessPolicy.BOTH)
    assert house.answer(1, credential=issued.text) == ("refer", "liveness_required")


def test_five_failures_lock_at_every_gate_for_a_while(house: House, issued: IssuedCredential) -> None:
    for _ in range(5):
        assert house.answer(2, credential=issued.text) == ("deny", "not_matched")
    assert house.answer(1, credential=issued.text, gate="boarding") == ("refer", "locked_out")
    house.pass_time(minutes=5)
    assert house.answer(1, credential=issued.text) == ("admit", "matched")


def test_success_resets_the_count_and_others_are_not_counted(house: House, issued: IssuedCredential) -> None:
    other = house.issue(2)
    for _ in range(4):
        house.answer(2, credential=issued.text)
        house.answer(1, credential=other.text)
    assert house.answer(1, credential=issued.text) == ("admit", "matched")
    for _ in range(4):
        house.answer(2, credential=issued.text)
    assert house.answer(1, credential=issued.text) == ("admit", "matched")


def test_failures_are_forgotten_with_the_credential(house: House, issued: IssuedCredential) -> None:
    house.answer(2, credential=issued.text)
    failures = house.checks.credentials.failures
    assert len(failures._counts) == 1
    house.clock.time = issued.place.expires_at
    house.answer(1, credential=house.issue(1, departs_at=None).text)
    assert not failures._counts
