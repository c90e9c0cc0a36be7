"""Liveness sessions over HTTP, on both databases, with rendered heads and the real networks."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import pytest

from biometrics.capture import only_face
from biometrics.types import Pixels
from evaluation.camera import CameraSettings, photograph_jpeg
from evaluation.challenge_runs import Kind, Show
from evaluation.head_motion import Head, Pose
from infra.capture_signing import DeviceSigner
from liveness.injection import SessionFramesClaim, base64url
from services.bootstrap import Networks
from services.challenge_stage import HttpStage
from tests.conftest import LocalSite
from tests.integration.test_journey import verify

GATE = "entry-1"
SESSIONS = "/v1/liveness/sessions"


@pytest.fixture
def site(start_site: Callable[..., LocalSite], database_url: str) -> LocalSite:
    return start_site(database_url=database_url, lockout_failures=3)


@pytest.fixture(scope="module")
def head(astronaut: Pixels, networks: Networks) -> Head:
    return Head.lifted(astronaut, only_face(networks.detector.detect(astronaut)).landmarks)


@dataclass
class SiteStage(HttpStage):
    """A stage on a site of the tests, whose clock also runs by itself."""

    site: LocalSite | None = None

    def now(self) -> datetime:
        assert self.site is not None
        return self.site.now()

    def wait(self, seconds: float) -> None:
        assert self.site is not None
        self.site.clock.offset += timedelta(seconds=seconds)


def stage_on(site: LocalSite, key: str = GATE) -> SiteStage:
    return SiteStage(site.client, site.keys[key], None, GATE, site)  # type: ignore[arg-type]


def face(head: Head, seed: int = 1) -> bytes:
    return photograph_jpeg(head.turned(Pose()), CameraSettings(), np.random.default_rng(seed))


def code(answer: object) -> tuple[int, str]:
    return answer.status_code, answer.json()["code"]  # type: ignore[attr-defined]


def test_a_session_from_its_first_step_to_its_only_use(site: LocalSite, head: Head, tmp_path: Path) -> None:
    changed = site.client.patch(f"/v1/gates/{GATE}", headers=site.auth("admin"), json={"liveness": "active"})
    assert changed.status_code == 200
    assert site.check(face(head)).json()["reason"] == "liveness_required"
    outcome = Show(stage_on(site), head, head, np.random.default_rng(5)).play(Kind.REUSED)
    assert (outcome.accepted, outcome.reason) == (False, "session_over"), "opened once, and never again"
    lines = [json.loads(line["leaf"]) for line in audit_lines(site)]
    assert [(e["decision"], e["gate"]) for e in lines if e["event"] == "liveness_ended"] == [("succeeded", GATE)]
    metrics = site.client.get("/metrics").text
    assert f'dwarpal_liveness_sessions_total{{gate="{GATE}",reason="",status="SUCCEEDED"}} 1.0' in metrics
    audited = verify(site.export(), tmp_path)
    assert audited.returncode == 0, audited.stdout


def audit_lines(site: LocalSite) -> list[dict[str, str]]:
    answer = site.client.get("/v1/audit/entries", headers=site.auth("auditor"), params={"limit": 100})
    assert answer.status_code == 200
    items: list[dict[str, str]] = answer.json()["items"]
    return items


def test_a_swapped_face_is_refused_with_a_reason_and_no_score(
    site: LocalSite, head: Head, grace_hopper: Pixels
) -> None:
    found = only_face(site.system.networks.detector.detect(grace_hopper))
    outcome = Show(stage_on(site), head, Head.lifted(grace_hopper, found.landmarks), np.random.default_rng(6)).play(
        Kind.SWAPPED_FACE
    )
    assert (outcome.accepted, outcome.reason) == (False, "face_changed")


def test_who_may_open_and_see_a_session(site: LocalSite) -> None:
    opened = site.client.post(SESSIONS, headers=site.auth(GATE))
    assert opened.status_code == 201
    body = opened.json()
    assert body["status"] == "CREATED"
    assert body["step"] == "face_camera", "no movement is told before the face is known from the front"
    assert "steps" not in body
    url = f"{SESSIONS}/{body['session_id']}"
    assert site.client.get(url, headers=site.auth(GATE)).json() == body
    for other in ("security-1", "enroller"):
        assert code(site.client.get(url, headers=site.auth(other))) == (404, "not_found")
    assert site.client.get(f"{SESSIONS}/{'0' * 32}", headers=site.auth(GATE)).status_code == 404
    for role in ("auditor", "officer", "admin"):
        assert site.client.post(SESSIONS, headers=site.auth(role)).status_code == 403
    assert site.client.post(SESSIONS).status_code == 401
    kiosk = site.client.post(SESSIONS, headers=site.auth("enroller"))
    assert kiosk.status_code == 201


def send(site: LocalSite, url: str, key: str, *files: bytes, nonce: str = "0" * 32, count: int | None = None) -> object:
    frames = [{"nonce": nonce, "captured_at": site.now().isoformat()}] * (len(files) if count is None else count)
    return site.client.post(
        f"{url}/frames",
        headers=site.auth(key),
        data={"frames": json.dumps({"frames": frames})},
        files=[("images", ("f.jpg", file)) for file in files],
    )


def test_what_is_wrong_with_a_call_is_a_problem_and_the_session_goes_on(site: LocalSite, head: Head) -> None:
    body = site.client.post(SESSIONS, headers=site.auth(GATE)).json()
    url, nonce = f"{SESSIONS}/{body['session_id']}", body["nonce"]
    assert code(send(site, url, GATE, face(head), nonce=nonce, count=2)) == (400, "frame_count")
    assert send(site, url, GATE, *[face(head)] * 9, nonce=nonce).status_code in (400, 413)  # type: ignore[attr-defined]
    assert code(send(site, url, GATE, b"no picture", nonce=nonce)) == (415, "unsupported_image")
    blank = photograph_jpeg(np.full((240, 240, 3), 90, np.uint8), CameraSettings(), np.random.default_rng(1))
    assert code(send(site, url, GATE, blank, nonce=nonce)) == (422, "face_not_found")
    assert code(send(site, url, "security-1", face(head), nonce=nonce)) == (404, "not_found")
    site.clock.offset -= timedelta(seconds=90)
    stale = {"nonce": nonce, "captured_at": site.now().isoformat()}
    site.clock.offset += timedelta(seconds=90)
    answer = site.client.post(
        f"{url}/frames",
        headers=site.auth(GATE),
        data={"frames": json.dumps({"frames": [stale]})},
        files=[("images", ("f.jpg", face(head, 2)))],
    )
    assert code(answer) == (409, "stale_capture")
    site.clock.offset += timedelta(seconds=1)
    assert send(site, url, GATE, face(head, 3), nonce=nonce).json()["status"] == "IN_PROGRESS"  # type: ignore[attr-defined]


def test_failures_lock_the_gate_for_minutes(site: LocalSite, head: Head) -> None:
    for number in range(3):
        opened = site.client.post(SESSIONS, headers=site.auth(GATE)).json()
        failed = send(site, f"{SESSIONS}/{opened['session_id']}", GATE, face(head, number)).json()  # type: ignore[attr-defined]
        assert (failed["status"], failed["reason"]) == ("FAILED", "wrong_nonce")
        assert (failed["step"], failed["nonce"]) == (None, None)
    locked = site.client.post(SESSIONS, headers=site.auth(GATE))
    assert code(locked) == (429, "locked_out")
    assert int(locked.headers["Retry-After"]) > 290
    assert site.client.post(SESSIONS, headers=site.auth("security-1")).status_code == 201
    site.clock.offset += timedelta(seconds=301)
    assert site.client.post(SESSIONS, headers=site.auth(GATE)).status_code == 201


def test_a_session_is_opened_once_for_an_idempotency_key(site: LocalSite) -> None:
    headers = site.auth(GATE) | {"Idempotency-Key": "a-key-of-sixteen-characters"}
    first, second = (site.client.post(SESSIONS, headers=headers) for _ in range(2))
    assert first.json() == second.json()
    assert second.headers["Idempotency-Replayed"] == "true"


def test_a_restart_fails_open_sessions(start_site: Callable[..., LocalSite], database_url: str) -> None:
    before = start_site(database_url=database_url)
    session_id = before.client.post(SESSIONS, headers=before.auth(GATE)).json()["session_id"]
    after = start_site(database_url=database_url)
    state = after.client.get(f"{SESSIONS}/{session_id}", headers=after.auth(GATE)).json()
    assert (state["status"], state["reason"]) == ("FAILED", "interrupted")


def test_a_gate_of_signed_captures_takes_signed_frames_only(site: LocalSite, head: Head) -> None:
    signer, jpeg = DeviceSigner.new(), face(head)
    body = {"public_key": base64url(signer.public)}
    site.client.post(f"/v1/gates/{GATE}/device-keys", headers=site.auth("admin"), json=body).raise_for_status()
    changed = site.client.patch(f"/v1/gates/{GATE}", headers=site.auth("admin"), json={"signed_captures": True})
    assert changed.status_code == 200
    opened = site.client.post(SESSIONS, headers=site.auth(GATE)).json()

    def send(*, signed: bool = True, later: timedelta = timedelta(), session: str = opened["session_id"]) -> object:
        at = site.now()
        about: dict[str, object] = {"frames": [{"nonce": opened["nonce"], "captured_at": (at + later).isoformat()}]}
        claim = SessionFramesClaim(GATE, session, ((opened["nonce"], at, hashlib.sha256(jpeg).digest()),))
        signature = signer.sign(claim)
        if signed:
            about["signature"] = {"key_id": signature.key_id, "value": base64url(signature.value)}
        return site.client.post(
            f"{SESSIONS}/{opened['session_id']}/frames",
            headers=site.auth(GATE),
            data={"frames": json.dumps(about)},
            files=[("images", ("0.jpg", jpeg))],
        )

    assert code(send(signed=False)) == (403, "signature_required")
    assert code(send(later=timedelta(milliseconds=1))) == (403, "signature_invalid")
    assert code(send(session="0" * 32)) == (403, "signature_invalid")
    state = site.client.get(f"{SESSIONS}/{opened['session_id']}", headers=site.auth(GATE)).json()
    assert state["status"] == "CREATED", "what is turned away changes nothing"
    site.clock.offset += timedelta(milliseconds=10)
    answer = send()
    assert answer.status_code == 200  # type: ignore[attr-defined]
    assert answer.json()["status"] == "IN_PROGRESS"  # type: ignore[attr-defined]
