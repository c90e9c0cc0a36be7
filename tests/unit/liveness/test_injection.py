"""Signed captures: the format, its golden vectors, and when a gate turns one away."""

from __future__ import annotations

import base64
import hashlib
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from biometrics.errors import MalformedInput, NotPermitted
from biometrics.records import DeviceKey, Gate, Purpose
from infra.capture_signing import DeviceSigner, Ed25519Verifier
from liveness.injection import CaptureClaim, CaptureSignature, SessionFramesClaim, base64url, demand_signature
from tests.factories import NOON
from tests.fakes import FakeDeviceKeyStore

VECTORS = Path(__file__).resolve().parents[2] / "vectors" / "capture"
VERIFIER = Ed25519Verifier()
GATE = Gate("entry", Purpose.ENTRY, signed_captures=True)

claims = st.builds(
    CaptureClaim,
    st.text(min_size=1, max_size=40),
    st.from_regex(r"[A-Za-z0-9_-]{16,64}", fullmatch=True),
    st.datetimes(datetime(1900, 1, 1), datetime(2200, 1, 1), timezones=st.just(UTC)),
    st.lists(st.binary(min_size=32, max_size=32), min_size=1, max_size=8).map(tuple),
)


def cases(name: str) -> list[dict]:
    return json.loads((VECTORS / name).read_text())["cases"]


def claim_of(case: dict) -> CaptureClaim:
    digests = tuple(hashlib.sha256(bytes.fromhex(image)).digest() for image in case["images"])
    return CaptureClaim(case["gate_id"], case["nonce"], datetime.fromisoformat(case["captured_at"]), digests)


def public_of(case: dict) -> bytes:
    return base64.urlsafe_b64decode(case["public_key"] + "=")


def make_claim(*digests: bytes, gate: str = "entry", nonce: str = "n" * 16) -> CaptureClaim:
    return CaptureClaim(gate, nonce, NOON, digests or (bytes(32),))


def store(*keys: DeviceKey) -> FakeDeviceKeyStore:
    return FakeDeviceKeyStore({key.id: key for key in keys})


def registered(signer: DeviceSigner, gate: str = "entry", revoked_at: datetime | None = None) -> DeviceKey:
    return DeviceKey(DeviceKey.id_of(signer.public), gate, signer.public, NOON, revoked_at)


@pytest.mark.parametrize("case", cases("sign.json"), ids=lambda case: case["name"])
def test_golden_vectors_verify(case: dict) -> None:
    claim = claim_of(case)
    assert claim.payload.hex() == case["payload"]
    assert DeviceKey.id_of(public_of(case)) == case["key_id"]
    signature = CaptureSignature.parse(case["key_id"], case["signature"])
    assert VERIFIER.valid(public_of(case), claim.payload, signature.value)


@pytest.mark.parametrize("case", cases("invalid.json"), ids=lambda case: case["name"])
def test_changed_captures_do_not_verify(case: dict) -> None:
    signature = CaptureSignature.parse(case["key_id"], case["signature"])
    assert not VERIFIER.valid(public_of(case), claim_of(case).payload, signature.value)


@given(claims, claims)
def test_two_claims_never_have_the_same_bytes(one: CaptureClaim, other: CaptureClaim) -> None:
    assert (one.payload == other.payload) == (one == other)


@given(claims)
def test_the_bytes_can_be_read_back(claim: CaptureClaim) -> None:
    fields, rest = [], claim.payload
    while rest:
        size = int.from_bytes(rest[:4], "big")
        fields.append(rest[4 : 4 + size])
        rest = rest[4 + size :]
    label, gate, nonce, at, *digests = fields
    assert (label, gate.decode(), nonce.decode()) == (b"dwarpal/capture/v1", claim.gate_id, claim.nonce)
    microseconds = timedelta(microseconds=int.from_bytes(at, "big", signed=True))
    assert datetime(1970, 1, 1, tzinfo=UTC) + microseconds == claim.captured_at
    assert tuple(digests) == claim.digests


