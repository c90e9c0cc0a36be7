"""A witness cosigns what extends all it saw before, and nothing else."""

import stat
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from biometrics.errors import LogInconsistent, MalformedInput
from infra.audit import merkle
from infra.audit.canonical import canonical
from infra.audit.checkpoint import parse_checkpoint, sign_checkpoint, verifier_key
from infra.audit.cosignature import parse_cosigner_key
from infra.audit.rotation import LoggedRotation, rotation_between, sign_by_both
from infra.audit.watcher import Watcher, make_key
from infra.keys.pem_file import read_key

SITE = "airport.example"
SITE_KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
NAME = "regulator.example/w1"
NOW = 1_772_346_000


class Log:
    """A log of plain leaves, which may be forked."""

    def __init__(self, *leaves: bytes) -> None:
        self.leaves = list(leaves)

    def note(self, key: Ed25519PrivateKey = SITE_KEY) -> str:
        return sign_checkpoint(SITE, len(self.leaves), merkle.root_of(self.leaves), key)

    def prove(self, old: int, new: int) -> Sequence[bytes]:
        def read(level: int, index: int) -> bytes:
            return merkle.root_of(self.leaves[index << level : (index + 1) << level])

        return merkle.consistency_proof(old, new, read)


def no_proof(old: int, new: int) -> Sequence[bytes]:
    raise AssertionError("no proof is needed")


@pytest.fixture
def watcher(tmp_path: Path) -> Watcher:
    vkey = make_key(tmp_path / "witness.pem", NAME)
    watcher = Watcher(
        NAME,
        read_key(tmp_path / "witness.pem"),
        vkey=verifier_key(SITE, SITE_KEY.public_key()),
        memory=tmp_path / "seen",
    )
    watcher.own_key = parse_cosigner_key(vkey)  # type: ignore[attr-defined]
    return watcher


def test_it_cosigns_a_log_that_grows(watcher: Watcher, tmp_path: Path) -> None:
    log = Log()
    for size in (0, 1, 5, 5, 8, 13):
        log.leaves = [b"%d" % index for index in range(size)]
        proven = watcher.cosign(log.note(), log.prove, NOW + size)
        checkpoint = parse_checkpoint(proven)
        assert proven.startswith(log.note())
        assert watcher.own_key.verify(checkpoint.signatures[-1], checkpoint) == NOW + size  # type: ignore[attr-defined]
        assert (tmp_path / "seen").read_text() == log.note()


def test_a_log_that_shrank_or_forked_is_kept_as_proof(watcher: Watcher, tmp_path: Path) -> None:
    log = Log(b"a", b"b", b"c")
    watcher.cosign(log.note(), no_proof, NOW)
    for other, code in (
        (Log(b"a", b"b"), "log_shrunk"),
        (Log(b"a", b"b", b"x"), "log_forked"),
        (Log(b"x", b"b", b"c", b"d"), "log_forked"),
    ):
        with pytest.raises(LogInconsistent) as caught:
            watcher.cosign(other.note(), other.prove, NOW)
        assert caught.value.code == code
        assert (tmp_path / "seen").read_text() == log.note()
        assert (tmp_path / "seen.contradiction").read_text() == other.note()
    log.leaves.append(b"d")
    assert watcher.cosign(log.note(), log.prove, NOW)


def test_what_the_site_did_not_sign_is_no_contradiction(watcher: Watcher, tmp_path: Path) -> None:
    for note in (Log(b"a").note(Ed25519PrivateKey.generate()), sign_checkpoint("x", 1, bytes(32), SITE_KEY)):
        with pytest.raises(LogInconsistent):
            watcher.cosign(note, no_proof, NOW)
    with pytest.raises(MalformedInput):
        watcher.cosign("nonsense", no_proof, NOW)
    assert {path.name for path in tmp_path.iterdir()} == {"witness.pem"}


def test_a_spoiled_memory_stops_the_witness(watcher: Watcher, tmp_path: Path) -> None:
    (tmp_path / "seen").write_text("")
    with pytest.raises(MalformedInput):
        watcher.cosign(Log(b"a").note(), no_proof, NOW)


def test_a_key_file_is_made_once_and_for_its_owner(tmp_path: Path) -> None:
    make_key(tmp_path / "key", NAME)
    assert stat.S_IMODE((tmp_path / "key").stat().st_mode) == 0o600
    with pytest.raises(FileExistsError):
        make_key(tmp_path / "key", NAME)
    with pytest.raises(ValueError, match="key name"):
        make_key(tmp_path / "other", "two words")
    assert not (tmp_path / "other").exists()


class RotatedLog(Log):
    """A log whose second leaf changes the signing key."""

    def __init__(self) -> None:
        super().__init__(b"a")
        self.new_key = Ed25519PrivateKey.from_private_bytes(bytes(range(1, 33)))
        keys = rotation_between(SITE_KEY, self.new_key)
        fields = {name: value for name, value in asdict(keys).items() if value is not None}
        leaf = canonical({"event": "signing_key_rotated", **fields})
        self.leaves.append(leaf)
        vouching = sign_by_both(SITE, 2, merkle.root_of(self.leaves), SITE_KEY, self.new_key)
        proof = (merkle.leaf_hash(b"a"),)
        self.rotation = LoggedRotation(1, datetime.now(UTC), leaf, keys, vouching, proof)


def test_it_follows_a_new_key_that_the_former_vouches_for(watcher: Watcher, tmp_path: Path) -> None:
    log, plain = RotatedLog(), Log(b"a")
    watcher.cosign(plain.note(), no_proof, NOW)
    log.leaves.append(b"c")
    note = log.note(log.new_key)
    with pytest.raises(LogInconsistent) as caught:
        watcher.cosign(note, log.prove, NOW)
    assert caught.value.code == "checkpoint_unsigned"
    for _ in range(2):  # the memory is then of the new key
        assert watcher.cosign(note, log.prove, NOW, rotations=[log.rotation])
    with pytest.raises(LogInconsistent):  # the former key, stolen, signs on
        watcher.cosign(log.note(), log.prove, NOW, rotations=[log.rotation])


def test_a_rotation_of_another_history_is_a_contradiction(watcher: Watcher, tmp_path: Path) -> None:
    log = RotatedLog()
    other = Log(b"a", b"something else", b"c")
    with pytest.raises(LogInconsistent) as caught:
        watcher.cosign(other.note(log.new_key), other.prove, NOW, rotations=[log.rotation])
    assert caught.value.code == "log_forked"
    assert (tmp_path / "seen.contradiction").exists()
