"""The gate check: each early return in its order, the lock-out, and the gate that fails shut."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import numpy as np
import pytest

from biometrics.errors import Conflict, MalformedInput, NotFound, NotPermitted, UnusableFace
from biometrics.records import DeviceKey, EventKind, LivenessPolicy, Purpose, TravelToken
from enrollment.enroll import Enrolled
from infra.capture_signing import DeviceSigner
from tests.factories import make_capture, make_face
from tests.fakes import BrokenSeamError
from tests.house import DEPARTURE, House
from verification.policy import POLICY_VERSION, MatchPolicy

CLAIMED_ONLY = (Purpose.ENTRY, Purpose.SECURITY, Purpose.BOARDING)
PRINTED = np.asarray(make_capture(1, shot=1) // 2)
"""A darker pattern, which the fake PAD takes for an attack."""


@pytest.fixture
def house() -> House:
    return House()


@pytest.fixture
def enrolled(house: House) -> Enrolled:
    enrolled = house.enroll(1)
    house.journal.calls.clear()
    return enrolled


# Admitting


def test_a_claimed_check_admits_its_holder_and_logs_it_before_it_answers(house: House, enrolled: Enrolled) -> None:
    result = house.check(1, enrolled.token, gate="security")
    assert result.decision.admits
    assert result.decision.enrollment_id == enrolled.record.id
    [event] = house.events(EventKind.CHECKED)
    assert house.tables.events[result.audit_index] == event
    assert (event.event_id, event.time, event.policy_version) == (result.check_id, result.at, POLICY_VERSION)
    assert (event.subject, event.epoch) == (enrolled.record.id, enrolled.record.epoch)
    assert (event.gate_id, event.purpose) == ("security", Purpose.SECURITY)
    assert (event.decision, event.reason) == ("admit", "matched")
    assert set(result.stage_ms) == {"decode", "detect", "pad", "embed", "decide"}


def test_every_step_comes_in_the_order_of_the_docstring(house: House, enrolled: Enrolled) -> None:
    house.check(1, enrolled.token)
    assert house.journal.calls == [
        *("unit.begin", "gates.get", "nonces.seen", "unit.end"),
        *("decode", "detector.detect", "pad.assess", "embedder.embed"),
        *("unit.begin", "nonces.add", "enrollments.held", "sealer.open_with_token", "audit.append"),
        *("unit.commit", "unit.end"),
    ]


def test_no_database_lock_is_held_while_the_networks_run(house: House, enrolled: Enrolled) -> None:
    house.check(1, enrolled.token)
    calls = house.journal.calls
    for network in ("detector.detect", "pad.assess", "embedder.embed"):
        before = calls[: calls.index(network)]
        assert before.count("unit.begin") == before.count("unit.end")


def test_walk_through_admits_without_a_token(house: House, enrolled: Enrolled) -> None:
    assert house.answer(1) == ("admit", "matched")
    assert house.answer(1, flight="AI302") == ("admit", "matched")
    assert house.answer(1, flight="AI999") == ("deny", "not_matched")
    assert "sealer.open_for_gallery" in house.journal.calls


def test_all_templates_are_zero_afterwards(house: House, enrolled: Enrolled) -> None:
    house.check(1, enrolled.token)
    house.check(1)
    house.check(2, enrolled.token)
    assert len(house.journal.templates) >= 7
    assert not any(template.vector.any() for template in house.journal.templates)


# Steps 1 to 4: before there is a probe


def test_an_unknown_gate_is_not_found(house: House, enrolled: Enrolled) -> None:
    with pytest.raises(NotFound):
        house.check(1, enrolled.token, gate="nowhere")
    assert "detector.detect" not in house.journal.calls


@pytest.mark.parametrize("seconds", [-61, 61, -86400, 86400])
def test_a_stale_capture_costs_no_network_run(house: House, enrolled: Enrolled, seconds: int) -> None:
    with pytest.raises(Conflict) as caught:
        house.check(1, enrolled.token, captured_at=house.clock.now() + timedelta(seconds=seconds))
    assert caught.value.code == "stale_capture"
    assert "detector.detect" not in house.journal.calls


@pytest.mark.parametrize("seconds", [-60, 0, 60])
def test_a_capture_on_the_edge_of_the_window_is_fresh(house: House, enrolled: Enrolled, seconds: int) -> None:
    at = house.clock.now() + timedelta(seconds=seconds)
    assert house.check(1, enrolled.token, captured_at=at).decision.admits


def test_a_nonce_works_once_at_each_gate(house: House, enrolled: Enrolled) -> None:
    assert house.check(1, enrolled.token, nonce="n" * 16).decision.admits
    house.journal.calls.clear()
    with pytest.raises(Conflict) as caught:
        house.check(1, enrolled.token, nonce="n" * 16)
    assert caught.value.code == "replayed"
    assert "detector.detect" not in house.journal.calls
    assert house.check(1, enrolled.token, nonce="n" * 16, gate="security").decision.admits


def test_of_two_equal_requests_side_by_side_only_one_is_answered(house: House, enrolled: Enrolled) -> None:
    house.journal.when["embedder.embed"] = lambda: house.check(1, enrolled.token, nonce="n" * 16) and None
    with pytest.raises(Conflict) as caught:
        house.check(1, enrolled.token, nonce="n" * 16)
    assert caught.value.code == "replayed"
    assert len(house.events(EventKind.CHECKED)) == 1


def test_no_face_and_two_faces_make_no_decision(house: House, enrolled: Enrolled) -> None:
    for faces, code in ([], "face_not_found"), ([make_face(), make_face()], "multiple_faces"):
        house.detector.faces = list(faces)
        with pytest.raises(UnusableFace) as caught:
            house.check(1, enrolled.token, nonce="n" * 16)
        assert caught.value.code == code
    assert not {"pad.assess", "embedder.embed"} & set(house.journal.calls)
    assert not house.events(EventKind.CHECKED)
    house.detector.faces = [make_face()]
    assert house.check(1, enrolled.token, nonce="n" * 16).decision.admits, "its nonce is not used up"


def test_a_face_of_low_quality_never_reaches_pad(house: House, enrolled: Enrolled) -> None:
    with pytest.raises(UnusableFace) as caught:
        house.check(image=np.zeros((112, 112, 3), np.uint8), token=enrolled.token)
    assert caught.value.code == "too_dark"
    assert "pad.assess" not in house.journal.calls


def test_a_suspected_attack_is_referred_before_any_embedding_exists(house: House, enrolled: Enrolled) -> None:
    result = house.check(image=PRINTED, token=enrolled.token)
    assert (result.decision.outcome, result.decision.reason) == ("refer", "attack_suspected")
    assert not {"embedder.embed", "sealer.open_with_token", "gallery.search"} & set(house.journal.calls)
    assert house.record(enrolled).failed_checks == 1
    assert house.events(EventKind.CHECKED)[0].subject == enrolled.record.id


def test_a_suspected_attack_on_a_walk_through_is_about_nobody(house: House, enrolled: Enrolled) -> None:
    assert house.answer(image=PRINTED) == ("refer", "attack_suspected")
    assert house.events(EventKind.CHECKED)[0].subject is None


def test_without_a_pad_network_the_check_goes_on(house: House, enrolled: Enrolled) -> None:
    house.checks = replace(house.checks, pad=None)
    assert house.answer(1, enrolled.token) == ("admit", "matched")


# The gate's policy


def set_policy(house: House, **policy: object) -> None:
    house.tables.gates["entry"] = replace(house.tables.gates["entry"], **policy)  # type: ignore[arg-type]


def test_a_capture_without_its_signature_costs_no_decoding(house: House, enrolled: Enrolled) -> None:
    set_policy(house, signed_captures=True)
    signer, nonce = DeviceSigner.new(), "n" * 16
    with pytest.raises(NotPermitted) as refused:
        house.check(1, enrolled.token, nonce=nonce)
    assert refused.value.code == "signature_required"
    with pytest.raises(NotPermitted) as refused:
        house.check(1, enrolled.token, nonce=nonce, sign=signer.sign)
    assert refused.value.code == "signature_invalid"
    assert not {"decode", "unit.commit"} & set(house.journal.calls)
    key = DeviceKey(DeviceKey.id_of(signer.public), "entry", signer.public, house.clock.now())
    house.tables.devices[key.id] = key
    assert house.check(1, enrolled.token, nonce=nonce, sign=signer.sign).decision.admits, "its nonce is not used up"


@pytest.mark.parametrize("frames", [2, 9])
def test_a_burst_has_three_to_eight_frames(house: House, enrolled: Enrolled, frames: int) -> None:
    with pytest.raises(MalformedInput):
        house.check(token=enrolled.token, images=[make_capture(1, shot) for shot in range(frames)])
    assert house.journal.calls == []


def test_a_burst_gives_one_probe_and_one_answer(house: House, enrolled: Enrolled) -> None:
    result = house.check(token=enrolled.token, images=[make_capture(1, shot) for shot in range(1, 5)])
    assert house.journal.calls.count("detector.detect") == 4
    assert house.journal.calls.count("embedder.embed") <= 1
    assert set(result.stage_ms) >= {"decode", "detect", "motion", "decide"}
    assert len(house.events(EventKind.CHECKED)) == 1


def test_what_betrayed_an_attack_is_for_metrics_and_not_for_the_log(house: House, enrolled: Enrolled) -> None:
    result = house.check(token=enrolled.token, images=[make_capture(1, shot=1)] * 3)
    assert (result.decision.reason, result.cue) == ("attack_suspected", "frame_repeated")
    assert house.events(EventKind.CHECKED)[0].reason == "attack_suspected"
    assert house.check(image=PRINTED, token=enrolled.token).cue == "pad"
    assert house.record(enrolled).failed_checks == 2


@pytest.mark.parametrize("policy", [LivenessPolicy.ACTIVE, LivenessPolicy.BOTH])
def test_a_challenge_is_used_up_once_by_the_face_that_met_it(
    house: House, enrolled: Enrolled, policy: LivenessPolicy
) -> None:
    set_policy(house, liveness=policy)
    with house.embedder.embed(make_capture(1)) as face, house.embedder.embed(make_capture(2)) as other:
        house.proofs.sessions = {
            "mine": ("entry", face.vector.copy()),
            "elsewhere": ("boarding", face.vector.copy()),
            "theirs": ("entry", other.vector.copy()),
        }
    for session in (None, "unknown", "elsewhere", "theirs"):
        assert house.answer(1, enrolled.token, liveness_session=session) == ("refer", "liveness_required")
    assert "sealer.open_with_token" not in house.journal.calls
    assert house.answer(1, enrolled.token, liveness_session="mine") == ("admit", "matched")
    assert house.answer(1, enrolled.token, liveness_session="mine") == ("refer", "liveness_required")
    assert house.record(enrolled).failed_checks == 0
    assert house.events(EventKind.CHECKED)[0].subject == enrolled.record.id


def test_pad_judges_where_the_policy_says_so(house: House, enrolled: Enrolled) -> None:
    set_policy(house, liveness=LivenessPolicy.ACTIVE)
    assert house.answer(image=PRINTED, token=enrolled.token) == ("refer", "liveness_required")
    assert "pad.assess" not in house.journal.calls
    set_policy(house, liveness=LivenessPolicy.BOTH)
    assert house.answer(image=PRINTED, token=enrolled.token, liveness_session="s") == ("refer", "attack_suspected")
    assert "proofs.redeem" not in house.journal.calls


def test_without_sessions_a_gate_that_asks_for_them_stays_shut(house: House, enrolled: Enrolled) -> None:
    set_policy(house, liveness=LivenessPolicy.ACTIVE)
    house.checks = replace(house.checks, proofs=None)
    assert house.answer(1, enrolled.token, liveness_session="any") == ("refer", "liveness_required")


# Steps 6 to 8, claimed


def test_an_unknown_token_is_not_enrolled(house: House, enrolled: Enrolled) -> None:
    assert house.answer(1, TravelToken.new("0" * 32)) == ("deny", "not_enrolled")
    assert house.events(EventKind.CHECKED)[0].subject is None


def test_a_wrong_share_is_as_good_as_no_enrollment_and_locks_nobody_out(house: House, enrolled: Enrolled) -> None:
    forged = TravelToken.new(enrolled.record.id)
    for _ in range(10):
        assert house.answer(1, forged) == ("deny", "not_enrolled")
        assert house.answer(image=PRINTED, token=forged) == ("refer", "attack_suspected")
    assert all(event.subject is None for event in house.events(EventKind.CHECKED))
    assert house.record(enrolled).failed_checks == 0
    assert "sealer.open_with_token" not in house.journal.calls


def test_expiry_at_the_second(house: House, enrolled: Enrolled) -> None:
    house.clock.time = enrolled.record.expires_at - timedelta(seconds=1)
    assert house.answer(1, enrolled.token) == ("admit", "matched")
    house.clock.time = enrolled.record.expires_at
    assert house.answer(1, enrolled.token) == ("deny", "not_enrolled")


def withdraw(house: House, enrolled: Enrolled) -> None:
    house.retention.withdraw(enrolled.record.id)


def expire(house: House, enrolled: Enrolled) -> None:
    house.clock.time = enrolled.record.expires_at


@pytest.mark.parametrize("end", [withdraw, expire])
@pytest.mark.parametrize("claimed", [True, False])
def test_what_ends_during_a_check_is_not_admitted(
    house: House, enrolled: Enrolled, end: Callable[[House, Enrolled], None], claimed: bool
) -> None:
    house.journal.when["embedder.embed"] = lambda: end(house, enrolled)
    outcome, reason = house.answer(1, enrolled.token if claimed else None)
    assert (outcome, reason) == ("deny", "not_enrolled" if claimed or end is expire else "not_matched")


@pytest.mark.parametrize("end", [withdraw, expire])
def test_the_database_disposes_after_the_gallery_proposed(
    house: House, enrolled: Enrolled, end: Callable[[House, Enrolled], None]
) -> None:
    left_behind = dict(house.gallery.rows)
    end(house, enrolled)
    house.gallery.rows = left_behind
    assert house.answer(1) == ("deny", "not_enrolled")
    assert "sealer.open_for_gallery" not in house.journal.calls


def test_a_purpose_that_was_not_consented_to_is_not_even_compared(house: House) -> None:
    enrolled = house.enroll(purposes=[Purpose.ENTRY])
    house.journal.calls.clear()
    assert house.answer(1, enrolled.token, gate="boarding") == ("deny", "purpose_not_consented")
    assert "sealer.open_with_token" not in house.journal.calls
    assert house.events(EventKind.CHECKED)[0].subject == enrolled.record.id
    assert house.answer(1, enrolled.token, gate="entry") == ("admit", "matched")


def test_templates_of_two_networks_are_never_compared(house: House, enrolled: Enrolled) -> None:
    house.embedder.model_digest = "0" * 64
    assert house.answer(1, enrolled.token) == ("refer", "enrolled_with_other_model")
    assert house.answer(1) == ("refer", "enrolled_with_other_model")
    assert not {"sealer.open_with_token", "sealer.open_for_gallery"} & set(house.journal.calls)


def test_a_suspected_duplicate_is_for_an_officer(house: House, enrolled: Enrolled) -> None:
    house.change(enrolled, duplicate_suspected=True)
    assert house.answer(1, enrolled.token) == ("refer", "duplicate_suspected")
    assert house.answer(1) == ("refer", "duplicate_suspected")


@pytest.mark.parametrize("claimed", [True, False])
def test_a_template_whose_key_is_gone_is_not_enrolled(house: House, enrolled: Enrolled, claimed: bool) -> None:
    house.change(enrolled, sealed=replace(enrolled.record.sealed, for_holder=b"", for_gallery=b""))
    assert house.answer(1, enrolled.token if claimed else None) == ("deny", "not_enrolled")
    assert house.record(enrolled).failed_checks == 0


def test_a_stranger_with_a_stolen_token_is_denied(house: House, enrolled: Enrolled) -> None:
    assert house.answer(2, enrolled.token) == ("deny", "not_matched")
    assert house.record(enrolled).failed_checks == 1


def test_a_token_never_falls_back_to_the_gallery(house: House, enrolled: Enrolled) -> None:
    house.enroll(2)
    house.journal.calls.clear()
    assert house.answer(2, enrolled.token) == ("deny", "not_matched")
    assert "gallery.search" not in house.journal.calls


# Steps 6 to 8, walk-through


def test_a_gate_that_offers_no_walk_through_never_searches(house: House, enrolled: Enrolled) -> None:
    assert house.answer(1, gate="security") == ("deny", "walk_through_not_offered")
    assert "gallery.search" not in house.journal.calls


def test_a_gallery_beyond_the_cards_measurements_is_not_searched(house: House, enrolled: Enrolled) -> None:
    for person in range(2, 4):
        house.enroll(person)
    house.journal.calls.clear()
    house.checks = replace(house.checks, match=MatchPolicy(house.checks.match.measured, fmr=1e-3, fpir=2e-6))
    assert house.answer(1) == ("refer", "gallery_too_large")
    assert "gallery.search" not in house.journal.calls


def test_an_empty_gallery_knows_nobody(house: House) -> None:
    assert house.answer(1) == ("deny", "not_matched")


def test_two_likely_candidates_are_told_apart_by_an_officer(house: House, enrolled: Enrolled) -> None:
    twin = house.enroll(1, flight="AI303")
    assert house.answer(1) == ("refer", "ambiguous")
    assert house.events(EventKind.CHECKED)[-1].subject is None
    house.retention.withdraw(twin.record.id)
    assert house.answer(1) == ("admit", "matched")


def test_a_candidate_without_walk_through_consent_does_not_exist(house: House, enrolled: Enrolled) -> None:
    consent = replace(enrolled.record.consent, purposes=frozenset(CLAIMED_ONLY))
    house.change(enrolled, consent=consent)
    assert house.answer(1) == ("deny", "not_enrolled")


def test_what_the_gallery_remembers_does_not_count(house: House, enrolled: Enrolled) -> None:
    with house.embedder.embed(make_capture(2)) as other:
        house.gallery.rows[enrolled.record.id] = ("AI302", other.vector.copy())
    assert house.answer(2) == ("deny", "not_matched")
    assert "sealer.open_for_gallery" in house.journal.calls


def test_walk_through_ends_with_the_departure_also_before_a_sweep(house: House, enrolled: Enrolled) -> None:
    house.clock.time = DEPARTURE
    assert house.answer(1) == ("admit", "matched")
    house.pass_time(seconds=1)
    assert house.answer(1) == ("deny", "not_enrolled")
    house.retention.synchronize_gallery()
    assert house.answer(1) == ("deny", "not_matched")
    assert house.answer(1, enrolled.token) == ("admit", "matched")


# Lock-out


def fail(house: House, enrolled: Enrolled, times: int) -> None:
    for _ in range(times):
        assert house.answer(2, enrolled.token) == ("deny", "not_matched")


def test_the_sixth_attempt_is_refused_even_with_the_right_face_at_any_gate(house: House, enrolled: Enrolled) -> None:
    fail(house, enrolled, 5)
    house.journal.calls.clear()
    assert house.answer(1, enrolled.token) == ("refer", "locked_out")
    assert house.answer(1, enrolled.token, gate="security") == ("refer", "locked_out")
    assert house.answer(1) == ("refer", "locked_out")
    assert not {"sealer.open_with_token", "sealer.open_for_gallery"} & set(house.journal.calls)


def test_a_suspected_attack_counts_as_a_failure(house: House, enrolled: Enrolled) -> None:
    fail(house, enrolled, 3)
    for _ in range(2):
        assert house.answer(image=PRINTED, token=enrolled.token) == ("refer", "attack_suspected")
    assert house.answer(1, enrolled.token) == ("refer", "locked_out")


def test_a_suspected_attack_does_not_lift_a_lock_out(house: House, enrolled: Enrolled) -> None:
    fail(house, enrolled, 5)
    before = house.record(enrolled)
    assert house.answer(image=PRINTED, token=enrolled.token) == ("refer", "attack_suspected")
    assert house.record(enrolled) == before
    assert house.answer(1, enrolled.token) == ("refer", "locked_out")


def test_success_resets_the_count(house: House, enrolled: Enrolled) -> None:
    fail(house, enrolled, 4)
    assert house.answer(1, enrolled.token) == ("admit", "matched")
    assert house.record(enrolled).failed_checks == 0
    fail(house, enrolled, 4)
    assert house.answer(1, enrolled.token) == ("admit", "matched")


def test_a_lock_out_ends_at_its_second_and_counts_anew(house: House, enrolled: Enrolled) -> None:
    fail(house, enrolled, 5)
    house.pass_time(minutes=5, seconds=-1)
    assert house.answer(1, enrolled.token) == ("refer", "locked_out")
    house.pass_time(seconds=1)
    fail(house, enrolled, 4)
    assert house.answer(1, enrolled.token) == ("admit", "matched")


def test_checks_during_a_lock_out_do_not_prolong_it(house: House, enrolled: Enrolled) -> None:
    fail(house, enrolled, 5)
    until = house.record(enrolled).locked_until
    house.pass_time(minutes=4)
    house.check(2, enrolled.token)
    house.check(image=PRINTED, token=enrolled.token)
    assert house.record(enrolled).locked_until == until


def test_a_check_that_is_not_a_comparison_counts_nothing(house: House, enrolled: Enrolled) -> None:
    house.change(enrolled, consent=replace(enrolled.record.consent, purposes=frozenset({Purpose.ENTRY})))
    for _ in range(9):
        house.check(2, enrolled.token, gate="security")
    assert house.record(enrolled).failed_checks == 0


# Failing shut

CLAIMED_SEAMS = [
    *("unit.begin", "gates.get", "nonces.seen", "decode", "detector.detect", "pad.assess", "embedder.embed"),
    *("nonces.add", "enrollments.held", "sealer.open_with_token", "audit.append", "unit.commit"),
]
WALK_THROUGH_SEAMS = ["gallery.size", "gallery.search", "enrollments.get", "sealer.open_for_gallery", "audit.append"]


@pytest.mark.parametrize(
    ("claimed", "seam"),
    [*((True, seam) for seam in CLAIMED_SEAMS), *((False, seam) for seam in WALK_THROUGH_SEAMS)],
)
def test_a_seam_that_breaks_leaves_nothing_behind(house: House, enrolled: Enrolled, claimed: bool, seam: str) -> None:
    token = enrolled.token if claimed else None
    before = house.tables.enrollments, list(house.tables.events), dict(house.tables.nonces)
    house.journal.broken = {seam}
    with pytest.raises(BrokenSeamError):
        house.check(1, token, nonce="n" * 16)
    assert (house.tables.enrollments, house.tables.events, house.tables.nonces) == before
    assert not any(template.vector.any() for template in house.journal.templates)
    house.journal.broken = set()
    assert house.check(1, token, nonce="n" * 16).decision.admits, "nothing was used up"


def test_a_failure_that_cannot_be_counted_is_no_answer(house: House, enrolled: Enrolled) -> None:
    house.journal.broken = {"enrollments.replace"}
    with pytest.raises(BrokenSeamError):
        house.check(2, enrolled.token)
    assert not house.events(EventKind.CHECKED)


def test_the_seams_that_break_here_are_all_that_there_are(house: House, enrolled: Enrolled) -> None:
    house.check(1, enrolled.token)
    house.check(1)
    crossed = set(house.journal.calls) - {"unit.end"}
    assert crossed == {*CLAIMED_SEAMS, *WALK_THROUGH_SEAMS}


# What is said


def test_nothing_personal_stands_in_what_is_printed(house: House, enrolled: Enrolled) -> None:
    result = house.check(1, enrolled.token)
    assert enrolled.record.id not in repr(result.decision)
    assert enrolled.token.share.hex() not in repr(enrolled)
    assert "score" not in repr(result)
