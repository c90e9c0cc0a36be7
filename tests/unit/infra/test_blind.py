"""Comparing under encryption: the same decisions as in the clear, and neither side sees what it should not."""

import contextlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from biometrics.errors import MalformedInput, ModelUnusable, SealBroken
from biometrics.records import EnrollmentRecord, TravelToken, epoch_of, new_id
from biometrics.types import Template
from infra import blind
from infra.blind import SCALE, BlindSide, SeeingSide, least, make_keys, whole
from infra.keys.blind_sealing import BlindSealer, BlindTemplate
from infra.keys.sealing import EnvelopeSealer
from tests.factories import NOON, make_enrollment
from tests.fakes import FakeKeyStore

pytestmark = pytest.mark.skipif(
    not blind.installed(), reason="the extra is not installed: pip install 'dwarpal[blind]'"
)
EPOCH = epoch_of(NOON)
MODEL = "ab" * 32


@pytest.fixture(scope="module")
def keys() -> tuple[bytes, bytes]:
    return make_keys()


@pytest.fixture(scope="module")
def gate(keys: tuple[bytes, bytes]) -> BlindSide:
    return BlindSide(keys[1])


@pytest.fixture(scope="module")
def holder(keys: tuple[bytes, bytes]) -> SeeingSide:
    return SeeingSide(keys[0])


def template(seed: int) -> Template:
    vector = np.random.default_rng(seed).normal(size=512).astype(np.float32)
    return Template(vector / np.linalg.norm(vector))


def near(other: Template, cosine: float, seed: int) -> Template:
    """Return a template at just this cosine."""
    aside = template(seed).vector - (template(seed).vector @ other.vector) * other.vector
    vector = cosine * other.vector + np.sqrt(1 - cosine**2) * aside / np.linalg.norm(aside)
    return Template((vector / np.linalg.norm(vector)).astype(np.float32))


def test_a_thousand_pairs_are_decided_as_in_the_clear(gate: BlindSide, holder: SeeingSide) -> None:
    """Around the threshold, where a difference would show; every encrypted template meets fifty probes."""
    threshold, decided = 0.35, []
    for person in range(20):
        enrolled = template(person)
        encrypted = gate.encrypt(enrolled)
        for number in range(50):
            probe = near(enrolled, threshold + (number - 25) / 5000, 1000 * (person + 1) + number)
            numbers = whole(probe.vector)
            smallest = least(threshold, numbers)
            clear = int(np.dot(whole(enrolled.vector), numbers)) >= smallest
            assert holder.enough(gate.multiply(encrypted, numbers), smallest) == clear
            decided.append(clear)
    assert 300 < sum(decided) < 700


@given(st.integers(0, 2**32 - 1), st.floats(-1, 1))
def test_whole_numbers_fit_below_the_modulus_and_keep_the_cosine(seed: int, cosine: float) -> None:
    one = template(seed)
    other = near(one, cosine, seed + 1)
    product = int(np.dot(whole(one.vector), whole(other.vector)))
    assert abs(product) < blind.PLAIN_MODULUS // 2
    assert abs(product / SCALE**2 - float(one.vector @ other.vector)) < 0.005


def test_no_two_encryptions_are_alike_and_the_gate_can_read_none(keys: tuple[bytes, bytes], gate: BlindSide) -> None:
    one = template(1)
    first, second = gate.encrypt(one), gate.encrypt(one)
    assert first != second
    secret, public = keys
    with pytest.raises(ModelUnusable) as caught:
        SeeingSide(public)
    assert caught.value.code == "blind_no_secret_key"
    with pytest.raises(ModelUnusable) as caught:
        BlindSide(secret)
    assert caught.value.code == "blind_secret_key"
    import tenseal

    with pytest.raises(ValueError, match="secret"):
        tenseal.bfv_vector_from(tenseal.context_from(public), first).decrypt()


@pytest.mark.parametrize("data", [b"", b"x", b"\x00" * 100, bytes(200_000)])
def test_what_is_no_ciphertext_is_refused_or_not_enough(gate: BlindSide, holder: SeeingSide, data: bytes) -> None:
    with contextlib.suppress(SealBroken):
        assert not holder.enough(data, 1)
    with pytest.raises(SealBroken):
        gate.multiply(data, whole(template(1).vector))


def test_keys_that_are_none(keys: tuple[bytes, bytes]) -> None:
    for wrong in (b"", b"nonsense", keys[0][:100]):
        for side in (BlindSide, SeeingSide):
            with pytest.raises(ModelUnusable):
                side(wrong)


def test_without_the_extra_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blind, "tenseal", None)
    with pytest.raises(ModelUnusable, match=r"dwarpal\[blind\]"):
        make_keys()


# --- Sealed


def sealed(sealer: BlindSealer, held: object, token: TravelToken, epoch: int = EPOCH) -> EnrollmentRecord:
    made = sealer.seal(held, token=token, epoch=epoch, model_digest=MODEL, for_gallery=False)  # type: ignore[arg-type]
    return make_enrollment(token, made, model_digest=MODEL, enrolled_at=NOON, expires_at=NOON)


def test_a_sealed_template_is_compared_moved_and_never_seen(gate: BlindSide, holder: SeeingSide) -> None:
    store = FakeKeyStore()
    sealer = BlindSealer(store, "airport.example", gate, holder)
    token, enrolled = TravelToken.new(new_id()), template(3)
    record = sealed(sealer, enrolled, token)
    assert record.sealed.envelope[:1] == b"\x02"
    assert record.sealed.for_gallery is None
    with sealer.open_with_token(record, token) as held:
        assert isinstance(held, BlindTemplate)
        assert repr(held) == "<BlindTemplate>"
        assert held.matches(near(enrolled, 0.6, 9), 0.35)
        assert not held.matches(near(enrolled, 0.1, 9), 0.35)
        moved = sealed(sealer, held, token)
    assert moved.sealed.envelope != record.sealed.envelope
    with sealer.open_with_token(moved, token) as again:
        assert again.encrypted == held.encrypted
        assert again.matches(enrolled, 0.35)
    with pytest.raises(SealBroken):
        sealer.open_with_token(record, TravelToken(token.enrollment_id, bytes(32)))
    with pytest.raises(SealBroken):
        sealer.open_for_gallery(record)
    with pytest.raises(MalformedInput) as caught:
        sealer.seal(enrolled, token=token, epoch=EPOCH, model_digest=MODEL, for_gallery=True)
    assert caught.value.code == "walk_through_not_offered"


def test_the_two_kinds_of_envelope_are_never_taken_for_each_other(gate: BlindSide, holder: SeeingSide) -> None:
    store, token = FakeKeyStore(), TravelToken.new(new_id())
    plain, blindly = EnvelopeSealer(store, "airport.example"), BlindSealer(store, "airport.example", gate, holder)
    made = plain.seal(template(1), token=token, epoch=EPOCH, model_digest=MODEL, for_gallery=False)
    in_the_clear = make_enrollment(token, made, model_digest=MODEL, enrolled_at=NOON, expires_at=NOON)
    with pytest.raises(SealBroken):
        blindly.open_with_token(in_the_clear, token)
    with pytest.raises(SealBroken):
        plain.open_with_token(sealed(blindly, template(1), token), token)
