"""Derived keys: what RFC 5869 says, and gone when the block ends, also when it breaks."""

import pytest

from infra.keys.derived import derived


def test_it_is_the_hkdf_of_the_rfc() -> None:
    salt, info = bytes(range(13)), bytes(range(0xF0, 0xFA))  # RFC 5869, A.1
    with derived(b"\x0b" * 22, salt=salt, info=info) as key:
        assert key.hex() == "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf"


def test_it_is_overwritten_when_the_block_ends_or_breaks() -> None:
    with derived(b"secret", salt=None, info=b"one") as kept:
        assert any(kept)
    assert kept == bytearray(32)
    with pytest.raises(ZeroDivisionError), derived(b"secret", salt=None, info=b"one") as kept:
        raise ZeroDivisionError
    assert kept == bytearray(32)
