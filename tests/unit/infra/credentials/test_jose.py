"""JOSE with one algorithm: what is not exactly ours is refused, and what was secret is overwritten."""

from __future__ import annotations

import json

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from biometrics.errors import MalformedInput, NotPermitted, SealBroken
from infra.credentials.jose import PublicKey, _overwrite, compact, decode, decrypt, encode, encrypt, sign, verify

KEY = Ed25519PrivateKey.from_private_bytes(b"\x01" * 32)
PUBLIC = PublicKey("0a0b0c0d", KEY.public_key())
GATE = X25519PrivateKey.from_private_bytes(b"\x02" * 32)


def test_what_was_signed_verifies() -> None:
    token = sign({"a": 1}, KEY, kid="0a0b0c0d", typ="x+jwt")
    assert json.loads(verify(token, PUBLIC, typ="x+jwt")) == {"a": 1}


@pytest.mark.parametrize(
    "header",
    [
        {"alg": "none", "typ": "x+jwt", "kid": "0a0b0c0d"},
        {"alg": "HS256", "typ": "x+jwt", "kid": "0a0b0c0d"},
        {"alg": "Ed25519", "typ": "y+jwt", "kid": "0a0b0c0d"},
        {"alg": "Ed25519", "typ": "x+jwt", "kid": "ffffffff"},
        {"alg": "Ed25519", "typ": "x+jwt", "kid": "0a0b0c0d", "jwk": PUBLIC.jwk()},
        {"alg": "Ed25519", "typ": "x+jwt", "kid": "0a0b0c0d", "crit": ["b64"], "b64": False},
    ],
)
def test_nobody_chooses_the_header_for_us(header: dict[str, object]) -> None:
    signed = f"{encode(compact(header))}.{encode(b'{}')}"  # type: ignore[arg-type]
    token = f"{signed}.{encode(KEY.sign(signed.encode()))}"
    with pytest.raises(NotPermitted):
        verify(token, PUBLIC, typ="x+jwt")


def test_a_jwk_reads_as_the_key() -> None:
    assert PublicKey.of_jwk(PUBLIC.jwk()).key.public_bytes_raw() == PUBLIC.key.public_bytes_raw()


@pytest.mark.parametrize("change", [{"kty": "EC"}, {"crv": "X25519"}, {"x": "AA"}, {"x": 1}, {"kid": None}])
def test_another_jwk_is_refused(change: dict[str, object]) -> None:
    with pytest.raises(MalformedInput):
        PublicKey.of_jwk(PUBLIC.jwk() | change)  # type: ignore[arg-type]


@given(st.binary(max_size=40))
def test_base64url_has_one_spelling(data: bytes) -> None:
    text = encode(data)
    assert decode(text) == data
    if len(data) % 3:
        alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
        with pytest.raises(ValueError, match="canonical"):
            decode(text[:-1] + alphabet[alphabet.index(text[-1]) | 1])


def test_encryption_is_fresh_and_opens_with_its_key_only() -> None:
    one, other = (encrypt(bytearray(b"template"), GATE.public_key()) for _ in range(2))
    assert one != other
    assert decrypt(one, GATE) == b"template"
    with pytest.raises(SealBroken):
        decrypt(one, X25519PrivateKey.generate())


@given(st.text("AZaz09-_.", max_size=80))
def test_what_is_no_ciphertext_is_a_broken_seal(text: str) -> None:
    with pytest.raises(SealBroken):
        decrypt(text, GATE)


@given(st.integers(0, 200), st.sampled_from("AQgw5_-."))
def test_a_changed_ciphertext_is_a_broken_seal(at: int, character: str) -> None:
    token = encrypt(bytearray(b"template"), GATE.public_key())
    at %= len(token)
    if token[at] == character:
        return
    with pytest.raises(SealBroken):
        decrypt(token[:at] + character + token[at + 1 :], GATE)


def test_secrets_are_overwritten_in_place() -> None:
    secret = bytes(bytearray(range(64)))
    _overwrite(secret)
    assert secret == bytes(64)


def test_what_the_caller_gave_is_left_to_the_caller() -> None:
    plain = bytearray(b"template")
    encrypt(plain, GATE.public_key())
    assert plain == b"template"
