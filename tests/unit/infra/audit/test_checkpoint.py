import base64

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from hypothesis import given
from hypothesis import strategies as st

from biometrics.errors import DwarpalError, LogInconsistent, MalformedInput
from infra.audit.checkpoint import (
    key_id,
    parse_checkpoint,
    parse_verifier_key,
    sign_checkpoint,
    verifier_key,
    verify_checkpoint,
)

SITE = "airport.example/gates"
KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
PUBLIC = KEY.public_key()
ROOT = bytes(range(100, 132))
TEXT = sign_checkpoint(SITE, 42, ROOT, KEY)


def test_the_note_of_the_c2sp_specification_verifies() -> None:
    """The signed note and key that golang.org/x/mod/sumdb/note publishes as its example."""
    vkey = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
    name, public = parse_verifier_key(vkey)
    assert verifier_key(name, public) == vkey
    text = "If you think cryptography is the answer to your problem,\nthen you don't know what your problem is.\n"
    note = "x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM="
    signature = base64.b64decode(note)
    assert signature[:4] == key_id(name, public)
    public.verify(signature[4:], text.encode())


def test_form() -> None:
    lines = TEXT.split("\n")
    assert lines[:4] == [SITE, "42", base64.b64encode(ROOT).decode(), ""]
    assert lines[4].startswith(f"— {SITE} ")
    assert lines[5:] == [""]
    checkpoint = verify_checkpoint(TEXT, SITE, PUBLIC)
    assert (checkpoint.origin, checkpoint.size, checkpoint.root) == (SITE, 42, ROOT)


def test_cosignatures_of_unknown_keys_are_ignored_and_extension_lines_are_signed() -> None:
    witness = Ed25519PrivateKey.generate()
    body = parse_checkpoint(TEXT).signed_text
    blob = key_id("witness", witness.public_key()) + witness.sign(body.encode())
    line = f"— witness {base64.b64encode(blob).decode()}\n"
    assert verify_checkpoint(TEXT + line, SITE, PUBLIC).size == 42
    with pytest.raises(LogInconsistent, match="not signed"):
        verify_checkpoint(f"{body}\n{line}", SITE, PUBLIC)
    extended = TEXT.replace("\n\n", "\nextension\n\n")
    with pytest.raises(LogInconsistent, match="signature is wrong"):
        verify_checkpoint(extended, SITE, PUBLIC)


@given(st.integers(0, len(TEXT.encode()) * 8 - 1))
def test_any_flipped_bit_fails(bit: int) -> None:
    raw = bytearray(TEXT.encode())
    raw[bit // 8] ^= 1 << bit % 8
    with pytest.raises((DwarpalError, UnicodeDecodeError)):
        verify_checkpoint(raw.decode(), SITE, PUBLIC)


@given(st.text(max_size=300))
def test_anything_else_is_malformed(text: str) -> None:
    with pytest.raises(MalformedInput):
        parse_checkpoint(text)


@given(st.integers(0, 2**62), st.binary(min_size=32, max_size=32))
def test_round_trip(size: int, root: bytes) -> None:
    checkpoint = verify_checkpoint(sign_checkpoint(SITE, size, root, KEY), SITE, PUBLIC)
    assert (checkpoint.size, checkpoint.root) == (size, root)


@pytest.mark.parametrize(
    "text",
    [
        TEXT.replace("\n42\n", "\n042\n"),
        TEXT.replace("\n42\n", "\n+42\n"),
        TEXT.replace("\n42\n", "\n４２\n"),
        TEXT.replace("\n", "\r\n"),
        TEXT[:-1],
        TEXT.replace("— ", "- "),
        TEXT.replace("=\n", "\n", 1),
        TEXT + "x" * 200_000,
    ],
)
def test_other_spellings_are_malformed(text: str) -> None:
    with pytest.raises(MalformedInput):
        verify_checkpoint(text, SITE, PUBLIC)


def test_another_origin_is_refused() -> None:
    with pytest.raises(LogInconsistent, match="another log"):
        verify_checkpoint(sign_checkpoint("other.example", 42, ROOT, KEY), SITE, PUBLIC)


@pytest.mark.parametrize("vkey", ["", "a+b", "a+00000000+AAAA", verifier_key(SITE, PUBLIC)[:-4] + "AAA="])
def test_verifier_keys_that_are_none(vkey: str) -> None:
    with pytest.raises(MalformedInput):
        parse_verifier_key(vkey)


@pytest.mark.parametrize("name", ["", "a b", "a+b", "a\nb"])
def test_names_that_the_format_forbids(name: str) -> None:
    with pytest.raises(ValueError, match="key name"):
        sign_checkpoint(name, 1, ROOT, KEY)
    with pytest.raises(ValueError, match="size"):
        sign_checkpoint(SITE, -1, ROOT, KEY)
    assert isinstance(PUBLIC, Ed25519PublicKey)
