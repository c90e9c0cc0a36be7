"""What every key store promises, on the key file and on Vault: destroyed is destroyed, a crash anywhere is finished."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path

import pytest

from biometrics.errors import KeyDestroyed, NotReady
from biometrics.records import epoch_end, epoch_of
from infra.keys import vault_store
from infra.keys.file_store import FileKeyStore
from infra.keys.store import KeyStore
from infra.keys.vault_client import VaultAccess, VaultClient
from infra.keys.vault_store import VaultKeyStore
from tests.factories import NOON
from tests.vault_server import ROLE, SECRET, Vault, serving

pytestmark = pytest.mark.allow_hosts(["127.0.0.1"])
EPOCH = epoch_of(NOON)
END = epoch_end(EPOCH)

Open = Callable[[], KeyStore]


@pytest.fixture
def vault() -> Iterator[Vault]:
    with serving() as vault:
        yield vault


def open_vault(vault: Vault, folder: Path, site: str = "airport.example") -> VaultKeyStore:
    secret = folder / "secret-id"
    secret.write_text(SECRET)
    return VaultKeyStore(VaultClient(VaultAccess(vault.url, role_id=ROLE, secret_id_file=secret)), site)


@pytest.fixture(params=["file", "vault"])
def open_store(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Open:
    """Open the store as another process does; what a process keeps for seconds is kept for none, to be quick."""
    if request.param == "file":
        return lambda: FileKeyStore(tmp_path / "keys" / "keys.dwarpal", passphrase="x", scrypt_log2_n=4)
    monkeypatch.setattr(vault_store, "KEPT_SECONDS", 0.0)
    vault = request.getfixturevalue("vault")
    return lambda: open_vault(vault, tmp_path)


def raw(store: KeyStore) -> bytes:
    return store.signing_key().public_key().public_bytes_raw()


def test_keys_are_the_same_for_every_process(open_store: Open) -> None:
    first, second = open_store(), open_store()
    for store in (first, second):
        with pytest.raises(KeyDestroyed):
            store.epoch_key(EPOCH)
    keys = {first.epoch_key(EPOCH, create=True), first.audit_key(EPOCH), first.epoch_key(EPOCH + 1, create=True)}
    assert len(keys) == 3
    assert {len(key) for key in keys} == {32}
    assert {second.epoch_key(EPOCH), second.audit_key(EPOCH), second.epoch_key(EPOCH + 1)} == keys
    assert raw(first) == raw(second)


def test_a_destroyed_epoch_never_comes_back(open_store: Open) -> None:
    store, other = open_store(), open_store()
    store.epoch_key(EPOCH, create=True)
    other.epoch_key(EPOCH)
    store.destroy_epoch(EPOCH)
    store.destroy_epoch(EPOCH)
    for each in (store, other, open_store()):
        for ask in (each.epoch_key, each.audit_key):
            with pytest.raises(KeyDestroyed):
                ask(EPOCH, create=True)
        assert each.epoch_key(EPOCH + 1, create=True)


def test_an_ended_epoch_is_named_until_its_end_is_confirmed(open_store: Open) -> None:
    store = open_store()
    store.epoch_key(EPOCH, create=True)
    assert store.ended_epochs(END - timedelta(microseconds=1)) == []
    assert store.ended_epochs(END) == [EPOCH]
    store.destroy_epoch(EPOCH)
    assert open_store().ended_epochs(END) == [EPOCH]
    store.confirm_destroyed(EPOCH)
    store.confirm_destroyed(EPOCH)
    assert open_store().ended_epochs(END) == []
    store.destroy_epoch(EPOCH - 5)  # one that never had any
    assert store.ended_epochs(END) == []
    with pytest.raises(KeyDestroyed):
        store.epoch_key(EPOCH - 5, create=True)


def test_a_signing_key_is_prepared_and_promoted(open_store: Open) -> None:
    store, other = open_store(), open_store()
    first = raw(store)
    assert store.prepared_signing_key() is None
    store.promote_signing_key(NOON)
    assert raw(other) == first
    following = store.next_signing_key().public_key().public_bytes_raw()
    prepared = other.prepared_signing_key()
    assert prepared is not None
    assert prepared.public_key().public_bytes_raw() == following != first
    store.promote_signing_key(NOON)
    store.promote_signing_key(NOON)
    for each in (store, other, open_store()):
        assert raw(each) == following
        assert each.prepared_signing_key() is None
        (retired,) = each.retired_signing_keys()
        assert (retired.public.public_bytes_raw(), retired.retired_at) == (first, NOON)


def test_many_processes_at_once_agree(open_store: Open) -> None:
    stores = [open_store() for _ in range(6)]
    with ThreadPoolExecutor(6) as pool:
        assert len({*pool.map(lambda store: store.epoch_key(EPOCH, create=True), stores)}) == 1
        assert len({*pool.map(raw, stores)}) == 1
        epochs = range(EPOCH, EPOCH + 6)
        list(pool.map(lambda pair: pair[0].epoch_key(pair[1], create=True), zip(stores, epochs, strict=True)))
        assert open_store().ended_epochs(epoch_end(EPOCH + 9)) == [*epochs]
        list(pool.map(lambda store: store.destroy_epoch(EPOCH), stores))

        def revive(store: KeyStore) -> bool:
            try:
                store.epoch_key(EPOCH, create=True)
            except KeyDestroyed:
                return True
            return False

        assert all(pool.map(revive, stores))


# --- Vault by itself


def test_nothing_of_a_key_stands_in_what_vault_stores_for_us(vault: Vault, tmp_path: Path) -> None:
    store = open_vault(vault, tmp_path)
    keys = [store.epoch_key(EPOCH, create=True), store.audit_key(EPOCH), raw(store)]
    store.next_signing_key()
    store.promote_signing_key(NOON)
    told = repr(vault.entries)
    assert not any(key.hex() in told for key in keys[:2])
    assert repr(store) == "<VaultKeyStore>"
    assert len(vault.keys) == 2  # the epoch's, and the new signing key's


def test_two_sites_share_no_key(vault: Vault, tmp_path: Path) -> None:
    one, other = open_vault(vault, tmp_path), open_vault(vault, tmp_path, "other.example")
    assert one.epoch_key(EPOCH, create=True) != other.epoch_key(EPOCH, create=True)
    one.destroy_epoch(EPOCH)
    assert other.epoch_key(EPOCH)


def test_what_is_kept_in_memory_is_kept_for_seconds_and_overwritten(
    vault: Vault, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 1000.0
    monkeypatch.setattr(vault_store, "monotonic", lambda: now)
    store, other = open_vault(vault, tmp_path), open_vault(vault, tmp_path)
    store.epoch_key(EPOCH, create=True)
    other.epoch_key(EPOCH)
    asked = vault.requests
    for _ in range(50):
        assert other.epoch_key(EPOCH)
    assert vault.requests == asked
    held = [key for key, _ in other._kept.values()]
    store.destroy_epoch(EPOCH)
    now += vault_store.KEPT_SECONDS
    with pytest.raises(KeyDestroyed):
        other.epoch_key(EPOCH)
    other.epoch_key(EPOCH + 1, create=True)
    assert all(key == bytes(32) for key in held)


def test_a_token_that_is_over_is_had_anew(vault: Vault, tmp_path: Path) -> None:
    store = open_vault(vault, tmp_path)
    key = store.epoch_key(EPOCH, create=True)
    vault.tokens.clear()
    store._forget()
    assert store.epoch_key(EPOCH) == key
    token = tmp_path / "token"
    token.write_text(vault.sign_in() + "\n")
    by_token = VaultKeyStore(VaultClient(VaultAccess(vault.url, token_file=token)), "airport.example")
    assert by_token.epoch_key(EPOCH) == key
    token.write_text("hvs.wrong")
    vault.tokens.clear()
    by_token._forget()
    with pytest.raises(NotReady) as caught:
        by_token.epoch_key(EPOCH)
    assert caught.value.code == "vault_denied"
    (tmp_path / "secret-id").write_text("wrong")
    vault.tokens.clear()
    store._forget()
    with pytest.raises(NotReady) as caught:
        store.epoch_key(EPOCH)
    assert caught.value.code == "vault_denied"


def test_a_vault_that_is_sealed_or_away_is_said_so_and_nothing_more(vault: Vault, tmp_path: Path) -> None:
    store = open_vault(vault, tmp_path)
    store.epoch_key(EPOCH, create=True)
    store._forget()
    vault.sealed = True
    with pytest.raises(NotReady) as caught:
        store.epoch_key(EPOCH)
    assert (caught.value.code, "dwarpal-" in str(caught.value)) == ("vault_sealed", False)
    vault.sealed = False
    assert store.epoch_key(EPOCH)
    away = VaultKeyStore(VaultClient(VaultAccess("http://127.0.0.1:9", token_file=tmp_path / "secret-id")), "s")
    with pytest.raises(NotReady) as caught:
        away.epoch_key(EPOCH)
    assert caught.value.code == "vault_unreachable"


@pytest.mark.parametrize("after", [False, True], ids=["before it acts", "after it acted"])
@pytest.mark.parametrize("act", ["create", "destroy", "confirm", "next", "promote"])
def test_a_connection_lost_at_any_request_is_made_good(
    vault: Vault, tmp_path: Path, act: str, after: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(vault_store, "KEPT_SECONDS", 0.0)
    vault.after = after
    for step in range(1, 40):
        epoch = EPOCH + step
        store = open_vault(vault, tmp_path)
        if act != "create":
            store.epoch_key(epoch, create=True)
        if act == "confirm":
            store.destroy_epoch(epoch)
        if act == "promote":
            store.next_signing_key()
        deed: Callable[[KeyStore], object] = {
            "create": lambda s: s.epoch_key(epoch, create=True),  # noqa: B023
            "destroy": lambda s: s.destroy_epoch(epoch),  # noqa: B023
            "confirm": lambda s: s.confirm_destroyed(epoch),  # noqa: B023
            "next": lambda s: s.next_signing_key(),
            "promote": lambda s: s.promote_signing_key(NOON),
        }[act]
        vault.break_at = vault.requests + step
        try:
            deed(store)
            broke = False
        except NotReady:
            broke = True
        vault.break_at = None
        again = open_vault(vault, tmp_path)
        signing, retired = raw(again), len(again.retired_signing_keys())
        deed(again)
        if act == "create":
            assert again.epoch_key(epoch) == open_vault(vault, tmp_path).epoch_key(epoch)
        if act in ("destroy", "confirm"):
            with pytest.raises(KeyDestroyed):
                again.epoch_key(epoch, create=True)
            assert not any(name.endswith(f"-epoch-{epoch}") for name in vault.keys)
            assert (epoch in again.ended_epochs(epoch_end(epoch))) == (act == "destroy")
        if act == "promote":
            assert again.prepared_signing_key() is None
            assert raw(again) != signing or retired
            again.ended_epochs(END)
            assert sum("-signing-" in name for name in vault.keys) == 1
        if not broke:
            assert step > 2
            return
    raise AssertionError("no end of requests")
