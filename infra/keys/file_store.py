"""The key store of a single machine: one sealed file, outside the database and outside its backups."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from filelock import FileLock, Timeout

from biometrics.errors import Conflict, NotReady, SealBroken
from biometrics.records import epoch_end
from infra.keys.replace import replace_file, tidy
from infra.keys.root_key import HEADER_BYTES, SCRYPT_LOG2_N, Header, MachineRoot, PassphraseRoot, RootKey
from infra.keys.state import KEY_BYTES, EpochPair, KeyState
from infra.keys.store import RetiredKey

_NONCE = 12
_TAG = 16
_LOCK_SECONDS = 30

_Signature = tuple[int, int, int]


class FileKeyStore:
    """Keys in one sealed file, beside it the lock and, without a passphrase, `machine.key`; a folder of their own.

    The file's bytes: header (see `root_key.py`) | nonce 12 | AES-256-GCM(root key; `KeyState`, AAD = header) | tag 16.

    The folder has mode 0700 and its files 0600. Every change rewrites the file under a lock between processes, so
    that a crash leaves the old state or the new (`replace.py`, which also says what overwriting the old bytes cannot
    reach). A process reads the file again when another one changed it. A destroyed epoch is remembered and never gets
    a key again; putting an old copy of the file back would undo that, so the folder must be left out of backups.

    Two root keys may open the file: the one in force, and the one that `rotate_root` puts in its place. So a process
    that knows both goes on while another one rotates.

    Keys in memory stand in bytearrays that are overwritten when they go; the copies that callers receive are bytes and
    vanish with the callers.
    """

    def __init__(
        self,
        path: Path,
        *,
        passphrase: str | None,
        next_passphrase: str | None = None,
        scrypt_log2_n: int = SCRYPT_LOG2_N,
    ) -> None:
        """Open the key file `path`, or prepare its folder; raise `SealBroken` for a wrong passphrase or machine key.

        `next_passphrase` is what `rotate_root` will seal with, or has sealed with.
        """
        folder = path.parent
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        folder.chmod(0o700)
        self._file = path
        machine = MachineRoot(folder / "machine.key")
        self._root: RootKey = machine if passphrase is None else PassphraseRoot(passphrase, log2_n=scrypt_log2_n)
        self._next: RootKey | None = machine.successor if passphrase is None else None
        if next_passphrase is not None:
            self._next = PassphraseRoot(next_passphrase, log2_n=scrypt_log2_n)
        self._between_threads = threading.RLock()
        self._between_processes = FileLock(folder / f"{path.name}.lock", timeout=_LOCK_SECONDS, mode=0o600)
        self._state = KeyState()
        self._header: Header | None = None
        self._root_key = bytearray(KEY_BYTES)
        self._signature: _Signature | None = None
        self._refresh()

    def __repr__(self) -> str:
        return "<FileKeyStore>"

    def epoch_key(self, epoch: int, *, create: bool = False) -> bytes:
        """Return the epoch's 32-byte key-encryption key; raise `KeyDestroyed` if it is gone or was never made.

        With `create` a missing key is made, unless the epoch was destroyed before.
        """
        with self._between_threads:
            return bytes(self._pair(epoch, create).epoch_key)

    def audit_key(self, epoch: int, *, create: bool = False) -> bytes:
        """Return the epoch's 32-byte audit pseudonym key; made and destroyed together with its epoch key."""
        with self._between_threads:
            return bytes(self._pair(epoch, create).audit_key)

    def signing_key(self) -> Ed25519PrivateKey:
        """Return the site's signing key for checkpoints and receipts; made at first use."""
        with self._between_threads:
            self._refresh()
            if self._state.signing_seed is None:
                with self._exclusive():
                    if self._state.signing_seed is None:
                        self._state.signing_seed = bytearray(os.urandom(KEY_BYTES))
                        self._save()
            return Ed25519PrivateKey.from_private_bytes(bytes(self._state.signing_seed))

    def next_signing_key(self) -> Ed25519PrivateKey:
        """Return the key that will follow; made and kept at first use, the same until it is promoted."""
        with self._exclusive():
            if self._state.next_seed is None:
                self._state.next_seed = bytearray(os.urandom(KEY_BYTES))
                self._save()
            return Ed25519PrivateKey.from_private_bytes(self._state.next_seed)

    def prepared_signing_key(self) -> Ed25519PrivateKey | None:
        """Return what `next_signing_key` made, or None if nothing is prepared."""
        with self._between_threads:
            self._refresh()
            seed = self._state.next_seed
            return None if seed is None else Ed25519PrivateKey.from_private_bytes(seed)

    def promote_signing_key(self, now: datetime) -> None:
        """Make the prepared key the signing key and destroy the former's private half; nothing if none is prepared."""
        with self._exclusive():
            if self._state.promote(now):
                self._save()

    def retired_signing_keys(self) -> tuple[RetiredKey, ...]:
        """Return the public halves of all former signing keys, oldest first."""
        with self._between_threads:
            self._refresh()
            return tuple(self._state.retired)

    def rotate_root(self) -> None:
        """Seal the file with the next passphrase, or where none is in use with a new machine key.

        Raises `Conflict` (`no_next_passphrase`) where a passphrase is in use and no other one is given.
        """
        following = self._next
        if following is None:
            raise Conflict("There is no next passphrase to seal with.", code="no_next_passphrase")
        self.signing_key()  # a store that was never used has no file to seal
        with self._exclusive():
            if isinstance(following, MachineRoot):
                following.renew()
            self._adopt(following)
            self._save()
            self._succeed(following)

    def ended_epochs(self, now: datetime) -> list[int]:
        """Return the epochs that are over and still have keys, or whose destruction is unconfirmed; oldest first."""
        with self._between_threads:
            self._refresh()
            known = self._state.epochs.keys() | self._state.unlogged
            return sorted(epoch for epoch in known if epoch_end(epoch) <= now)

    def destroy_epoch(self, epoch: int) -> None:
        """Destroy both keys of an epoch for good; does nothing if they are gone already."""
        with self._exclusive():
            if self._state.destroy(epoch):
                self._save()

    def confirm_destroyed(self, epoch: int) -> None:
        """Note that an epoch's destruction stands in the log: `ended_epochs` names it no more."""
        with self._exclusive():
            if epoch in self._state.unlogged:
                self._state.unlogged.remove(epoch)
                self._save()

    def _pair(self, epoch: int, create: bool) -> EpochPair:
        self._refresh()
        if create and epoch not in self._state.epochs:
            with self._exclusive():
                if epoch not in self._state.epochs:
                    self._state.create(epoch)
                    self._save()
        return self._state.pair(epoch)

    @contextmanager
    def _exclusive(self) -> Iterator[None]:
        """Hold both locks over an up-to-date state."""
        with self._between_threads:
            try:
                self._between_processes.acquire()
            except Timeout:
                raise NotReady("Another process holds the key file.", code="keys_unavailable") from None
            try:
                self._load_if_changed()
                yield
            finally:
                self._between_processes.release()

    def _refresh(self) -> None:
        if self._signature is None or self._stat() != self._signature:
            with self._exclusive():
                pass

    def _stat(self) -> _Signature | None:
        try:
            found = self._file.stat()
        except FileNotFoundError:
            return None
        return found.st_mtime_ns, found.st_size, found.st_ino

    def _load_if_changed(self) -> None:
        if self._signature is not None and self._stat() == self._signature:
            return
        try:
            tidy(self._file)
            signature = self._stat()
            content = b"" if signature is None else self._file.read_bytes()
        except OSError:
            raise NotReady("The key file cannot be read.", code="keys_unavailable") from None
        if signature is None:
            if self._header is not None:  # to go on would sign with a new key and revive destroyed epochs
                raise NotReady("The key file has vanished.", code="keys_unavailable")
            return
        state = self._open(content)
        self._state.zero()
        self._state, self._signature = state, signature

    def _open(self, content: bytes) -> KeyState:
        header = Header.parse(content)
        if len(content) < HEADER_BYTES + _NONCE + _TAG:
            raise SealBroken("This is not a key file.")
        if header == self._header:
            return self._unseal(content, self._root_key)
        found = [root for root in (self._root, self._next) if root is not None and root.opens(header)]
        if not found:
            raise SealBroken("The key file is sealed with the other of the two: machine key or passphrase.")
        for number, root in enumerate(found, 1):
            root_key = root.derive(header)
            try:
                state = self._unseal(content, root_key)
            except SealBroken:
                if number == len(found):
                    raise
                continue
            self._use(header, root_key)
            self._succeed(root)
            break
        return state

    def _unseal(self, content: bytes, root_key: bytearray) -> KeyState:
        header, rest = content[:HEADER_BYTES], content[HEADER_BYTES:]
        plain = bytearray(len(rest) - _NONCE - _TAG)
        try:
            AESGCM(root_key).decrypt_into(rest[:_NONCE], rest[_NONCE:], header, plain)
            return KeyState.decode(plain)
        except InvalidTag:
            raise SealBroken("The key file does not open: wrong passphrase or machine key, or changed bytes.") from None
        finally:
            plain[:] = bytes(len(plain))

    def _use(self, header: Header, root_key: bytearray) -> None:
        self._root_key[:] = bytes(len(self._root_key))
        self._header, self._root_key = header, root_key

    def _adopt(self, root: RootKey) -> Header:
        """Take a new header from a root: the next `_save` seals with it."""
        header = root.header()
        self._use(header, root.derive(header))
        return header

    def _succeed(self, root: RootKey) -> None:
        """Where the file is sealed with the machine key's successor, put that in the machine key's place."""
        if root is self._next and isinstance(self._root, MachineRoot) and isinstance(root, MachineRoot):
            self._root.succeed()

    def _save(self) -> None:
        """Write the state; if that fails, forget it, so that the next use reads what the disk holds."""
        plain = self._state.encode()
        try:
            header = self._header or self._adopt(self._root)
            nonce = os.urandom(_NONCE)
            sealed = AESGCM(self._root_key).encrypt(nonce, plain, header.encoded)
            replace_file(self._file, header.encoded + nonce + sealed)
            self._signature = self._stat()
        except BaseException as error:
            self._forget()
            if isinstance(error, OSError):
                raise NotReady("The key file cannot be written.", code="keys_unavailable") from None
            raise
        finally:
            plain[:] = bytes(len(plain))

    def _forget(self) -> None:
        self._state.zero()
        self._state, self._signature = KeyState(), None
        if self._stat() is None:
            self._header = None
