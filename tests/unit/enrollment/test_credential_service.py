"""Issuing and revoking: the same rules as enrolling, and nothing in the tables but a place."""

from __future__ import annotations

from datetime import timedelta

import pytest

from biometrics.credentials import LIST_SIZE, StatusPlace, last_epoch
from biometrics.errors import MalformedInput, NotFound, NotReady
from biometrics.records import EventKind, Purpose, epoch_of, latest_expiry
from enrollment.credentials import ON_PHONE
from enrollment.enroll import NoUsableImage
from tests.factories import NOON
from tests.house import DEPARTURE, House


@pytest.fixture
def house() -> House:
    return House()


def test_issuing_keeps_a_place_and_a_line_in_the_log(house: House) -> None:
    issued = house.issue()
    assert house.tables.credentials == {issued.place: False}
    assert not house.tables.enrollments and not house.gallery.rows
    [event] = house.events(EventKind.ENROLLED)
    assert (event.subject, event.epoch, event.reason) == (issued.place.id, issued.place.epoch, ON_PHONE)
    assert event.expires_at == issued.place.expires_at
    assert not any(template.vector.any() for template in house.journal.templates)
    assert issued.text not in repr(issued)


@pytest.mark.parametrize("minutes", [-90, 0, 1, 59, 60, 61, 60 * 24 * 29])
def test_a_credential_ends_within_the_hour_before_the_latest_expiry(minutes: int) -> None:
    departure = NOON + timedelta(minutes=minutes)
    latest = latest_expiry(NOON, departure)
    ends = StatusPlace(last_epoch(NOON, departure), 0).expires_at
    assert latest - timedelta(hours=1) < ends <= latest
    assert epoch_of(ends) == epoch_of(latest), "its key lives until it ends"


def test_walk_through_needs_an_enrollment(house: House) -> None:
    with pytest.raises(MalformedInput) as caught:
        house.issue(purposes=[Purpose.ENTRY, Purpose.WALK_THROUGH])
    assert caught.value.code == "walk_through_needs_enrollment"
    assert "detector.detect" not in house.journal.calls


def test_an_impossible_journey_is_refused(house: House) -> None:
    with pytest.raises(MalformedInput):
        house.issue(departs_at=NOON + timedelta(days=31))


def test_a_capture_without_a_face_leaves_nothing(house: House) -> None:
    house.detector.faces.clear()
    with pytest.raises(NoUsableImage):
        house.issue()
    assert not house.tables.credentials and not house.tables.events


def test_a_full_list_is_said_so(house: House) -> None:
    epoch = last_epoch(NOON, DEPARTURE)
    house.tables.credentials = {StatusPlace(epoch, index): False for index in range(LIST_SIZE)}
    with pytest.raises(NotReady) as caught:
        house.issue()
    assert caught.value.code == "status_list_full"


def test_revoking_is_logged_and_final(house: House) -> None:
    issued = house.issue()
    revoked = house.credentials.revoke(issued.place)
    [event] = house.events(EventKind.WITHDRAWN)
    assert house.tables.events[revoked.audit_index] == event
    assert event.subject == issued.place.id
    with pytest.raises(NotFound):
        house.credentials.revoke(issued.place)
    with pytest.raises(NotFound):
        house.credentials.revoke(StatusPlace(issued.place.epoch, (issued.place.index + 1) % LIST_SIZE))


def test_an_expired_credential_cannot_be_revoked(house: House) -> None:
    issued = house.issue()
    house.clock.time = issued.place.expires_at
    with pytest.raises(NotFound):
        house.credentials.revoke(issued.place)


def test_a_purge_forgets_places_on_the_hour_and_logs_those_still_in_force(house: House) -> None:
    issued, revoked = house.issue(), house.issue()
    house.credentials.revoke(revoked.place)
    house.clock.time = issued.place.expires_at - timedelta(seconds=1)
    assert house.retention.purge().templates == 0
    assert len(house.tables.credentials) == 2
    house.clock.time = issued.place.expires_at
    assert house.retention.purge().templates == 2
    assert not house.tables.credentials
    [event] = house.events(EventKind.EXPIRED)
    assert (event.subject, event.epoch) == (issued.place.id, issued.place.epoch)
