"""The HTTP interface as its callers use it: what `dwarpal enroll`, `check`, `withdraw` and the demo speak through."""

from __future__ import annotations

import hashlib
import json
import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from time import perf_counter
from types import TracebackType
from typing import Self
from urllib.parse import quote

import httpx2
from pydantic import JsonValue, TypeAdapter

from liveness.injection import CaptureClaim, CaptureSignature, base64url
from services.cli.outcome import CommandFailed, ExitCode

Sign = Callable[[CaptureClaim], CaptureSignature]

TIMEOUT_SECONDS = 60.0
JSON_OBJECT = TypeAdapter(dict[str, JsonValue])
FilePart = tuple[str, tuple[str | None, bytes, str]]
"""A multipart field: its name, then file name, content and type."""


class Unreachable(CommandFailed):
    """There is no service at the URL, or no sensible answer from it."""

    def __init__(self, detail: str) -> None:
        super().__init__(detail, ExitCode.UNAVAILABLE)


@dataclass(frozen=True, slots=True)
class Answer:
    """What the service said: the status, the JSON body or the raw content, and how long the round trip took."""

    status: int
    body: dict[str, JsonValue] = field(repr=False)
    content: bytes = field(repr=False)
    milliseconds: float

    @property
    def ok(self) -> bool:
        """Whether the request was done."""
        return self.status < 400

    def text(self, name: str) -> str:
        """Return a field of the body as text, empty if it is absent."""
        value = self.body.get(name)
        return value if isinstance(value, str) else "" if value is None else json.dumps(value)

    def object(self, name: str) -> dict[str, JsonValue]:
        """Return a field of the body that is an object, empty if it is absent."""
        value = self.body.get(name)
        return value if isinstance(value, dict) else {}

    def items(self, name: str = "items") -> list[dict[str, JsonValue]]:
        """Return a field of the body that is a list of objects."""
        value = self.body.get(name)
        return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


class Service:
    """A running service; every call returns an `Answer`, also a refusal, and raises `Unreachable` for no answer."""

    def __init__(self, url: str) -> None:
        # Environment proxies are left out: images go to the service and to nobody between.
        self._http = httpx2.Client(base_url=url, timeout=TIMEOUT_SECONDS, trust_env=False)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._http.close()

    def get(self, path: str, *, key: str | None = None, query: dict[str, str | int] | None = None) -> Answer:
        """Ask for something."""
        return self._send("GET", path, key, params=query)

    def post(self, path: str, body: dict[str, JsonValue], *, key: str | None = None) -> Answer:
        """Send JSON."""
        return self._send("POST", path, key, content=json.dumps(body).encode())

    def post_text(self, path: str, text: str, *, key: str) -> Answer:
        """Send plain text."""
        return self._send("POST", path, key, content=text.encode(), content_type="text/plain; charset=utf-8")

    def delete(self, path: str, *, key: str | None = None) -> Answer:
        """Ask for an end."""
        return self._send("DELETE", path, key)

    def enroll(
        self,
        images: Sequence[bytes],
        *,
        key: str,
        flight: str,
        departs_at: datetime | None,
        purposes: Sequence[str],
        notice: dict[str, JsonValue],
        adult: bool,
        path: str = "/v1/enrollments",
    ) -> Answer:
        """Enroll a traveller who read `notice` and agreed to `purposes`; other calls at `path` take the same."""
        consent: dict[str, JsonValue] = {
            "purposes": list(purposes),
            "notice_version": notice["version"],
            "notice_sha256": notice["sha256"],
            "language": notice["language"],
            "adult": adult,
        }
        travel: dict[str, JsonValue] = {
            "flight": flight,
            "departs_at": departs_at.isoformat() if departs_at else None,
        }
        return self._multipart(path, key, "enrollment", {"travel": travel, "consent": consent}, "images", images)

    def check(
        self,
        gate: str,
        images: bytes | Sequence[bytes],
        *,
        key: str,
        captured_at: datetime,
        token: str | None,
        flight: str | None = None,
        nonce: str | None = None,
        sign: Sign | None = None,
        credential: str | None = None,
    ) -> Answer:
        """Check one traveller at a gate, by one image or a burst; `nonce` is given only to show what a replay does."""
        burst = [images] if isinstance(images, bytes) else images
        nonce = nonce or secrets.token_urlsafe(24)
        body: dict[str, JsonValue] = {"nonce": nonce, "captured_at": captured_at.isoformat()}
        if sign is not None:
            digests = tuple(hashlib.sha256(image).digest() for image in burst)
            signature = sign(CaptureClaim(gate, nonce, captured_at, digests))
            body["signature"] = {"key_id": signature.key_id, "value": base64url(signature.value)}
        if token is not None:
            body["travel_token"] = token
        if credential is not None:
            body["credential"] = credential
        if flight is not None:
            body["flight"] = flight
        field = "image" if len(burst) == 1 else "images"
        return self._multipart(f"/v1/gates/{quote(gate, safe='')}/checks", key, "check", body, field, burst)

    def _multipart(
        self, path: str, key: str, part: str, body: dict[str, JsonValue], name: str, images: Sequence[bytes]
    ) -> Answer:
        files: list[FilePart] = [(part, (None, json.dumps(body).encode(), "application/json"))]
        files += [(name, (f"{name}-{index}", image, "application/octet-stream")) for index, image in enumerate(images)]
        return self._send("POST", path, key, files=files)

    def _send(
        self,
        method: str,
        path: str,
        key: str | None,
        *,
        params: dict[str, str | int] | None = None,
        content: bytes | None = None,
        content_type: str = "application/json",
        files: Sequence[FilePart] | None = None,
    ) -> Answer:
        headers = {} if key is None else {"Authorization": f"Bearer {key}"}
        if content is not None:
            headers["Content-Type"] = content_type
        started = perf_counter()
        try:
            response = self._http.request(method, path, headers=headers, params=params, content=content, files=files)
        except (httpx2.HTTPError, httpx2.InvalidURL, UnicodeError):
            # The library's message may quote the request.
            raise Unreachable("The service does not answer.") from None
        milliseconds = (perf_counter() - started) * 1000
        return Answer(response.status_code, _object(response), response.content, milliseconds)


def _object(response: httpx2.Response) -> dict[str, JsonValue]:
    if "json" not in response.headers.get("content-type", "") or "jsonl" in response.headers["content-type"]:
        return {}
    try:
        return JSON_OBJECT.validate_json(response.content)
    except ValueError:
        raise Unreachable("The answer is not the service's.") from None
