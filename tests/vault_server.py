"""A small server that speaks Vault's HTTP as far as we use it: AppRole, transit keys and HMAC, KV version 2, seal.

Paths, statuses and error texts are those of Vault's API documentation and source (1.15 to 1.20). Failures are injected:
`break_at` counts requests, and the one that is hit is not answered, before it acts or (`after`) once it has acted.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from time import monotonic, sleep

import uvicorn
from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, Response

ROLE, SECRET = "the-role", "the-secret"


@dataclass
class Vault:
    """What Vault remembers, and how it misbehaves."""

    url: str = ""
    keys: dict[str, dict[str, object]] = field(default_factory=dict)
    entries: dict[str, tuple[int, dict[str, object]]] = field(default_factory=dict)
    tokens: dict[str, float] = field(default_factory=dict)
    token_seconds: float = 3600
    sealed: bool = False
    break_at: int | None = None
    after: bool = False
    requests: int = 0
    ever: list[str] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def sign_in(self) -> str:
        """Return a new token."""
        token = "hvs." + secrets.token_urlsafe(16)
        self.tokens[token] = monotonic() + self.token_seconds
        return token


def errors(status: int, *texts: str) -> JSONResponse:
    return JSONResponse({"errors": [*texts]}, status)


def application(vault: Vault) -> FastAPI:
    app = FastAPI(openapi_url=None)

    @app.api_route("/v1/{path:path}", methods=["GET", "POST", "PUT", "DELETE", "LIST"])
    async def answer(path: str, request: Request) -> Response:
        body = await request.json() if await request.body() else {}
        with vault.lock:
            vault.requests += 1
            hit = vault.break_at is not None and vault.requests == vault.break_at
            if hit and not vault.after:
                return errors(502)
            done = act(vault, request.method, path, body, request.headers.get("x-vault-token", ""))
            return errors(502) if hit else done

    return app


def act(vault: Vault, method: str, path: str, body: dict[str, object], token: str) -> Response:
    if vault.sealed:
        return errors(503, "Vault is sealed")
    if path == "auth/approle/login":
        if (body.get("role_id"), body.get("secret_id")) != (ROLE, SECRET):
            return errors(400, "invalid role or secret ID")
        lease = {"client_token": vault.sign_in(), "lease_duration": int(vault.token_seconds), "renewable": True}
        return JSONResponse({"auth": lease})
    if vault.tokens.get(token, 0) <= monotonic():
        return errors(403, "permission denied")
    kind, _, rest = path.partition("/")
    if kind == "secret" and rest.startswith("data/"):
        return entry(vault, method, rest, body)
    if kind == "transit":
        return transit(vault, method, rest, body)
    return errors(404)


def entry(vault: Vault, method: str, path: str, body: dict[str, object]) -> Response:
    version, data = vault.entries.get(path, (0, {}))
    if method == "GET":
        if version == 0:
            return errors(404)
        return JSONResponse({"data": {"data": data, "metadata": {"version": version, "destroyed": False}}})
    if body.get("options", {}).get("cas") != version:  # type: ignore[attr-defined]
        return errors(400, "check-and-set parameter did not match the current version")
    vault.entries[path] = version + 1, body["data"]  # type: ignore[assignment]
    return JSONResponse({"data": {"version": version + 1}})


def transit(vault: Vault, method: str, path: str, body: dict[str, object]) -> Response:
    kind, name, *more = path.split("/")
    key = vault.keys.get(name)
    if kind == "hmac":
        if key is None:
            return errors(400, "encryption key not found")
        assert (more or [body.get("algorithm", "sha2-256")]) == ["sha2-256"]
        digest = hmac.digest(key["secret"], base64.b64decode(str(body["input"])), hashlib.sha256)  # type: ignore[arg-type]
        return JSONResponse({"data": {"hmac": "vault:v1:" + base64.b64encode(digest).decode()}})
    if more == ["config"]:
        if key is None:
            return errors(400, f"no existing key named {name} could be found")
        key.update(body)
        return Response(status_code=204)
    if method in ("POST", "PUT"):
        if key is None:
            assert not body.get("exportable")
            assert not body.get("allow_plaintext_backup")
            vault.keys[name] = {"secret": secrets.token_bytes(32), "deletion_allowed": False}
            vault.ever.append(name)
        return Response(status_code=204)
    if method == "GET":
        return errors(404) if key is None else JSONResponse({"data": {"name": name, "type": "aes256-gcm96"}})
    if key is None:
        return errors(400, f"error deleting policy {name}: could not delete key; not found")
    if not key["deletion_allowed"]:
        return errors(400, f"error deleting policy {name}: deletion is not allowed for this policy")
    del vault.keys[name]
    return Response(status_code=204)


@contextmanager
def serving() -> Iterator[Vault]:
    """Serve on a free port of this machine until the block ends."""
    vault = Vault()
    server = uvicorn.Server(uvicorn.Config(application(vault), host="127.0.0.1", port=0, log_config=None, ws="none"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        sleep(0.01)
    vault.url = f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    try:
        yield vault
    finally:
        server.should_exit = True
        thread.join(10)
