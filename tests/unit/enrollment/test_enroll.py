"""Enrollment: from captures to one sealed template, or to nothing at all."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from biometrics.errors import Conflict, MalformedInput, NotReady, UnusableFace
from biometrics.records import EventKind, Purpose, TravelToken
from biometrics.types import Pixels
from enrollment.enroll import LONGEST_NOTICE, Enrolled, NoUsableImage, Rejected
from tests.factories import NOON, make_capture
from tests.fakes import BrokenSeamError, FakeUnitOfWork
from tests.house import DEPARTURE, EVERYTHING, WINDOW, House

DARK = np.zeros((112, 112, 3), np.uint8)
PRINTED = np.asarray(make_capture(1) // 2)


@pytest.fixture
def house() -> House:
    return House()


def between(a: Pixels, b: Pixels) -> Pixels:
    """A likeness of two persons."""
    return np.asarray((a.astype(np.uint16) + b) // 2, np.uint8)


def assert_nothing_remains(house: House) -> None:
    assert not house.tables.enrollments
    assert not house.tables.events
    assert not house.gallery.rows
    assert not any(template.vector.any() for template in house.journal.templates)


def test_an_enrollment_is_recorded_logged_and_told_once(house: House) -> None:
    enrolled = house.enroll(1, images=[make_capture(1, shot) for shot in range(3)])
    record = house.record(enrolled)
    assert record == enrolled.record
    assert enrolled.token.opens(record)
    assert (record.enrolled_at, record.departs_at, record.flight) == (NOON, DEPARTURE, "AI302")
    assert record.expires_at == DEPARTURE + timedelta(hours=24)
    assert record.consent.purposes == EVERYTHING
    assert (enrolled.accepted, enrolled.rejected) == ((0, 1, 2), ())
    event = house.tables.events[enrolled.audit_index]
    assert (event.kind, event.subject, event.epoch) == (EventKind.ENROLLED, record.id, record.epoch)
    assert (event.time, event.expires_at, event.reason) == (NOON, record.expires_at, None)


def test_everything_happens_in_the_order_of_the_docstring(house: House) -> None:
    house.enroll(1, document=make_capture(1, 9))
    assert house.journal.calls == [
        *("detector.detect", "pad.assess", "embedder.embed"),
        *("detector.detect", "embedder.embed"),
        *("gallery.search", "sealer.seal"),
        *("unit.begin", "enrollments.add", "audit.append", "unit.commit", "unit.end"),
        "gallery.add",
    ]


def test_without_a_departure_a_template_lives_a_day(house: House) -> None:
    assert house.enroll(departs_at=None).record.expires_at == NOON + timedelta(hours=24)


def test_a_departure_that_is_over_does_not_shorten_the_day(house: House) -> None:
    assert house.enroll(departs_at=NOON - timedelta(hours=5)).record.expires_at == NOON + timedelta(hours=24)


def test_all_templates_are_zero_afterwards(house: House) -> None:
    house.enroll(1, images=[make_capture(1, shot) for shot in range(3)], document=make_capture(1, 9))
    assert len(house.journal.templates) == 4
    assert not any(template.vector.any() for template in house.journal.templates)


def test_two_enrollments_of_one_face_share_no_identifier(house: House) -> None:
    first, second = house.enroll(1), house.enroll(1, flight="AI303")
    assert first.record.id != second.record.id
    assert first.token.share != second.token.share
    assert first.record.holder_verifier != second.record.holder_verifier


# Captures


def test_an_enrollment_can_succeed_in_part(house: House) -> None:
    enrolled = house.enroll(images=[DARK, make_capture(1), PRINTED, make_capture(1, 1)])
    assert enrolled.accepted == (1, 3)
    assert enrolled.rejected == (Rejected(0, "too_dark"), Rejected(2, "attack_suspected"))


def test_a_suspected_attack_is_never_embedded(house: House) -> None:
    with pytest.raises(NoUsableImage) as caught:
        house.enroll(images=[PRINTED])
    assert caught.value.code == "attack_suspected"
    assert "embedder.embed" not in house.journal.calls
    assert_nothing_remains(house)


def test_without_a_usable_image_every_reason_is_told(house: House) -> None:
    with pytest.raises(NoUsableImage) as caught:
        house.enroll(images=[DARK, PRINTED])
    assert caught.value.code == "too_dark"
    assert caught.value.rejected == (Rejected(0, "too_dark"), Rejected(1, "attack_suspected"))
    assert_nothing_remains(house)


def test_no_images_and_no_faces_are_no_usable_image(house: House) -> None:
    for images in ([], [make_capture(1)]):
        house.detector.faces = []
        with pytest.raises(NoUsableImage) as caught:
            house.enroll(images=images)
        assert caught.value.code == "face_not_found"
    assert_nothing_remains(house)


def test_without_a_pad_network_captures_are_taken_as_they_are(house: House) -> None:
    house.enrollment = replace(house.enrollment, pad=None)
    assert house.enroll(images=[PRINTED]).accepted == (0,)


def test_images_of_different_persons_are_no_enrollment(house: House) -> None:
    with pytest.raises(Conflict) as caught:
        house.enroll(images=[make_capture(1), make_capture(1, 1), make_capture(2)])
    assert caught.value.code == "different_persons"
    assert_nothing_remains(house)


def test_a_likeness_of_both_is_no_bridge_between_two_persons(house: House) -> None:
    a, b = make_capture(1), make_capture(2)
    house.enroll(images=[a, between(a, b)])
    with pytest.raises(Conflict) as caught:
        house.enroll(images=[a, between(a, b), b])
    assert caught.value.code == "different_persons"


# The document


def test_a_document_of_the_same_person_is_accepted(house: House) -> None:
    assert house.enroll(document=make_capture(1, 7)).accepted == (0,)


def test_a_document_of_somebody_else_is_no_enrollment(house: House) -> None:
    with pytest.raises(Conflict) as caught:
        house.enroll(document=make_capture(2))
    assert caught.value.code == "document_mismatch"
    assert_nothing_remains(house)


def test_a_document_is_printed_and_needs_no_liveness(house: House) -> None:
    house.enroll(1, document=np.asarray(make_capture(1, 3) * 0.55 + 30, np.uint8))
    assert house.journal.calls.count("pad.assess") == 1


def test_a_document_without_a_face_is_no_enrollment(house: House) -> None:
    house.journal.when["embedder.embed"] = house.detector.faces.clear
    with pytest.raises(UnusableFace) as caught:
        house.enroll(document=DARK)
    assert caught.value.code == "face_not_found"
    assert not isinstance(caught.value, NoUsableImage)
    assert_nothing_remains(house)


# The journey


@pytest.mark.parametrize(
    "departs_at",
    [NOON - timedelta(hours=24), NOON - timedelta(days=365), NOON + LONGEST_NOTICE, NOON + timedelta(days=10_000)],
)
def test_an_impossible_journey_costs_no_network_run(house: House, departs_at: datetime) -> None:
    with pytest.raises(MalformedInput) as caught:
        house.enroll(departs_at=departs_at)
    assert caught.value.code == "departure_out_of_range"
    assert not house.journal.calls


@pytest.mark.parametrize(
    "departs_at", [NOON - timedelta(hours=24, microseconds=-1), NOON + LONGEST_NOTICE - timedelta(microseconds=1)]
)
def test_the_edges_of_a_possible_journey(house: House, departs_at: datetime) -> None:
    assert house.enroll(departs_at=departs_at).record.departs_at == departs_at


# Walk-through, gallery and duplicates


def test_a_claimed_enrollment_never_touches_the_gallery(house: House) -> None:
    enrolled = house.enroll(purposes=[Purpose.ENTRY])
    assert enrolled.record.sealed.for_gallery is None
    assert not [call for call in house.journal.calls if call.startswith("gallery.")]


def test_a_walk_through_enrollment_enters_its_flights_gallery_within_the_window(house: House) -> None:
    enrolled = house.enroll()
    assert house.gallery.rows.keys() == {enrolled.record.id}
    assert house.gallery.size("AI302") == 1


@pytest.mark.parametrize("departs_at", [None, NOON + WINDOW + timedelta(seconds=1), NOON - timedelta(seconds=1)])
def test_outside_the_window_it_waits(house: House, departs_at: datetime | None) -> None:
    enrolled = house.enroll(departs_at=departs_at)
    assert enrolled.record.sealed.for_gallery is not None
    assert not house.gallery.rows


@pytest.mark.parametrize("purposes", [[Purpose.ENTRY], list(EVERYTHING)])
def test_a_gallery_holds_nobody_who_did_not_consent(house: House, purposes: list[Purpose]) -> None:
    record = house.enroll(purposes=purposes).record
    assert record.in_walk_through(NOON, WINDOW) == (Purpose.WALK_THROUGH in purposes)
    other_consent = replace(record.consent, purposes=frozenset({Purpose.ENTRY}))
    assert not replace(record, consent=other_consent).in_walk_through(NOON, WINDOW)


moments = st.integers(-40 * 3600, 40 * 3600).map(lambda seconds: NOON + timedelta(seconds=seconds))


@given(departs_at=st.none() | moments, now=moments)
def test_the_synchronizer_and_enrollment_agree_on_who_is_in_the_gallery(
    departs_at: datetime | None, now: datetime
) -> None:
    house = House()
    record = house.enroll(departs_at=NOON + timedelta(hours=1)).record
    expires_at = max(NOON, departs_at or NOON) + timedelta(hours=24)
    record = replace(record, departs_at=departs_at, expires_at=expires_at)
    house.tables.enrollments[record.id] = record
    with house.unit() as unit:
        listed = [r.id for r in unit.enrollments.walk_through(now, WINDOW)]
    assert record.in_walk_through(now, WINDOW) == (listed == [record.id])


def test_one_face_under_two_identities_on_a_flight_is_flagged(house: House) -> None:
    first, second = house.enroll(1), house.enroll(1)
    assert not first.record.duplicate_suspected
    assert house.record(second).duplicate_suspected
    assert house.tables.events[second.audit_index].reason == "duplicate_suspected"
    assert not house.enroll(2).record.duplicate_suspected


def test_duplicates_are_looked_for_only_where_it_was_consented_to(house: House) -> None:
    house.enroll(1)
    assert not house.enroll(1, purposes=[Purpose.ENTRY]).record.duplicate_suspected
    assert not house.enroll(1, flight="AI303").record.duplicate_suspected


# All or nothing


def test_what_runs_before_the_commit_sees_the_enrollment_and_can_undo_it(house: House) -> None:
    seen: list[str] = []

    def refuse(unit: FakeUnitOfWork, enrolled: Enrolled) -> None:
        assert unit.enrollments.get(enrolled.record.id, NOON) == enrolled.record
        seen.append(enrolled.token.text)
        raise NotReady("The receipt cannot be signed.")

    with pytest.raises(NotReady):
        house.enroll(before_commit=refuse)
    assert TravelToken.parse(seen[0])
    assert_nothing_remains(house)


SEAMS = [
    *("detector.detect", "pad.assess", "embedder.embed", "gallery.search", "sealer.seal"),
    *("unit.begin", "enrollments.add", "audit.append", "unit.commit"),
]


@pytest.mark.parametrize("seam", SEAMS)
def test_a_seam_that_breaks_leaves_nothing_behind(house: House, seam: str) -> None:
    house.journal.broken = {seam}
    with pytest.raises(BrokenSeamError):
        house.enroll(images=[make_capture(1), make_capture(1, 1)])
    assert_nothing_remains(house)


def test_a_network_that_breaks_at_the_second_image_leaves_no_template_in_memory(house: House) -> None:
    house.journal.when["embedder.embed"] = lambda: house.journal.broken.add("pad.assess")
    with pytest.raises(BrokenSeamError):
        house.enroll(images=[make_capture(1), make_capture(1, 1)])
    assert len(house.journal.templates) == 1
    assert_nothing_remains(house)


def test_what_is_printed_gives_no_token_away(house: House) -> None:
    enrolled = house.enroll()
    assert enrolled.token.text not in repr(enrolled)
    assert repr(enrolled.token.share) not in repr(enrolled)
    assert repr(enrolled.record.sealed.envelope) not in repr(enrolled)
