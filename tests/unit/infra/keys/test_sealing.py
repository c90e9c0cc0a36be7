"""Sealing: the golden vectors, and that no two things which do not belong together open."""

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from biometrics.errors import KeyDestroyed, SealBroken
from biometrics.records import EPOCH, EnrollmentRecord, SealedTemplate, TravelToken, epoch_end, epoch_of
from biometrics.types import Template
from infra.keys.sealing import EnvelopeSealer
from tests.factories import NOON, make_enrollment, make_template
from tests.fakes import FakeKeyStore

SITE = "airport.example"
MODEL = "cd" * 32
VECTORS = Path(__file__).parents[3] / "vectors" / "seal"
FIELDS = ("envelope", "for_holder", "for_gallery")


def cases(file: str) -> list[dict[str, object]]:
    found: list[dict[str, object]] = json.loads((VECTORS / file).read_text())["cases"]
    return found


def from_vector(case: dict[str, object]) -> tuple[EnvelopeSealer, EnrollmentRecord, TravelToken]:
    keys, epoch = FakeKeyStore(), int(str(case["epoch"]))
    keys.keys[epoch] = (bytes.fromhex(str(case["epoch_key"])), bytes(32))
    token = TravelToken(str(case["subject"]), bytes.fromhex(str(case["share"])))
    sealed = SealedTemplate(*(None if case[f] is None else bytes.fromhex(str(case[f])) for f in FIELDS))
    end = epoch_end(epoch) - EPOCH / 2
    record = make_enrollment(token, sealed, enrolled_at=end, expires_at=end, model_digest=str(case["model_digest"]))
    return EnvelopeSealer(keys, str(case["site"])), record, token


@pytest.mark.parametrize("case", cases("generate.json"), ids=lambda case: case["name"])
def test_generate_vectors(case: dict[str, object]) -> None:
    sealer, _, token = from_vector(case)
    values = iter([str(case["data_key"]), *case["nonces"]])
    sealer = EnvelopeSealer(sealer._keys, str(case["site"]), random=lambda size: bytes.fromhex(next(values)))
    template = Template(np.frombuffer(bytes.fromhex(str(case["template"])), "<f2").astype(np.float32))
    sealed = sealer.seal(
        template,
        token=token,
        epoch=int(str(case["epoch"])),
        model_digest=str(case["model_digest"]),
        for_gallery=case["for_gallery"] is not None,
    )
    assert [part and part.hex() for part in (sealed.envelope, sealed.for_holder, sealed.for_gallery)] == [
        case[field] for field in FIELDS
    ]


@pytest.mark.parametrize("case", cases("verify.json") + cases("generate.json"), ids=lambda case: case["name"])
def test_verify_vectors(case: dict[str, object]) -> None:
    sealer, record, token = from_vector(case)
    expected = np.frombuffer(bytes.fromhex(str(case["template"])), "<f2").astype(np.float32)
    opened = [sealer.open_with_token(record, token)]
    if record.sealed.for_gallery is not None:
        opened.append(sealer.open_for_gallery(record))
    for template in opened:
        np.testing.assert_allclose(template.vector, expected / np.linalg.norm(expected), atol=1e-7)
        assert abs(np.linalg.norm(template.vector) - 1) < 1e-6


@pytest.mark.privacy_row("sealed_record")
@pytest.mark.parametrize("case", cases("invalid.json"), ids=lambda case: case["why"])
def test_invalid_vectors(case: dict[str, object]) -> None:
    sealer, record, token = from_vector(case)
    for attempt in (lambda: sealer.open_with_token(record, token), lambda: sealer.open_for_gallery(record)):
        with pytest.raises(SealBroken) as broken:
            attempt()
        assert broken.value.code == "seal_broken"
        assert broken.value.__cause__ is None


@cache
def sealed_pair() -> tuple[FakeKeyStore, EnvelopeSealer, list[tuple[EnrollmentRecord, TravelToken]]]:
    """Two travellers, sealed in the same epoch by the same site."""
    keys = FakeKeyStore()
    sealer = EnvelopeSealer(keys, SITE)
    expires = NOON + timedelta(hours=20)
    travellers = []
    for number in (1, 2):
        token = TravelToken.new(f"{number:032x}")
        sealed = sealer.seal(
            make_template(number), token=token, epoch=epoch_of(expires), model_digest=MODEL, for_gallery=True
        )
        travellers.append((make_enrollment(token, sealed, expires_at=expires, model_digest=MODEL), token))
    return keys, sealer, travellers


def opens(attempt: Callable[[], Template]) -> bool:
    try:
        attempt()
    except SealBroken:
        return False
    return True


def test_round_trip_keeps_the_direction() -> None:
    _, sealer, travellers = sealed_pair()
    for number, (record, token) in enumerate(travellers, start=1):
        original = make_template(number).vector
        for opened in (sealer.open_with_token(record, token), sealer.open_for_gallery(record)):
            assert float(opened.vector @ original) > 0.999999


