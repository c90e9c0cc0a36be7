"""Cosignatures: the two formats of C2SP tlog-cosignature, put together here a second time from the specification."""

import base64
import hashlib
from dataclasses import replace

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA44PrivateKey, MLDSA44PublicKey
from hypothesis import given
from hypothesis import strategies as st

from biometrics.errors import LogInconsistent, MalformedInput
from infra.audit.audit_verify import Checkpoint as VerifiersCheckpoint
from infra.audit.audit_verify import VerifierKey
from infra.audit.checkpoint import parse_checkpoint, sign_checkpoint
from infra.audit.cosignature import (
    COSIGNATURE_V1,
    ML_DSA_44,
    NO_TIME,
    CosignerKey,
    cosign,
    cosigner_key,
    parse_cosigner_key,
    parse_cosigner_keys,
    post_quantum_key,
)

SITE = "airport.example"
NAME = "regulator.example/w1"
TIME = 1_772_346_000
CLASSIC = Ed25519PrivateKey.from_private_bytes(b"w" * 32)
LATTICE = MLDSA44PrivateKey.from_seed_bytes(b"w" * 32)
NOTE = sign_checkpoint(SITE, 42, bytes(range(100, 132)), Ed25519PrivateKey.from_private_bytes(bytes(range(32))))
CHECKPOINT = parse_checkpoint(NOTE)
KEYS = [CLASSIC, LATTICE]


def cosigned(key: Ed25519PrivateKey | MLDSA44PrivateKey, time: int = TIME) -> str:
    return NOTE + cosign(CHECKPOINT, NAME, key, time)


def blob_of(note: str) -> bytes:
    return base64.b64decode(note.splitlines()[-1].split(" ")[2])


def test_the_ed25519_message_is_that_of_the_specification() -> None:
    blob = blob_of(cosigned(CLASSIC))
    public = CLASSIC.public_key().public_bytes_raw()
    assert blob[:4] == hashlib.sha256(NAME.encode() + b"\n\x04" + public).digest()[:4]
    assert blob[4:12] == TIME.to_bytes(8, "big")
    text = f"cosignature/v1\ntime {TIME}\n{SITE}\n42\n{base64.b64encode(CHECKPOINT.root).decode()}\n"
    Ed25519PublicKey.from_public_bytes(public).verify(blob[12:], text.encode())


def test_the_ml_dsa_message_is_that_of_the_specification() -> None:
    blob = blob_of(cosigned(LATTICE))
    public = LATTICE.public_key().public_bytes_raw()
    assert blob[:4] == hashlib.sha256(NAME.encode() + b"\n\x06" + public).digest()[:4]
    message = b"subtree/v1\n\0" + bytes([len(NAME)]) + NAME.encode() + TIME.to_bytes(8, "big")
    message += bytes([len(SITE)]) + SITE.encode() + (0).to_bytes(8, "big") + (42).to_bytes(8, "big") + CHECKPOINT.root
    MLDSA44PublicKey.from_public_bytes(public).verify(blob[12:], message)


@pytest.mark.parametrize("key", KEYS, ids=["ed25519", "ml-dsa-44"])
def test_service_and_verifier_agree(key: Ed25519PrivateKey | MLDSA44PrivateKey) -> None:
    public = cosigner_key(NAME, key)
    assert parse_cosigner_key(public.text) == public
    for time in (NO_TIME, TIME, 2**64 - 1):
        note = cosigned(key, time)
        line = parse_checkpoint(note).signatures[-1]
        assert public.verify(line, CHECKPOINT) == time
        pinned = VerifierKey.parse(public.text, (COSIGNATURE_V1, ML_DSA_44))
        assert pinned.signed(VerifiersCheckpoint.parse(note)) == time
        assert pinned.signed(VerifiersCheckpoint.parse(NOTE)) is None


@given(which=st.sampled_from(KEYS), data=st.data())
def test_any_flipped_bit_of_a_cosignature_fails(
    which: Ed25519PrivateKey | MLDSA44PrivateKey, data: st.DataObject
) -> None:
    public, line = cosigner_key(NAME, which), parse_checkpoint(cosigned(which)).signatures[-1]
    raw = bytearray(line.signature)
    bit = data.draw(st.integers(0, len(raw) * 8 - 1))
    raw[bit // 8] ^= 1 << bit % 8
    with pytest.raises(LogInconsistent):
        public.verify(replace(line, signature=bytes(raw)), CHECKPOINT)


@pytest.mark.parametrize("key", KEYS, ids=["ed25519", "ml-dsa-44"])
def test_a_cosignature_is_of_one_checkpoint_and_length(key: Ed25519PrivateKey | MLDSA44PrivateKey) -> None:
    public, line = cosigner_key(NAME, key), parse_checkpoint(cosigned(key)).signatures[-1]
    grown = parse_checkpoint(NOTE.replace("\n42\n", "\n43\n"))
    elsewhere = parse_checkpoint(NOTE.replace(SITE + "\n", "other.example\n", 1))
    for checkpoint in (grown, elsewhere):
        with pytest.raises(LogInconsistent):
            public.verify(line, checkpoint)
    for signature in (b"", line.signature[:8], line.signature[:-1], line.signature + b"\0"):
        with pytest.raises(LogInconsistent):
            public.verify(replace(line, signature=signature), CHECKPOINT)
    with pytest.raises(LogInconsistent):
        public.verify(replace(line, key_id=bytes(4)), CHECKPOINT)


def test_an_ml_dsa_cosignature_is_bound_to_the_name() -> None:
    line = parse_checkpoint(cosigned(LATTICE)).signatures[-1]
    renamed = CosignerKey("other.example", ML_DSA_44, LATTICE.public_key().public_bytes_raw())
    with pytest.raises(LogInconsistent):
        renamed.verify(replace(line, name=renamed.name, key_id=renamed.key_id), CHECKPOINT)


@given(st.text(max_size=80))
def test_any_other_text_is_no_key(text: str) -> None:
    with pytest.raises(MalformedInput):
        parse_cosigner_key(text)
    with pytest.raises(ValueError):
        VerifierKey.parse(text)


def test_kinds_of_keys_are_not_mistaken_for_each_other() -> None:
    text = cosigner_key(NAME, CLASSIC).text
    plain = base64.b64encode(b"\x01" + CLASSIC.public_key().public_bytes_raw()).decode()
    short = base64.b64encode(b"\x06" + bytes(100)).decode()
    for wrong in (
        text.replace("+", " ", 1),
        f"{NAME}+00000000+{plain}",
        f"{NAME}+00000000+{short}",
        text[:-4],
        text + "A",
    ):
        with pytest.raises(MalformedInput):
            parse_cosigner_key(wrong)
    with pytest.raises(ValueError, match="not a verifier key"):
        VerifierKey.parse(text)
    assert [key.algorithm for key in parse_cosigner_keys(f" {text}\n{cosigner_key(NAME, LATTICE).text} ")] == [4, 6]
    assert parse_cosigner_keys("") == ()


def test_the_second_key_follows_from_the_first_and_is_not_it() -> None:
    key, again, other = (post_quantum_key(k) for k in (CLASSIC, CLASSIC, Ed25519PrivateKey.generate()))
    assert key is not None
    assert again is not None
    assert other is not None
    assert key.private_bytes_raw() == again.private_bytes_raw()
    assert len({k.private_bytes_raw() for k in (key, other, CLASSIC)}) == 3
