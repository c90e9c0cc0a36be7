"""The sealed key file: what is destroyed stays destroyed, across processes, crashes and wrong keys."""

import contextlib
import multiprocessing
import os
import threading
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from biometrics.errors import KeyDestroyed, NotReady, SealBroken
from biometrics.records import epoch_end, epoch_of
from infra.keys.file_store import FileKeyStore
from infra.keys.root_key import HEADER_BYTES
from infra.keys.state import MOST_DESTROYED, KeyState
from tests.factories import NOON

EPOCH = epoch_of(NOON)


def open_store(folder: Path, passphrase: str | None = "correct horse") -> FileKeyStore:
    return FileKeyStore(folder / "keys" / "keys.dwarpal", passphrase=passphrase, scrypt_log2_n=4)


@pytest.fixture(params=["passphrase", "machine"])
def passphrase(request: pytest.FixtureRequest) -> str | None:
    return "correct horse" if request.param == "passphrase" else None


def test_keys_survive_a_restart(tmp_path: Path, passphrase: str | None) -> None:
    store = open_store(tmp_path, passphrase)
    key, audit = store.epoch_key(EPOCH, create=True), store.audit_key(EPOCH, create=True)
    public = store.signing_key().public_key().public_bytes_raw()
    again = open_store(tmp_path, passphrase)
    assert (again.epoch_key(EPOCH), again.audit_key(EPOCH)) == (key, audit)
    assert again.signing_key().public_key().public_bytes_raw() == public
    assert len({key, audit, again.epoch_key(EPOCH + 1, create=True)}) == 3
    assert len(key) == len(audit) == 32


