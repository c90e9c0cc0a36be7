"""HashiCorp Vault as this system uses it: the transit engine's HMAC, and one entry of KV version 2; the only file that
knows hvac.

Keys never leave Vault: what is asked for is HMAC-SHA256 over a fixed label under a transit key, 32 bytes that can be
had for as long as that key exists. Whatever goes wrong is `NotReady`, without a word of Vault's answer, which may name
paths.
"""

from __future__ import annotations

import base64
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import hvac
from hvac import exceptions as vault
from pydantic import JsonValue, TypeAdapter
from requests import RequestException, Session

from biometrics.errors import NotReady

TIMEOUT_SECONDS = 3
_OBJECT = TypeAdapter(dict[str, JsonValue])
_Answer = TypeVar("_Answer")


class Unknown(Exception):
    """There is no such key."""


class Changed(Exception):
    """Somebody else wrote the entry meanwhile."""


@dataclass(frozen=True, slots=True)
class VaultAccess:
    """Where Vault is and how to sign in: with a token from a file, or as an AppRole with a secret id from a file."""

    url: str
    token_file: Path | None = None
    role_id: str = ""
    secret_id_file: Path | None = field(default=None, repr=False)
    ca_file: Path | None = None
    namespace: str = ""
    transit: str = "transit"
    kv: str = "secret"


class VaultClient:
    """Signs in, and again whenever Vault no longer knows the token."""

    def __init__(self, access: VaultAccess) -> None:
        self._access = access
        session = Session()
        session.trust_env = False  # proxies of the environment are nobody's business
        self._vault = hvac.Client(
            url=access.url,
            verify=str(access.ca_file) if access.ca_file else True,
            timeout=TIMEOUT_SECONDS,
            allow_redirects=False,
            session=session,
            namespace=access.namespace or None,
        )
        self._vault.token = None

    def __repr__(self) -> str:
        return "<VaultClient>"

    def hmac(self, key: str, label: bytes) -> bytes:
        """Return HMAC-SHA256(transit key, label); raise `Unknown` if there is no such key."""
        text, transit, mount = base64.b64encode(label).decode(), self._vault.secrets.transit, self._access.transit

        def ask() -> str:
            answer = self._ask(
                lambda: transit.generate_hmac(name=key, hash_input=text, algorithm="sha2-256", mount_point=mount)
            )
            return str(answer["data"]["hmac"])

        try:
            try:
                found = ask()
            except vault.InvalidRequest:
                if not self._exists(key):
                    raise Unknown from None
                found = ask()  # somebody made it meanwhile
            digest = base64.b64decode(found.rpartition(":")[2])
        except (vault.InvalidRequest, ValueError, KeyError, TypeError):
            raise NotReady("The key service refuses the request.", code="vault_refused") from None
        if len(digest) != 32:
            raise NotReady("The key service answers with something else.", code="vault_refused")
        return digest

    def create(self, key: str) -> None:
        """Make a transit key that cannot be exported; one that exists stays as it is."""
        self._ask(
            lambda: self._vault.secrets.transit.create_key(
                name=key,
                key_type="aes256-gcm96",
                exportable=False,
                allow_plaintext_backup=False,
                mount_point=self._access.transit,
            )
        )

    def destroy(self, key: str) -> None:
        """Delete a transit key for good; one that is gone already, or goes by somebody else's hand, is gone."""
        transit, mount = self._vault.secrets.transit, self._access.transit
        if not self._exists(key):
            return
        try:
            self._ask(lambda: transit.update_key_configuration(name=key, deletion_allowed=True, mount_point=mount))
            self._ask(lambda: transit.delete_key(name=key, mount_point=mount))
        except vault.InvalidRequest:
            if self._exists(key):
                raise NotReady("The key service refuses to delete a key.", code="vault_refused") from None

    def read(self, path: str) -> tuple[dict[str, JsonValue], int]:
        """Return an entry and its version; an empty one with version 0 if there is none."""
        kv = self._vault.secrets.kv.v2
        try:
            answer = self._ask(
                lambda: kv.read_secret_version(path=path, mount_point=self._access.kv, raise_on_deleted_version=True)
            )
        except vault.InvalidPath:
            return {}, 0
        return _OBJECT.validate_python(answer["data"]["data"]), int(answer["data"]["metadata"]["version"])

    def write(self, path: str, entry: dict[str, JsonValue], version: int) -> None:
        """Write an entry over the version that was read; raise `Changed` if it is no longer that one."""
        kv = self._vault.secrets.kv.v2
        try:
            self._ask(
                lambda: kv.create_or_update_secret(path=path, secret=entry, cas=version, mount_point=self._access.kv)
            )
        except vault.InvalidRequest:
            raise Changed from None

    def _exists(self, key: str) -> bool:
        try:
            self._ask(lambda: self._vault.secrets.transit.read_key(name=key, mount_point=self._access.transit))
        except vault.InvalidPath:
            return False
        return True

    def _ask(self, call: Callable[[], _Answer]) -> _Answer:
        try:
            if self._vault.token is None:
                self._sign_in()
            try:
                return call()
            except (vault.Forbidden, vault.Unauthorized):  # the token is over: once more with a new one
                self._sign_in()
                return call()
        except (vault.InvalidRequest, vault.InvalidPath):
            raise
        except (vault.Forbidden, vault.Unauthorized):
            raise NotReady("The key service does not let us in.", code="vault_denied") from None
        except (vault.VaultDown, vault.VaultNotInitialized):
            raise NotReady("The key service is sealed.", code="vault_sealed") from None
        except (vault.VaultError, RequestException, OSError, ValueError, KeyError, TypeError):
            raise NotReady("The key service cannot be reached.", code="vault_unreachable") from None

    def _sign_in(self) -> None:
        access = self._access
        if access.token_file is not None:
            self._vault.token = access.token_file.read_text(encoding="utf-8").strip()
            return
        secret = access.secret_id_file.read_text(encoding="utf-8").strip() if access.secret_id_file else ""
        try:
            self._vault.auth.approle.login(role_id=access.role_id, secret_id=secret)
        except vault.InvalidRequest:
            raise vault.Forbidden from None
