"""Retention's arithmetic and the travel token."""

from __future__ import annotations

import base64
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from biometrics.errors import MalformedInput
from biometrics.records import (
    EPOCH,
    GATE_PURPOSES,
    RETENTION,
    AuditEvent,
    KeyRotation,
    Purpose,
    SealedTemplate,
    TravelToken,
    epoch_end,
    epoch_of,
    latest_expiry,
    new_id,
)
from tests.factories import make_enrollment

times = st.datetimes(datetime(1990, 1, 1), datetime(2190, 1, 1), timezones=st.just(UTC))
tokens = st.builds(TravelToken, st.binary(min_size=16, max_size=16).map(bytes.hex), st.binary(min_size=32, max_size=32))
SEALED = SealedTemplate(b"", b"")


@given(times, st.none() | times)
def test_no_template_outlives_the_later_of_enrollment_and_departure_by_more_than_a_day(
    enrolled_at: datetime, departs_at: datetime | None
) -> None:
    expires_at = latest_expiry(enrolled_at, departs_at)
    assert expires_at == max(enrolled_at, departs_at or enrolled_at) + timedelta(hours=24)
    assert expires_at > enrolled_at


@given(times, times, times)
def test_a_later_departure_never_expires_earlier(enrolled_at: datetime, a: datetime, b: datetime) -> None:
    assert latest_expiry(enrolled_at, min(a, b)) <= latest_expiry(enrolled_at, max(a, b))
    assert latest_expiry(enrolled_at, None) <= latest_expiry(enrolled_at, a)


@given(times)
def test_every_moment_lies_in_exactly_its_epoch(at: datetime) -> None:
    epoch = epoch_of(at)
    assert epoch_end(epoch) - EPOCH <= at < epoch_end(epoch)
    assert epoch_of(epoch_end(epoch)) == epoch + 1
    assert epoch_end(epoch) == epoch_end(epoch + 1) - EPOCH


@given(times)
def test_a_key_outlives_its_templates_by_less_than_an_hour_or_not_at_all(expires_at: datetime) -> None:
    assert timedelta(0) < epoch_end(epoch_of(expires_at)) - expires_at <= timedelta(hours=1)


@given(times, st.integers(-14 * 60, 14 * 60))
def test_an_epoch_does_not_depend_on_the_time_zone(at: datetime, minutes: int) -> None:
    assert epoch_of(at.astimezone(timezone(timedelta(minutes=minutes)))) == epoch_of(at)


def test_a_record_knows_its_epoch() -> None:
    record = make_enrollment(TravelToken.new(new_id()), SEALED)
    assert record.epoch == epoch_of(record.expires_at)
    assert record.expires_at - record.enrolled_at == RETENTION


def test_walk_through_is_a_purpose_but_no_gates() -> None:
    assert set(Purpose) - GATE_PURPOSES == {Purpose.WALK_THROUGH}


def test_ids_are_random_and_128_bits_long() -> None:
    ids = {new_id() for _ in range(1000)}
    assert len(ids) == 1000
    assert all(len(bytes.fromhex(i)) == 16 and i == i.lower() for i in ids)


# The travel token


@given(tokens)
def test_a_token_survives_print_and_parse(token: TravelToken) -> None:
    assert TravelToken.parse(token.text) == token
    assert TravelToken.parse(f" {token.text}\r\n") == token
    assert len(token.text) == 71
    assert len(token.text) <= 200, "the limit of the schemas"


@given(tokens, st.integers(0, 70), st.characters(max_codepoint=0x2FFF))
def test_one_token_has_one_spelling(token: TravelToken, place: int, character: str) -> None:
    changed = token.text[:place] + character + token.text[place + 1 :]
    assume(changed.strip() != token.text)
    try:
        assert TravelToken.parse(changed) != token
    except MalformedInput as error:
        assert error.code == "malformed_token"


shaped = st.lists(st.text("AZaz09-_+/=. \n", max_size=50), min_size=2, max_size=2).map(lambda p: f"DWP1.{p[0]}.{p[1]}")
wrong_lengths = st.tuples(st.binary(max_size=40), st.binary(max_size=40)).map(
    lambda parts: ".".join(("DWP1", *(base64.urlsafe_b64encode(p).rstrip(b"=").decode() for p in parts)))
)


@given(st.text(max_size=300) | shaped | wrong_lengths)
def test_anything_else_is_malformed_and_nothing_else_is_raised(text: str) -> None:
    try:
        token = TravelToken.parse(text)
    except MalformedInput as error:
        assert error.code == "malformed_token"
        assert error.detail == "This is not a travel token."
    else:
        assert token.text == text.strip()


def test_padding_is_another_spelling() -> None:
    token = TravelToken("0" * 32, bytes(32))
    with pytest.raises(MalformedInput):
        TravelToken.parse(token.text + "=")


def test_a_new_token_has_a_new_share_and_says_nothing_of_it() -> None:
    first, second = TravelToken.new("0" * 32), TravelToken.new("0" * 32)
    assert first.share != second.share
    assert len(first.share) == 32
    assert repr(first) == f"TravelToken(enrollment_id='{'0' * 32}')"
    assert first.share not in first.verifier


@given(tokens, tokens)
def test_only_its_own_token_opens_a_record(token: TravelToken, other: TravelToken) -> None:
    record = make_enrollment(token, SEALED)
    assert token.opens(record)
    assert other.opens(record) == (other.share == token.share)


def test_nothing_sealed_is_printed() -> None:
    token = TravelToken.new("0" * 32)
    text = repr(make_enrollment(token, SealedTemplate(b"ENVELOPE", b"HOLDER", b"GALLERY")))
    for secret in ("ENVELOPE", "HOLDER", "GALLERY", repr(token.verifier)):
        assert secret not in text


def test_the_log_has_no_field_for_a_score_an_image_or_a_name() -> None:
    assert set(AuditEvent.__dataclass_fields__) == {
        *("kind", "time", "event_id", "policy_version", "subject", "epoch", "gate_id"),
        *("purpose", "decision", "reason", "expires_at", "count", "rotation", "check_id", "pseudonym"),
    }
    assert set(KeyRotation.__dataclass_fields__) == {"old_key", "new_key", "old_pq_key", "new_pq_key"}