def test_an_unknown_epoch_has_no_key(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    for ask in (store.epoch_key, store.audit_key):
        with pytest.raises(KeyDestroyed):
            ask(EPOCH)


def test_a_destroyed_epoch_never_comes_back(tmp_path: Path, passphrase: str | None) -> None:
    store = open_store(tmp_path, passphrase)
    store.epoch_key(EPOCH, create=True)
    store.epoch_key(EPOCH + 1, create=True)
    store.destroy_epoch(EPOCH)
    store.destroy_epoch(EPOCH)
    for each in (store, open_store(tmp_path, passphrase)):
        for ask in (each.epoch_key, each.audit_key):
            with pytest.raises(KeyDestroyed):
                ask(EPOCH, create=True)
        assert each.epoch_key(EPOCH + 1)
        assert each.epoch_key(EPOCH - 1, create=True)


def test_an_epoch_without_keys_can_be_closed_too(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    store.destroy_epoch(EPOCH)
    assert store.ended_epochs(epoch_end(EPOCH)) == []
    with pytest.raises(KeyDestroyed):
        store.epoch_key(EPOCH, create=True)


def test_ended_epochs_stay_named_until_confirmed(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    for epoch in (EPOCH + 1, EPOCH, EPOCH - 1):
        store.epoch_key(epoch, create=True)
    end = epoch_end(EPOCH)
    assert store.ended_epochs(end - timedelta(microseconds=1)) == [EPOCH - 1]
    assert store.ended_epochs(end) == [EPOCH - 1, EPOCH]
    store.destroy_epoch(EPOCH - 1)
    assert open_store(tmp_path).ended_epochs(end) == [EPOCH - 1, EPOCH]
    store.confirm_destroyed(EPOCH - 1)
    store.confirm_destroyed(EPOCH - 1)
    assert open_store(tmp_path).ended_epochs(end) == [EPOCH]


def test_another_process_is_noticed(tmp_path: Path) -> None:
    one, two = open_store(tmp_path), open_store(tmp_path)
    key = one.epoch_key(EPOCH, create=True)
    assert two.epoch_key(EPOCH, create=True) == key
    two.destroy_epoch(EPOCH)
    with pytest.raises(KeyDestroyed):
        one.epoch_key(EPOCH)


def _make_epochs(folder: Path, first: int) -> None:
    store = open_store(folder)
    for epoch in range(first, first + 10):
        store.epoch_key(epoch, create=True)


def test_processes_and_threads_lose_no_key(tmp_path: Path) -> None:
    spawn = multiprocessing.get_context("spawn")
    processes = [spawn.Process(target=_make_epochs, args=(tmp_path, n * 10)) for n in range(2)]
    store = open_store(tmp_path)
    threads = [threading.Thread(target=_make_epochs, args=(tmp_path, 20)) for _ in range(2)]
    threads += [threading.Thread(target=store.epoch_key, args=(25,), kwargs={"create": True}) for _ in range(4)]
    for worker in (*processes, *threads):
        worker.start()
    for worker in (*processes, *threads):
        worker.join()
    assert [process.exitcode for process in processes] == [0, 0]
    assert len({store.epoch_key(epoch) for epoch in range(30)}) == 30


@pytest.mark.parametrize(("first", "second"), [("right", "wrong"), ("right", None), (None, "wrong")])
def test_the_wrong_root_key_opens_nothing(tmp_path: Path, first: str | None, second: str | None) -> None:
    open_store(tmp_path, first).epoch_key(EPOCH, create=True)
    with pytest.raises((SealBroken, NotReady)):
        open_store(tmp_path, second)


@given(st.data())
@settings(max_examples=60)
def test_any_flipped_bit_is_noticed(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    folder = tmp_path_factory.mktemp("flip")
    open_store(folder).epoch_key(EPOCH, create=True)
    file = folder / "keys" / "keys.dwarpal"
    content = bytearray(file.read_bytes())
    # The cost byte is left out: flipping it makes scrypt slow, and it is authenticated like its neighbors.
    at = data.draw(st.integers(0, len(content) - 1).filter(lambda i: i != 6))
    content[at] ^= 1 << data.draw(st.integers(0, 7))
    file.write_bytes(content)
    with pytest.raises(SealBroken):
        open_store(folder)


@given(st.binary(max_size=400))
def test_no_bytes_crash_the_reader(content: bytes) -> None:
    with contextlib.suppress(SealBroken):
        KeyState.decode(bytearray(content))


@given(
    seed=st.none() | st.binary(min_size=32, max_size=32).map(bytearray),
    destroyed=st.sets(st.integers(-(2**63), 2**63 - 1), max_size=20),
    epochs=st.sets(st.integers(0, 2**40), max_size=10),
)
def test_state_round_trip(seed: bytearray | None, destroyed: set[int], epochs: set[int]) -> None:
    state = KeyState(seed, 7 - 2**62, destroyed, set(list(destroyed)[:3]))
    for epoch in epochs - destroyed:
        state.create(epoch)
    again = KeyState.decode(state.encode())
    assert again.encode() == state.encode()
    assert (again.destroyed, again.unlogged, set(again.epochs)) == (state.destroyed, state.unlogged, set(state.epochs))


def test_the_memory_of_destroyed_epochs_is_bounded() -> None:
    state = KeyState()
    state.create(5)
    for epoch in range(10, 10 + 3 * MOST_DESTROYED):
        state.destroy(epoch)
    assert len(state.destroyed) <= MOST_DESTROYED
    for epoch in (10, 10 + 3 * MOST_DESTROYED - 1, 6):
        with pytest.raises(KeyDestroyed):
            state.create(epoch)
    assert state.pair(5)  # living keys stay usable under the watermark


def test_modes_and_exposed_machine_key(tmp_path: Path) -> None:
    open_store(tmp_path, None).epoch_key(EPOCH, create=True)
    folder = tmp_path / "keys"
    assert folder.stat().st_mode & 0o777 == 0o700
    assert {file.stat().st_mode & 0o777 for file in folder.iterdir()} == {0o600}
    (folder / "machine.key").chmod(0o640)
    with pytest.raises(NotReady, match="0600"):
        open_store(tmp_path, None)
    (folder / "machine.key").unlink()
    with pytest.raises(NotReady):
        open_store(tmp_path, None)
    assert not (folder / "machine.key").exists()


def test_destroyed_key_bytes_leave_the_disk(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    store.epoch_key(EPOCH, create=True)
    file = tmp_path / "keys" / "keys.dwarpal"
    with file.open("rb") as before:
        ciphertext = file.read_bytes()[HEADER_BYTES:]
        store.destroy_epoch(EPOCH)
        assert before.read() == bytes(HEADER_BYTES + len(ciphertext))
    assert not any(ciphertext[:32] in each.read_bytes() for each in file.parent.iterdir())


def test_a_failed_write_changes_nothing(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    key = store.epoch_key(EPOCH, create=True)
    blocker = tmp_path / "keys" / "keys.dwarpal.new"
    blocker.symlink_to(os.devnull)  # never followed, so the store cannot write
    for change in (lambda: store.epoch_key(EPOCH + 1, create=True), lambda: store.destroy_epoch(EPOCH)):
        with pytest.raises(NotReady):
            change()
    blocker.unlink()
    assert store.epoch_key(EPOCH) == key
    with pytest.raises(KeyDestroyed):
        store.epoch_key(EPOCH + 1)


def test_a_vanished_file_is_no_fresh_start(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    store.destroy_epoch(EPOCH)
    (tmp_path / "keys" / "keys.dwarpal").unlink()
    with pytest.raises(NotReady):
        store.epoch_key(EPOCH, create=True)


def test_silent_repr(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    key = store.epoch_key(EPOCH, create=True)
    shown = repr(store) + str(vars(store)) + repr(store._state)
    assert key.hex() not in shown
    assert repr(key) not in shown
    assert "correct horse" not in shown