def test_two_seals_of_one_face_share_nothing() -> None:
    _, sealer, ((record, token), _) = sealed_pair()
    again = sealer.seal(make_template(1), token=token, epoch=record.epoch, model_digest=MODEL, for_gallery=True)
    for field in FIELDS:
        assert getattr(again, field)[1:] != getattr(record.sealed, field)[1:]


@given(st.lists(st.sampled_from(["id", "model_digest", "expires_at", *FIELDS]), min_size=1, max_size=6, unique=True))
def test_swapped_fields_never_open(swapped: list[str]) -> None:
    _, sealer, ((mine, my_token), (theirs, their_token)) = sealed_pair()
    moved = replace(theirs, model_digest="ef" * 32, expires_at=theirs.expires_at - EPOCH)
    mixed = replace(mine, **{field: getattr(moved, field) for field in swapped if field not in FIELDS})
    parts = {field: getattr(theirs.sealed, field) for field in swapped if field in FIELDS}
    mixed = replace(mixed, sealed=replace(mine.sealed, **parts))
    context_kept = mixed.model_digest == MODEL and mixed.epoch == mine.epoch

    def belongs(record: EnrollmentRecord, *read: str) -> bool:
        """Everything that this way of opening reads is of one traveller."""
        same = all(getattr(mixed.sealed, field) == getattr(record.sealed, field) for field in read)
        return context_kept and mixed.id == record.id and same

    for share in (my_token.share, their_token.share):
        owner = mine if share == my_token.share else theirs
        opened = opens(lambda share=share: sealer.open_with_token(mixed, TravelToken(mixed.id, share)))
        assert opened == belongs(owner, "envelope", "for_holder")
    shown = opens(lambda: sealer.open_for_gallery(mixed))
    assert shown == any(belongs(owner, "envelope", "for_gallery") for owner in (mine, theirs))


@given(field=st.sampled_from(FIELDS), at=st.integers(0, 10_000), bit=st.integers(0, 7))
def test_any_flipped_bit_fails(field: str, at: int, bit: int) -> None:
    _, sealer, ((record, token), _) = sealed_pair()
    changed = bytearray(getattr(record.sealed, field))
    changed[at % len(changed)] ^= 1 << bit
    broken = replace(record, sealed=replace(record.sealed, **{field: bytes(changed)}))
    assert opens(lambda: sealer.open_with_token(broken, token)) == (field == "for_gallery")
    assert opens(lambda: sealer.open_for_gallery(broken)) == (field == "for_holder")


@given(st.binary(min_size=32, max_size=32))
def test_without_the_share_nothing_opens(guess: bytes) -> None:
    _, sealer, ((record, token), _) = sealed_pair()
    claimed_only = replace(record, sealed=replace(record.sealed, for_gallery=None))
    assert opens(lambda: sealer.open_with_token(claimed_only, TravelToken(record.id, guess))) == (guess == token.share)
    assert not opens(lambda: sealer.open_for_gallery(claimed_only))


@given(st.binary(max_size=1200), st.binary(max_size=100))
def test_any_bytes_are_only_broken(envelope: bytes, wrapped: bytes) -> None:
    _, sealer, ((record, token), _) = sealed_pair()
    bad = replace(record, sealed=SealedTemplate(envelope, wrapped, wrapped))
    assert not opens(lambda: sealer.open_with_token(bad, token))
    assert not opens(lambda: sealer.open_for_gallery(bad))


def test_yesterdays_backup_does_not_open_after_the_epoch() -> None:
    keys = FakeKeyStore()
    sealer = EnvelopeSealer(keys, SITE)
    token = TravelToken.new("0" * 32)
    backup = make_enrollment(
        token,
        sealer.seal(make_template(), token=token, epoch=epoch_of(NOON) + 24, model_digest=MODEL, for_gallery=True),
    )
    assert opens(lambda: sealer.open_with_token(backup, token))
    keys.destroy_epoch(backup.epoch)
    for attempt in (lambda: sealer.open_with_token(backup, token), lambda: sealer.open_for_gallery(backup)):
        with pytest.raises(KeyDestroyed):
            attempt()
    with pytest.raises(KeyDestroyed):
        sealer.seal(make_template(), token=token, epoch=backup.epoch, model_digest=MODEL, for_gallery=False)


def test_errors_and_repr_are_silent() -> None:
    _, sealer, ((record, token), _) = sealed_pair()
    with pytest.raises(SealBroken) as broken:
        sealer.open_with_token(record, TravelToken(record.id, bytes(32)))
    shown = repr(sealer) + str(broken.value) + repr(broken.value)
    for secret in (record.id, token.share.hex(), record.sealed.envelope.hex(), MODEL):
        assert secret not in shown