frames = st.tuples(
    st.from_regex(r"[0-9a-f]{8}", fullmatch=True),
    st.datetimes(datetime(1900, 1, 1), datetime(2200, 1, 1), timezones=st.just(UTC)),
    st.binary(min_size=32, max_size=32),
)
session_claims = st.builds(
    SessionFramesClaim,
    st.text(min_size=1, max_size=40),
    st.from_regex(r"[0-9a-f]{8}", fullmatch=True),
    st.lists(frames, min_size=1, max_size=8).map(tuple),
)


@given(session_claims, session_claims, claims)
def test_no_two_calls_of_a_session_and_no_check_have_the_same_bytes(
    one: SessionFramesClaim, other: SessionFramesClaim, check: CaptureClaim
) -> None:
    assert (one.payload == other.payload) == (one == other)
    assert one.payload != check.payload


@given(st.binary(max_size=80))
def test_a_signature_has_one_spelling(content: bytes) -> None:
    text = base64url(content)
    if len(content) == 64:
        assert CaptureSignature.parse("0" * 32, text).value == content
    else:
        with pytest.raises(MalformedInput):
            CaptureSignature.parse("0" * 32, text)


@pytest.mark.parametrize("text", ["", "A" * 85 + "B", "A" * 85 + "=", "A" * 85 + "+", "ü" * 86, "A" * 86 + "=="])
def test_other_spellings_of_a_signature_are_malformed(text: str) -> None:
    with pytest.raises(MalformedInput):
        CaptureSignature.parse("0" * 32, text)


def test_a_signed_capture_passes() -> None:
    signer = DeviceSigner.new()
    demand_signature(GATE, make_claim(), signer.sign(make_claim()), store(registered(signer)), VERIFIER)


def test_an_unsigned_capture_passes_only_where_the_policy_lets_it() -> None:
    demand_signature(Gate("entry", Purpose.ENTRY), make_claim(), None, store(), VERIFIER)
    with pytest.raises(NotPermitted) as refused:
        demand_signature(GATE, make_claim(), None, store(), VERIFIER)
    assert refused.value.code == "signature_required"


@pytest.mark.parametrize("policy", [True, False])
def test_a_wrong_signature_is_refused_whatever_the_policy_and_never_says_why(policy: bool) -> None:
    mine, theirs = DeviceSigner.new(), DeviceSigner.new()
    claim, gate = make_claim(bytes(32), b"\x01" * 32), Gate("entry", Purpose.ENTRY, signed_captures=policy)
    attempts = {
        "changed": (make_claim(b"\x02" * 32, b"\x01" * 32), mine.sign(claim), store(registered(mine))),
        "swapped": (make_claim(b"\x01" * 32, bytes(32)), mine.sign(claim), store(registered(mine))),
        "other nonce": (make_claim(*claim.digests, nonce="m" * 16), mine.sign(claim), store(registered(mine))),
        "unknown key": (claim, mine.sign(claim), store(registered(theirs))),
        "other gate's key": (claim, mine.sign(claim), store(registered(mine, "boarding"))),
        "revoked": (claim, mine.sign(claim), store(registered(mine, revoked_at=NOON))),
        "not its key": (
            claim,
            CaptureSignature(DeviceKey.id_of(mine.public), theirs.sign(claim).value),
            store(registered(mine)),
        ),
    }
    told = set()
    for sent, signature, devices in attempts.values():
        with pytest.raises(NotPermitted) as refused:
            demand_signature(gate, sent, signature, devices, VERIFIER)
        told.add((refused.value.code, refused.value.detail))
    assert len(told) == 1
    assert told.pop()[0] == "signature_invalid"


def test_a_signature_is_silent_when_printed() -> None:
    signature = DeviceSigner.new().sign(make_claim())
    assert repr(signature.value) not in repr(signature)
