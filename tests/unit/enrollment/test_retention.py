"""The end of an enrollment, in its order, through crashes and hindrances; moving, reviewing, synchronizing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from biometrics.errors import Conflict, MalformedInput, NotFound, SealBroken
from biometrics.records import EventKind, Purpose, TravelToken, epoch_end, epoch_of
from enrollment.enroll import LONGEST_NOTICE, Enrolled
from enrollment.retention import NONCE_MEMORY, PURGE_BATCH, Purged
from tests.factories import NOON
from tests.fakes import BrokenSeamError
from tests.house import DEPARTURE, WINDOW, House


@pytest.fixture
def house() -> House:
    return House()


@pytest.fixture
def enrolled(house: House) -> Enrolled:
    enrolled = house.enroll(1)
    house.journal.calls.clear()
    return enrolled


# Withdrawing


def test_withdrawing_erases_in_order(house: House, enrolled: Enrolled) -> None:
    house.retention.withdraw(enrolled.record.id)
    assert house.journal.calls == [
        *("unit.begin", "enrollments.get", "gallery.remove", "enrollments.delete", "audit.append", "unit.commit"),
        *("unit.end", "gallery.remove", "scrubber.scrub"),
    ]


def test_withdrawing_leaves_nothing_but_a_line_in_the_log(house: House, enrolled: Enrolled) -> None:
    house.pass_time(minutes=1)
    erased = house.retention.withdraw(enrolled.record.id)
    assert not house.tables.enrollments
    assert not house.gallery.rows
    event = house.tables.events[erased.audit_index]
    assert (event.kind, event.subject, event.epoch) == (
        EventKind.WITHDRAWN,
        enrolled.record.id,
        enrolled.record.epoch,
    )
    assert event.time == erased.at == house.clock.now()
    assert (erased.epoch, erased.scrubbed) == (enrolled.record.epoch, True)
    assert house.answer(1, enrolled.token) == ("deny", "not_enrolled")


def test_withdrawing_one_leaves_the_others(house: House, enrolled: Enrolled) -> None:
    other = house.enroll(2)
    house.retention.withdraw(enrolled.record.id)
    assert house.tables.enrollments.keys() == house.gallery.rows.keys() == {other.record.id}


def test_what_is_unknown_withdrawn_or_expired_cannot_be_withdrawn(house: House, enrolled: Enrolled) -> None:
    with pytest.raises(NotFound):
        house.retention.withdraw("0" * 32)
    house.clock.time = enrolled.record.expires_at
    with pytest.raises(NotFound):
        house.retention.withdraw(enrolled.record.id)
    house.clock.time = NOON
    house.retention.withdraw(enrolled.record.id)
    with pytest.raises(NotFound):
        house.retention.withdraw(enrolled.record.id)
    assert len(house.events(EventKind.WITHDRAWN)) == 1


def test_a_reader_in_the_way_of_the_scrubber_does_not_undo_an_erasure(house: House, enrolled: Enrolled) -> None:
    house.scrubber.hindered = True
    assert not house.retention.withdraw(enrolled.record.id).scrubbed
    assert not house.tables.enrollments


@pytest.mark.parametrize(
    "seam",
    ["unit.begin", "enrollments.get", "gallery.remove", "enrollments.delete", "audit.append", "unit.commit"],
)
def test_a_withdrawal_that_breaks_has_not_happened_and_can_be_repeated(
    house: House, enrolled: Enrolled, seam: str
) -> None:
    house.journal.broken = {seam}
    with pytest.raises(BrokenSeamError):
        house.retention.withdraw(enrolled.record.id)
    assert house.record(enrolled)
    assert not house.events(EventKind.WITHDRAWN)
    house.journal.broken = set()
    assert house.answer(1, enrolled.token) == ("admit", "matched")
    house.retention.withdraw(enrolled.record.id)
    assert not house.gallery.rows


# Purging


def test_a_purge_erases_only_what_has_expired(house: House, enrolled: Enrolled) -> None:
    late = house.enroll(2, departs_at=DEPARTURE + timedelta(seconds=1))
    house.clock.time = enrolled.record.expires_at
    assert house.retention.purge() == Purged(templates=1, epochs=0, nonces=0)
    assert house.tables.enrollments.keys() == {late.record.id}
    [event] = house.events(EventKind.EXPIRED)
    assert (event.subject, event.epoch, event.time) == (enrolled.record.id, enrolled.record.epoch, house.clock.now())
    house.pass_time(seconds=1)
    assert house.retention.purge().templates == 1
    assert not house.tables.enrollments


def test_a_purge_overwrites_the_gallery_before_it_deletes(house: House, enrolled: Enrolled) -> None:
    house.clock.time = enrolled.record.expires_at
    house.retention.purge()
    calls = house.journal.calls
    assert calls.index("gallery.remove_many") < calls.index("enrollments.delete_many") < calls.index("scrubber.scrub")
    assert calls[-1] == "scrubber.scrub"
    assert not house.gallery.rows


def test_a_purge_works_in_batches_and_tells_how_far_it_is(house: House) -> None:
    template = house.enroll(1, purposes=[Purpose.ENTRY]).record
    rows = {f"{i:032x}": replace(template, id=f"{i:032x}") for i in range(PURGE_BATCH + 1)}
    house.tables.enrollments = rows
    house.clock.time = template.expires_at
    house.journal.calls.clear()
    heard: list[int] = []
    assert house.retention.purge(progress=heard.append).templates == PURGE_BATCH + 1
    assert heard == [PURGE_BATCH, PURGE_BATCH + 1]
    assert house.journal.calls.count("unit.commit") == 5, "two batches, one that finds nothing, credentials, nonces"


def test_a_purge_stands_back_for_gates_after_each_batch_once_the_lock_is_free(house: House) -> None:
    template = house.enroll(1, purposes=[Purpose.ENTRY]).record
    house.tables.enrollments = {f"{i:032x}": replace(template, id=f"{i:032x}") for i in range(2 * PURGE_BATCH)}
    house.clock.time = template.expires_at
    house.journal.calls.clear()
    house.retention.purge()
    calls = house.journal.calls
    places = [place for place, call in enumerate(calls) if call == "stand_back"]
    assert len(places) == 2
    assert all(calls[place - 1] == "unit.end" for place in places)


def test_a_second_purge_finds_nothing(house: House, enrolled: Enrolled) -> None:
    house.clock.time = epoch_end(enrolled.record.epoch)
    house.retention.purge()
    lines = len(house.tables.events)
    assert house.retention.purge() == Purged(0, 0, 0)
    assert len(house.tables.events) == lines


def test_a_purge_that_breaks_is_finished_by_the_next(house: House, enrolled: Enrolled) -> None:
    house.enroll(2)
    house.clock.time = enrolled.record.expires_at
    for seam in ("enrollments.delete_many", "audit.append_many", "unit.commit"):
        house.journal.broken = {seam}
        with pytest.raises(BrokenSeamError):
            house.retention.purge()
        assert len(house.tables.enrollments) == 2
        assert not house.events(EventKind.EXPIRED)
    house.journal.broken = set()
    assert house.retention.purge().templates == 2


def test_old_nonces_are_forgotten_once_no_capture_could_be_fresh(house: House, enrolled: Enrolled) -> None:
    house.check(1, enrolled.token, nonce="n" * 16)
    assert house.checks.capture_window < NONCE_MEMORY
    house.pass_time(seconds=NONCE_MEMORY.total_seconds())
    assert house.retention.purge().nonces == 0
    house.pass_time(seconds=1)
    assert house.retention.purge().nonces == 1


def test_a_hindered_scrubber_does_not_stop_the_purge(house: House, enrolled: Enrolled) -> None:
    house.scrubber.hindered = True
    house.clock.time = epoch_end(enrolled.record.epoch)
    assert house.retention.purge() == Purged(1, 1, 0)


# Destroying keys


def test_the_keys_of_an_epoch_go_at_its_end_and_not_before(house: House, enrolled: Enrolled) -> None:
    epoch = enrolled.record.epoch
    house.clock.time = epoch_end(epoch) - timedelta(microseconds=1)
    assert house.retention.purge().epochs == 0
    assert epoch in house.keys.keys
    house.clock.time = epoch_end(epoch)
    assert house.retention.purge().epochs == 1
    assert epoch in house.keys.destroyed
    [event] = house.events(EventKind.EPOCH_DESTROYED)
    assert (event.epoch, event.subject, event.time) == (epoch, None, house.clock.now())
    assert house.keys.ended_epochs(house.clock.now()) == []


def test_every_template_is_gone_and_logged_before_its_key_is(house: House, enrolled: Enrolled) -> None:
    house.clock.time = epoch_end(enrolled.record.epoch)
    house.retention.purge()
    kinds = [event.kind for event in house.tables.events]
    assert kinds == [EventKind.ENROLLED, EventKind.EXPIRED, EventKind.EPOCH_DESTROYED]
    calls = house.journal.calls
    assert calls.index("enrollments.delete_many") < calls.index("keys.destroy_epoch")


def test_the_log_tells_of_a_destruction_only_once_it_has_happened(house: House, enrolled: Enrolled) -> None:
    house.clock.time = epoch_end(enrolled.record.epoch)
    house.retention.purge()
    calls = house.journal.calls
    at = calls.index("keys.destroy_epoch")
    assert calls[at - 1 : at + 4] == [
        *("audit.append", "keys.destroy_epoch", "unit.commit", "unit.end", "keys.confirm_destroyed"),
    ]


def test_a_backup_put_back_after_the_epoch_opens_nothing(house: House, enrolled: Enrolled) -> None:
    backup = dict(house.tables.enrollments)
    house.clock.time = epoch_end(enrolled.record.epoch)
    house.retention.purge()
    house.tables.enrollments = backup
    with pytest.raises(SealBroken):
        house.retention.sealer.open_with_token(backup[enrolled.record.id], enrolled.token)
    assert house.answer(1, enrolled.token) == ("deny", "not_enrolled")
    assert house.retention.purge().templates == 1


@pytest.mark.parametrize("seam", ["audit.append", "keys.destroy_epoch", "unit.commit", "keys.confirm_destroyed"])
def test_a_crash_on_the_way_leaves_no_destruction_unlogged(house: House, enrolled: Enrolled, seam: str) -> None:
    epoch = enrolled.record.epoch
    house.retention.withdraw(enrolled.record.id)
    house.clock.time = epoch_end(epoch)

    def crash() -> None:
        house.journal.broken = {seam}

    house.journal.when["keys.ended_epochs"] = crash  # the purge of templates is through
    with pytest.raises(BrokenSeamError):
        house.retention.purge()
    assert house.keys.ended_epochs(house.clock.now()) == [epoch], "it is still to be done or to be confirmed"
    house.journal.broken = set()
    house.retention.purge()
    assert epoch not in house.keys.keys
    assert house.keys.ended_epochs(house.clock.now()) == []
    assert house.events(EventKind.EPOCH_DESTROYED)


def test_what_another_purger_has_destroyed_is_not_logged_twice(house: House, enrolled: Enrolled) -> None:
    house.retention.withdraw(enrolled.record.id)
    house.clock.time = epoch_end(enrolled.record.epoch)

    def other_purger() -> None:
        house.retention.purge()

    begins = 0

    def at_second_begin() -> None:  # the first looks for expired templates, the second destroys
        nonlocal begins
        begins += 1
        if begins == 2:
            other_purger()
        else:
            house.journal.when["unit.begin"] = at_second_begin

    house.journal.when["unit.begin"] = at_second_begin
    house.retention.purge()
    assert begins == 2
    assert len(house.events(EventKind.EPOCH_DESTROYED)) == 1


# Moving


def test_a_delay_seals_anew_for_a_later_expiry(house: House, enrolled: Enrolled) -> None:
    later = DEPARTURE + timedelta(hours=5)
    old = house.record(enrolled)
    moved = house.retention.move(enrolled.token, departs_at=later)
    assert house.record(enrolled) == moved
    assert (moved.departs_at, moved.expires_at) == (later, later + timedelta(hours=24))
    assert moved.epoch == epoch_of(moved.expires_at) != old.epoch
    assert moved.sealed.for_holder != old.sealed.for_holder
    assert replace(moved, departs_at=old.departs_at, expires_at=old.expires_at, sealed=old.sealed) == old
    house.clock.time = old.expires_at + timedelta(hours=1)
    assert house.answer(1, enrolled.token) == ("admit", "matched")


def test_a_move_is_logged_under_both_epochs(house: House, enrolled: Enrolled) -> None:
    moved = house.retention.move(enrolled.token, departs_at=DEPARTURE + timedelta(hours=5))
    [out], [into] = house.events(EventKind.MOVED_OUT), house.events(EventKind.MOVED_IN)
    assert (out.epoch, out.expires_at) == (enrolled.record.epoch, None)
    assert (into.epoch, into.expires_at) == (moved.epoch, moved.expires_at)
    assert out.subject == into.subject == enrolled.record.id
    assert [event.kind for event in house.tables.events[-2:]] == [EventKind.MOVED_OUT, EventKind.MOVED_IN]


def test_the_old_epochs_end_no_longer_matters_after_a_move(house: House, enrolled: Enrolled) -> None:
    house.retention.move(enrolled.token, departs_at=DEPARTURE + timedelta(hours=5))
    house.clock.time = epoch_end(enrolled.record.epoch)
    assert house.retention.purge() == Purged(templates=0, epochs=1, nonces=0)
    assert house.answer(1, enrolled.token) == ("admit", "matched")


def test_a_cancelled_journey_leaves_a_day_from_enrollment(house: House, enrolled: Enrolled) -> None:
    moved = house.retention.move(enrolled.token, departs_at=None)
    assert (moved.departs_at, moved.expires_at) == (None, NOON + timedelta(hours=24))
    assert not house.gallery.rows, "there is no departure that it could walk through to"


def test_a_journey_cancelled_too_late_is_over(house: House, enrolled: Enrolled) -> None:
    before = house.record(enrolled)
    house.clock.time = NOON + timedelta(hours=24)
    with pytest.raises(Conflict) as caught:
        house.retention.move(enrolled.token, departs_at=None)
    assert caught.value.code == "journey_over"
    assert house.record(enrolled) == before


@pytest.mark.parametrize("departs_at", [NOON, NOON - timedelta(seconds=1), NOON + LONGEST_NOTICE])
def test_nobody_moves_to_the_past_or_too_far_ahead(house: House, enrolled: Enrolled, departs_at: datetime) -> None:
    with pytest.raises(MalformedInput) as caught:
        house.retention.move(enrolled.token, departs_at=departs_at)
    assert caught.value.code == "departure_out_of_range"
    assert house.record(enrolled) == enrolled.record


def test_what_has_expired_cannot_be_revived(house: House, enrolled: Enrolled) -> None:
    house.clock.time = enrolled.record.expires_at
    with pytest.raises(NotFound):
        house.retention.move(enrolled.token, departs_at=house.clock.now() + timedelta(hours=1))


def test_waiting_for_the_lock_does_not_revive_what_has_expired(house: House, enrolled: Enrolled) -> None:
    expiry = enrolled.record.expires_at
    house.clock.time = expiry - timedelta(seconds=1)
    house.journal.when["unit.begin"] = lambda: house.pass_time(seconds=1)
    with pytest.raises(NotFound):
        house.retention.move(enrolled.token, departs_at=expiry + timedelta(hours=1))


def test_a_move_needs_the_travellers_share(house: House, enrolled: Enrolled) -> None:
    with pytest.raises(SealBroken):
        house.retention.move(TravelToken.new(enrolled.record.id), departs_at=DEPARTURE + timedelta(hours=1))
    with pytest.raises(NotFound):
        house.retention.move(TravelToken.new("0" * 32), departs_at=DEPARTURE + timedelta(hours=1))
    assert house.record(enrolled) == enrolled.record


@pytest.mark.parametrize(
    "seam",
    [
        *("unit.begin", "enrollments.get", "sealer.open_with_token", "sealer.seal", "enrollments.replace"),
        *("audit.append", "unit.commit"),
    ],
)
def test_a_move_that_breaks_has_not_happened(house: House, enrolled: Enrolled, seam: str) -> None:
    house.journal.broken = {seam}
    with pytest.raises(BrokenSeamError):
        house.retention.move(enrolled.token, departs_at=DEPARTURE + timedelta(hours=5))
    assert house.record(enrolled) == enrolled.record
    assert [event.kind for event in house.tables.events] == [EventKind.ENROLLED]
    assert not any(template.vector.any() for template in house.journal.templates)


def test_a_move_out_of_the_window_leaves_the_gallery_until_the_day(house: House, enrolled: Enrolled) -> None:
    later = NOON + WINDOW + timedelta(hours=10)
    house.retention.move(enrolled.token, departs_at=later)
    assert not house.gallery.rows
    house.clock.time = later - WINDOW
    assert house.retention.synchronize_gallery() == 1
    assert house.answer(1) == ("admit", "matched")


def test_a_claimed_template_stays_out_of_reach_of_the_gallery_after_a_move(house: House) -> None:
    enrolled = house.enroll(purposes=[Purpose.ENTRY])
    moved = house.retention.move(enrolled.token, departs_at=DEPARTURE + timedelta(hours=1))
    assert moved.sealed.for_gallery is None


def test_a_lock_out_is_not_shaken_off_by_a_move(house: House, enrolled: Enrolled) -> None:
    for _ in range(5):
        house.check(2, enrolled.token)
    house.retention.move(enrolled.token, departs_at=DEPARTURE + timedelta(hours=1))
    assert house.answer(1, enrolled.token) == ("refer", "locked_out")


def test_a_move_scrubs_the_old_ciphertext(house: House, enrolled: Enrolled) -> None:
    house.retention.move(enrolled.token, departs_at=DEPARTURE + timedelta(hours=1))
    assert house.journal.calls[-1] == "scrubber.scrub"


# Reviewing


def test_an_officer_clears_a_suspicion_once(house: House, enrolled: Enrolled) -> None:
    suspect = house.enroll(1, flight="AI302")
    house.retention.withdraw(enrolled.record.id)
    assert house.answer(1, suspect.token) == ("refer", "duplicate_suspected")
    house.retention.review(suspect.record.id, cleared=True)
    assert house.answer(1, suspect.token) == ("admit", "matched")
    [event] = house.events(EventKind.REVIEWED)
    assert (event.reason, event.subject) == ("duplicate_cleared", suspect.record.id)
    with pytest.raises(Conflict) as caught:
        house.retention.review(suspect.record.id, cleared=False)
    assert caught.value.code == "nothing_to_review"


def test_a_confirmed_suspicion_stays(house: House, enrolled: Enrolled) -> None:
    suspect = house.enroll(1)
    house.retention.review(suspect.record.id, cleared=False)
    assert house.events(EventKind.REVIEWED)[0].reason == "duplicate_confirmed"
    assert house.answer(1, suspect.token) == ("refer", "duplicate_suspected")


def test_there_is_nothing_to_review_of_nobody(house: House, enrolled: Enrolled) -> None:
    house.change(enrolled, duplicate_suspected=True)
    with pytest.raises(NotFound):
        house.retention.review("0" * 32, cleared=True)
    house.clock.time = enrolled.record.expires_at
    with pytest.raises(NotFound):
        house.retention.review(enrolled.record.id, cleared=True)


# The gallery


def test_a_restart_rebuilds_the_gallery_from_ciphertext(house: House, enrolled: Enrolled) -> None:
    house.enroll(2, purposes=[Purpose.ENTRY])
    house.enroll(3, departs_at=NOON + timedelta(days=2))
    before = {i: (flight, vector.copy()) for i, (flight, vector) in house.gallery.rows.items()}
    house.gallery.rows.clear()
    assert house.retention.synchronize_gallery() == 1
    assert house.gallery.rows.keys() == before.keys() == {enrolled.record.id}
    flight, vector = house.gallery.rows[enrolled.record.id]
    assert flight == before[enrolled.record.id][0]
    assert (vector == before[enrolled.record.id][1]).all()
    assert not any(template.vector.any() for template in house.journal.templates)


def test_what_the_database_no_longer_wants_leaves_memory(house: House, enrolled: Enrolled) -> None:
    del house.tables.enrollments[enrolled.record.id]
    assert house.retention.synchronize_gallery() == 0
    assert not house.gallery.rows


def test_a_synchronized_gallery_is_left_alone(house: House, enrolled: Enrolled) -> None:
    assert house.retention.synchronize_gallery() == 1
    assert not {"sealer.open_for_gallery", "gallery.add", "gallery.remove"} & set(house.journal.calls)


def test_who_enrolls_while_the_database_is_read_stays(house: House, enrolled: Enrolled) -> None:
    newcomers: list[Enrolled] = []
    house.journal.when["enrollments.walk_through"] = lambda: newcomers.append(house.enroll(2))
    house.retention.synchronize_gallery()
    assert house.gallery.rows.keys() == {enrolled.record.id, newcomers[0].record.id}


def destroy_its_key(house: House, enrolled: Enrolled) -> None:
    house.keys.destroy_epoch(enrolled.record.epoch)


def tamper_with_its_row(house: House, enrolled: Enrolled) -> None:
    house.change(enrolled, sealed=replace(enrolled.record.sealed, for_gallery=b"\0" * 32))


@pytest.mark.parametrize("spoil", [destroy_its_key, tamper_with_its_row])
def test_one_row_that_does_not_open_keeps_nobody_else_out(
    house: House, enrolled: Enrolled, spoil: Callable[[House, Enrolled], None]
) -> None:
    other = house.enroll(2, departs_at=DEPARTURE + timedelta(hours=2))
    assert other.record.epoch != enrolled.record.epoch
    house.gallery.rows.clear()
    spoil(house, enrolled)
    assert house.retention.synchronize_gallery() == 1
    assert house.gallery.rows.keys() == {other.record.id}


def test_templates_of_another_network_never_enter_the_gallery(house: House, enrolled: Enrolled) -> None:
    other = house.enroll(2)
    house.change(enrolled, model_digest="a" * 64)
    house.gallery.rows.clear()  # the process ended, and began again with another network
    house.journal.calls.clear()
    assert house.retention.synchronize_gallery() == 1
    assert house.gallery.rows.keys() == {other.record.id}
    assert house.journal.calls.count("sealer.open_for_gallery") == 1, "it was not even opened"
    assert house.answer(1) == ("deny", "not_matched")
    assert house.answer(1, enrolled.token) == ("refer", "enrolled_with_other_model")


def test_templates_of_another_network_leave_a_gallery_that_has_them(house: House, enrolled: Enrolled) -> None:
    house.change(enrolled, model_digest="a" * 64)
    assert house.retention.synchronize_gallery() == 0
    assert not house.gallery.rows


def test_without_a_network_no_template_enters_a_gallery(house: House, enrolled: Enrolled) -> None:
    house.gallery.rows.clear()
    assert replace(house.retention, model_digest=None).synchronize_gallery() == 0
    assert not house.gallery.rows


def test_a_move_keeps_the_digest_of_the_network_that_made_the_template(house: House, enrolled: Enrolled) -> None:
    house.change(enrolled, departs_at=DEPARTURE)
    moved = house.retention.move(enrolled.token, departs_at=DEPARTURE + timedelta(hours=1))
    assert moved.model_digest == enrolled.record.model_digest
