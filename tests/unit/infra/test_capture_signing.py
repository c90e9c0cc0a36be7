"""Device keys: files that only their owner reads, and public keys that are worth registering."""

from __future__ import annotations

from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from biometrics.errors import MalformedInput
from infra.capture_signing import DeviceSigner, Ed25519Verifier, is_public_key
from liveness.injection import CaptureClaim
from tests.factories import NOON

CLAIM = CaptureClaim("entry", "n" * 16, NOON, (bytes(32),))


def test_a_key_file_is_written_once_for_its_owner_and_read_back(tmp_path: Path) -> None:
    path, signer = tmp_path / "device.pem", DeviceSigner.new()
    signer.write(path)
    assert path.stat().st_mode & 0o777 == 0o600
    again = DeviceSigner.read(path)
    assert again.sign(CLAIM) == signer.sign(CLAIM)
    with pytest.raises(FileExistsError):
        DeviceSigner.new().write(path)
    assert DeviceSigner.read(path).public == signer.public


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o666])
def test_a_key_file_that_others_may_read_is_refused(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "device.pem"
    DeviceSigner.new().write(path)
    path.chmod(mode)
    with pytest.raises(MalformedInput) as refused:
        DeviceSigner.read(path)
    assert refused.value.code == "key_file_exposed"


def test_another_kind_of_key_or_file_is_refused(tmp_path: Path) -> None:
    other = X25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    for content in (other, b"", b"\x00" * 32):
        path = tmp_path / "device.pem"
        path.touch(mode=0o600)
        path.write_bytes(content)
        with pytest.raises(MalformedInput):
            DeviceSigner.read(path)


def test_only_points_that_bind_their_holder_are_public_keys() -> None:
    assert is_public_key(DeviceSigner.new().public)
    assert not is_public_key(b"")
    assert not is_public_key(bytes(31))
    for weak in (bytes(32), b"\x01" + bytes(31), b"\x01" + bytes(30) + b"\x80", b"\xec" + b"\xff" * 30 + b"\x7f"):
        assert not is_public_key(weak)


def test_what_is_no_key_verifies_nothing() -> None:
    key = Ed25519PrivateKey.generate()
    signature = key.sign(b"m")
    public: Ed25519PublicKey = key.public_key()
    assert Ed25519Verifier().valid(public.public_bytes_raw(), b"m", signature)
    for wrong in (b"", b"\xff" * 32, bytes(31)):
        assert not Ed25519Verifier().valid(wrong, b"m", signature)
    assert not Ed25519Verifier().valid(public.public_bytes_raw(), b"m", b"")
