"""Drives the HTTP interface as its callers do: an enroller, a gate, a traveller, an auditor."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import httpx2

Times = Callable[[], datetime]


@dataclass
class Site:
    """A running service and the keys of everybody who calls it; `now` is the service's time."""

    client: httpx2.Client
    keys: dict[str, str]
    now: Times = lambda: datetime.now(UTC)

    def auth(self, who: str) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.keys.get(who, who)}"}

    def consent(
        self, purposes: Sequence[str] = ("entry", "security", "boarding"), lang: str = "en"
    ) -> dict[str, object]:
        notice = self.client.get("/v1/notice", params={"lang": lang}).json()
        return {
            "purposes": list(purposes),
            "notice_version": notice["version"],
            "notice_sha256": notice["sha256"],
            "language": lang,
            "adult": True,
        }

    def enroll(
        self,
        *images: bytes,
        purposes: Sequence[str] = ("entry", "security", "boarding"),
        flight: str = "AI302",
        departs_in: timedelta | None = timedelta(hours=3),
        document: bytes | None = None,
        key: str = "enroller",
        idempotency_key: str | None = None,
        consent: dict[str, object] | None = None,
    ) -> httpx2.Response:
        departs_at = None if departs_in is None else (self.now() + departs_in).isoformat()
        body = {
            "travel": {"flight": flight, "departs_at": departs_at},
            "consent": consent or self.consent(purposes),
        }
        files = [("images", (f"{i}.jpg", image)) for i, image in enumerate(images)]
        if document is not None:
            files.append(("document", ("document.jpg", document)))
        headers = self.auth(key) | ({"Idempotency-Key": idempotency_key} if idempotency_key else {})
        return self.client.post("/v1/enrollments", headers=headers, data={"enrollment": json.dumps(body)}, files=files)

    def check(
        self,
        image: bytes,
        token: str | None = None,
        *,
        gate: str = "entry-1",
        key: str | None = None,
        nonce: str | None = None,
        captured_at: datetime | None = None,
        flight: str | None = None,
    ) -> httpx2.Response:
        body = {
            "nonce": nonce or uuid.uuid4().hex,
            "captured_at": (captured_at or self.now()).isoformat(),
            "travel_token": token,
            "flight": flight,
        }
        return self.client.post(
            f"/v1/gates/{gate}/checks",
            headers=self.auth(key or gate),
            data={"check": json.dumps(body)},
            files={"image": ("capture.jpg", image)},
        )

    def decision(self, *args: object, **kwargs: object) -> tuple[str, str]:
        answer = self.check(*args, **kwargs)  # type: ignore[arg-type]
        assert answer.status_code == 200, answer.text
        return answer.json()["decision"], answer.json()["reason"]

    def withdraw(self, enrollment: dict[str, object], who: str | None = None) -> httpx2.Response:
        caller = self.auth(who or str(enrollment["travel_token"]))
        return self.client.delete(f"/v1/enrollments/{enrollment['enrollment_id']}", headers=caller)

    def export(self) -> bytes:
        answer = self.client.get("/v1/audit/export", headers=self.auth("auditor"))
        assert answer.status_code == 200, answer.text
        return answer.content
