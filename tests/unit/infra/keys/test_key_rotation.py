"""New signing keys and new root keys: prepared once, promoted whole, the former gone; a crash anywhere loses no key."""

import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from biometrics.errors import Conflict, SealBroken
from biometrics.records import epoch_of
from infra.keys.file_store import FileKeyStore
from infra.keys.state import KeyState
from infra.keys.store import RetiredKey
from tests.factories import NOON

EPOCH = epoch_of(NOON)

CRASH = """
import os, sys
from pathlib import Path
from infra.keys.file_store import FileKeyStore
left = int(sys.argv[2])
store = FileKeyStore(Path(sys.argv[1]), passphrase=None)
def hook(event, arguments):
    global left
    if event in ("open", "os.link", "os.rename", "os.remove") and str(arguments[0]).startswith(sys.argv[3]):
        left -= 1
        if left < 0:
            os._exit(9)
sys.addaudithook(hook)
getattr(store, sys.argv[4])(*([__import__("datetime").datetime.now(__import__("datetime").UTC)] * int(sys.argv[5])))
"""


def open_store(folder: Path, passphrase: str | None = None, following: str | None = None) -> FileKeyStore:
    path = folder / "keys" / "keys.dwarpal"
    return FileKeyStore(path, passphrase=passphrase, next_passphrase=following, scrypt_log2_n=4)


def raw(key: Ed25519PrivateKey | None) -> bytes | None:
    return None if key is None else key.public_key().public_bytes_raw()


def test_a_prepared_key_stays_the_same_until_it_is_promoted(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    first = raw(store.signing_key())
    assert store.prepared_signing_key() is None
    store.promote_signing_key(NOON)
    assert raw(store.signing_key()) == first
    following = raw(store.next_signing_key())
    for each in (store, open_store(tmp_path)):
        assert raw(each.next_signing_key()) == raw(each.prepared_signing_key()) == following
        assert raw(each.signing_key()) == first != following
    store.promote_signing_key(NOON)
    for each in (store, open_store(tmp_path)):
        assert raw(each.signing_key()) == following
        assert each.prepared_signing_key() is None
        (retired,) = each.retired_signing_keys()
        assert (retired.public.public_bytes_raw(), retired.retired_at) == (first, NOON)
    assert raw(store.next_signing_key()) not in (first, following)


def test_another_process_sees_the_new_key_by_itself(tmp_path: Path) -> None:
    running, rotating = open_store(tmp_path), open_store(tmp_path)
    first = raw(running.signing_key())
    rotating.next_signing_key()
    assert raw(running.prepared_signing_key()) == raw(rotating.prepared_signing_key())
    rotating.promote_signing_key(NOON)
    assert raw(running.signing_key()) == raw(rotating.signing_key()) != first


def test_the_former_seed_is_overwritten_and_leaves_the_file() -> None:
    seed = bytearray(range(32))
    state = KeyState(signing_seed=seed, next_seed=bytearray(b"n" * 32))
    assert state.promote(NOON)
    assert seed == bytes(32)
    assert bytes(range(32)) not in state.encode()


def test_files_from_before_rotation_still_open() -> None:
    state = KeyState(signing_seed=bytearray(b"s" * 32), watermark=7, destroyed={9}, unlogged={9})
    state.create(12)
    encoded = state.encode()
    former = encoded[: -(1 + 32 + 4)]
    again = KeyState.decode(bytearray(former))
    assert (again.signing_seed, again.next_seed, again.retired) == (b"s" * 32, None, [])
    assert again.epochs.keys() == {12}
    for cut in range(len(former) + 1, len(encoded)):
        with pytest.raises(SealBroken):
            KeyState.decode(bytearray(encoded[:cut]))


def test_state_with_retired_keys_round_trips() -> None:
    retired = [RetiredKey(Ed25519PrivateKey.generate().public_key(), datetime(2026, 1, n, tzinfo=UTC)) for n in (1, 2)]
    state = KeyState(signing_seed=bytearray(32), next_seed=bytearray(b"n" * 32), retired=list(retired))
    again = KeyState.decode(state.encode())
    assert (again.next_seed, again.retired) == (b"n" * 32, retired)


def test_a_new_machine_key_opens_the_file_and_the_old_one_does_not(tmp_path: Path) -> None:
    store, running = open_store(tmp_path), open_store(tmp_path)
    key = store.epoch_key(EPOCH, create=True)
    machine = tmp_path / "keys" / "machine.key"
    former = machine.read_bytes()
    store.rotate_root()
    assert machine.read_bytes() != former
    assert {path.name for path in machine.parent.iterdir()} == {"keys.dwarpal", "keys.dwarpal.lock", "machine.key"}
    assert running.epoch_key(EPOCH) == open_store(tmp_path).epoch_key(EPOCH) == key
    assert running.epoch_key(EPOCH + 1, create=True) == open_store(tmp_path).epoch_key(EPOCH + 1)
    machine.write_bytes(former)
    with pytest.raises(SealBroken):
        open_store(tmp_path)


def test_a_running_process_that_knows_both_passphrases_goes_on(tmp_path: Path) -> None:
    store = open_store(tmp_path, "old words")
    key = store.epoch_key(EPOCH, create=True)
    running, rotating = (open_store(tmp_path, "old words", "new words") for _ in range(2))
    rotating.rotate_root()
    assert running.epoch_key(EPOCH) == key
    assert running.epoch_key(EPOCH + 1, create=True) == open_store(tmp_path, "new words").epoch_key(EPOCH + 1)
    with pytest.raises(SealBroken):
        open_store(tmp_path, "old words")
    with pytest.raises(SealBroken):
        store.epoch_key(EPOCH)
    with pytest.raises(Conflict):
        open_store(tmp_path, "new words").rotate_root()


def test_a_machine_key_gives_way_to_a_passphrase(tmp_path: Path) -> None:
    key = open_store(tmp_path).epoch_key(EPOCH, create=True)
    open_store(tmp_path, None, "new words").rotate_root()
    assert open_store(tmp_path, "new words").epoch_key(EPOCH) == key
    with pytest.raises(SealBroken):
        open_store(tmp_path)


@pytest.mark.parametrize("act", ["rotate_root", "next_signing_key", "promote_signing_key"])
def test_a_process_killed_at_any_step_loses_no_key(tmp_path: Path, act: str) -> None:
    """The key file opens after every crash, with the old keys or the new, and the act can be done again."""
    ends = []
    for step in range(60):
        folder = tmp_path / str(step)
        store = open_store(folder)
        key, signing, following = store.epoch_key(EPOCH, create=True), raw(store.signing_key()), None
        if act == "promote_signing_key":
            following = raw(store.next_signing_key())
        arguments = [str(folder / "keys" / "keys.dwarpal"), str(step), str(folder), act, str(int(act[0] == "p"))]
        ends.append(subprocess.run([sys.executable, "-c", CRASH, *arguments], check=False).returncode)
        again = open_store(folder)
        assert again.epoch_key(EPOCH) == key
        assert raw(again.signing_key()) in (signing, following)
        retired = [key.public.public_bytes_raw() for key in again.retired_signing_keys()]
        assert retired == ([] if raw(again.signing_key()) == signing else [signing])
        again.rotate_root()
        assert open_store(folder).epoch_key(EPOCH) == key
        if ends[-1] == 0:
            break
    assert set(ends[:-1]) == {9}
    assert ends[-1] == 0
    assert len(ends) > 10
