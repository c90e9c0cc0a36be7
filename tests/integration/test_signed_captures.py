"""Gate policies, device keys and signed captures over HTTP, on both databases."""

from __future__ import annotations

import base64
import hashlib
import json
import uuid
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from pathlib import Path

import httpx2
import numpy as np
import pytest

from biometrics.types import Pixels
from evaluation.camera import CameraSettings, photograph_jpeg
from evaluation.moving import moved_head, moved_sheet, sway
from infra.capture_signing import DeviceSigner
from liveness.injection import CaptureClaim, base64url
from tests.conftest import LocalSite
from tests.integration.test_journey import verify
from tests.unit.liveness.test_motion import LANDMARKS

GATE = "entry-1"
DEVICES = f"/v1/gates/{GATE}/device-keys"
CAMERA = CameraSettings(blur=0.5, shot_noise=0.008, jpeg_quality=92)


@pytest.fixture
def site(start_site: Callable[..., LocalSite], database_url: str) -> LocalSite:
    return start_site(database_url=database_url)


@pytest.fixture(scope="module")
def living(astronaut: Pixels) -> list[bytes]:
    rng = np.random.default_rng(11)
    poses = sway(4, yaw=6, right=0.15)
    return [photograph_jpeg(moved_head(astronaut, LANDMARKS, pose), CAMERA, rng) for pose in poses]


def register(site: LocalSite, signer: DeviceSigner, gate: str = GATE) -> httpx2.Response:
    body = {"public_key": base64url(signer.public)}
    return site.client.post(f"/v1/gates/{gate}/device-keys", headers=site.auth("admin"), json=body)


def change(site: LocalSite, **policy: object) -> httpx2.Response:
    return site.client.patch(f"/v1/gates/{GATE}", headers=site.auth("admin"), json=policy)


def send(
    site: LocalSite,
    images: Sequence[bytes],
    token: str | None,
    signer: DeviceSigner | None = None,
    *,
    signed: Sequence[bytes] | None = None,
    signed_gate: str = GATE,
    nonce: str | None = None,
    captured_at: datetime | None = None,
    session: str | None = None,
) -> httpx2.Response:
    """Send images with a signature over `signed`, by default the same ones."""
    nonce, at = nonce or uuid.uuid4().hex, captured_at or site.now()
    body: dict[str, object] = {"nonce": nonce, "captured_at": at.isoformat(), "travel_token": token}
    if session is not None:
        body["liveness_session"] = session
    if signer is not None:
        digests = tuple(hashlib.sha256(image).digest() for image in signed or images)
        signature = signer.sign(CaptureClaim(signed_gate, nonce, at, digests))
        body["signature"] = {"key_id": signature.key_id, "value": base64url(signature.value)}
    field = "image" if len(images) == 1 else "images"
    files = [(field, (f"{n}.jpg", image)) for n, image in enumerate(images)]
    return site.client.post(
        f"/v1/gates/{GATE}/checks", headers=site.auth(GATE), data={"check": json.dumps(body)}, files=files
    )


def told(answer: httpx2.Response) -> tuple[int, str]:
    body = answer.json()
    return answer.status_code, body.get("code") or f"{body['decision']} {body['reason']}"


def test_signed_captures_from_registration_to_revocation(
    site: LocalSite, astronaut_jpeg: bytes, hopper_jpeg: bytes, tmp_path: Path
) -> None:
    token = site.enroll(astronaut_jpeg).json()["travel_token"]
    camera, stranger, neighbor = (DeviceSigner.new() for _ in range(3))
    key = register(site, camera).json()
    assert register(site, neighbor, "security-1").status_code == 201
    assert told(register(site, camera, "security-1")) == (409, "device_key_exists")
    assert told(send(site, [astronaut_jpeg], token)) == (200, "admit matched"), "not asked for yet"
    assert told(send(site, [astronaut_jpeg], token, stranger)) == (403, "signature_invalid")
    changed = change(site, signed_captures=True).json()
    assert (changed["liveness"], changed["signed_captures"]) == ("passive", True)

    def sent(*args: object, **options: object) -> tuple[int, str]:
        return told(send(site, [astronaut_jpeg], token, *args, **options))  # type: ignore[arg-type]

    nonce, at = uuid.uuid4().hex, site.now()
    assert sent(camera, nonce=nonce, captured_at=at) == (200, "admit matched")
    assert sent(camera, nonce=nonce, captured_at=at) == (409, "replayed")
    assert sent(camera, captured_at=site.now() - timedelta(seconds=90)) == (409, "stale_capture")
    assert sent() == (403, "signature_required")
    refused = {
        "other bytes": sent(camera, signed=[hopper_jpeg]),
        "a gate of another name": sent(camera, signed_gate="security-1"),
        "an unknown key": sent(stranger),
        "another gate's key": sent(neighbor),
    }
    assert set(refused.values()) == {(403, "signature_invalid")}
    assert sent(camera) == (200, "admit matched"), "refusals count against nobody"
    revoked = site.client.delete(f"{DEVICES}/{key['id']}", headers=site.auth("admin"))
    assert revoked.status_code == 204
    assert sent(camera) == (403, "signature_invalid")
    assert told(register(site, camera)) == (409, "device_key_exists")
    [listed] = site.client.get(DEVICES, headers=site.auth("admin")).json()["items"]
    assert listed["id"] == key["id"]
    assert listed["revoked_at"] is not None
    assert listed["public_key"] == base64url(camera.public)
    result = verify(site.export(), tmp_path)
    assert result.returncode == 0, result.stdout + result.stderr
    entries = site.client.get("/v1/audit/entries", headers=site.auth("auditor"), params={"limit": 100}).json()["items"]
    events = [(entry["entry"]["event"], entry["entry"].get("reason")) for entry in entries]
    assert ("gate_changed", "passive/signed") in events
    assert ("device_key_added", key["id"]) in events
    assert ("device_key_revoked", key["id"]) in events


def test_of_two_equal_signed_captures_at_once_exactly_one_is_answered(site: LocalSite, astronaut_jpeg: bytes) -> None:
    token, camera = site.enroll(astronaut_jpeg).json()["travel_token"], DeviceSigner.new()
    register(site, camera)
    change(site, signed_captures=True)
    nonce, at = uuid.uuid4().hex, site.now()

    def once(_: int) -> tuple[int, str]:
        return told(send(site, [astronaut_jpeg], token, camera, nonce=nonce, captured_at=at))

    with ThreadPoolExecutor(4) as pool:
        answers = sorted(pool.map(once, range(4)))
    assert answers == [(200, "admit matched"), *[(409, "replayed")] * 3]


def test_a_forgery_is_refused_before_anything_is_decoded(site: LocalSite) -> None:
    camera = DeviceSigner.new()
    register(site, camera)
    change(site, signed_captures=True)
    no_image = b"\xff\xd8\xff and nothing else"
    assert told(send(site, [no_image], None)) == (403, "signature_required")
    assert told(send(site, [no_image], None, DeviceSigner.new())) == (403, "signature_invalid")
    assert send(site, [no_image], None, camera).status_code in (400, 415)


def test_a_burst_signed_and_its_order(site: LocalSite, astronaut_jpeg: bytes, living: list[bytes]) -> None:
    token, camera = site.enroll(astronaut_jpeg).json()["travel_token"], DeviceSigner.new()
    register(site, camera)
    change(site, signed_captures=True)
    assert told(send(site, living, token, camera)) == (200, "admit matched")
    swapped = [living[1], living[0], *living[2:]]
    assert told(send(site, swapped, token, camera, signed=living)) == (403, "signature_invalid")
    assert told(send(site, living[:3], token, camera, signed=living)) == (403, "signature_invalid")


def test_bursts_that_are_no_living_person(site: LocalSite, astronaut: Pixels, living: list[bytes]) -> None:
    rng = np.random.default_rng(3)
    token = site.enroll(living[0]).json()["travel_token"]
    moved = sway(4, yaw=6, right=0.3)
    sheet = [photograph_jpeg(moved_sheet(astronaut, LANDMARKS, pose), CAMERA, rng) for pose in moved]
    assert told(send(site, sheet, token)) == (200, "refer attack_suspected")
    assert told(send(site, [living[0]] * 3, token)) == (200, "refer attack_suspected")
    metrics = site.client.get("/metrics").text
    assert f'dwarpal_suspected_attacks_total{{cue="flat_surface",gate="{GATE}"}} 1.0' in metrics
    assert f'dwarpal_suspected_attacks_total{{cue="frame_repeated",gate="{GATE}"}} 1.0' in metrics
    assert told(send(site, living, token)) == (200, "admit matched")


def test_how_many_frames_and_in_which_field(site: LocalSite, living: list[bytes]) -> None:
    assert told(send(site, living[:2], None)) == (400, "frame_count")
    assert told(send(site, [living[0]] * 9, None)) == (413, "too_many_images")
    body = json.dumps({"nonce": uuid.uuid4().hex, "captured_at": site.now().isoformat()})
    path, headers = f"/v1/gates/{GATE}/checks", site.auth(GATE)
    both = [("image", ("0.jpg", living[0])), *(("images", (f"{n}.jpg", living[n])) for n in range(3))]
    for files in (both, []):
        answer = site.client.post(path, headers=headers, data={"check": body}, files=files or {"check": (None, body)})
        assert answer.status_code == 400


@pytest.mark.parametrize("policy", ["active", "both"])
def test_a_gate_that_asks_for_a_challenge_admits_nobody_without_one(
    site: LocalSite, astronaut_jpeg: bytes, policy: str
) -> None:
    token = site.enroll(astronaut_jpeg).json()["travel_token"]
    assert change(site, liveness=policy).json()["liveness"] == policy
    assert told(send(site, [astronaut_jpeg], token)) == (200, "refer liveness_required")
    assert told(send(site, [astronaut_jpeg], token, session=uuid.uuid4().hex)) == (200, "refer liveness_required")
    change(site, liveness="passive")
    assert told(send(site, [astronaut_jpeg], token)) == (200, "admit matched")


def test_only_admins_manage_policies_and_device_keys(site: LocalSite) -> None:
    body = {"public_key": base64url(DeviceSigner.new().public)}
    for who in (GATE, "enroller", "officer", "auditor"):
        headers = site.auth(who)
        assert site.client.get(DEVICES, headers=headers).status_code == 403
        assert site.client.post(DEVICES, headers=headers, json=body).status_code == 403
        assert site.client.delete(f"{DEVICES}/{'0' * 32}", headers=headers).status_code == 403
        assert site.client.patch(f"/v1/gates/{GATE}", headers=headers, json={}).status_code == 403
    admin = site.auth("admin")
    assert site.client.patch("/v1/gates/nowhere", headers=admin, json={}).status_code == 404
    assert site.client.get("/v1/gates/nowhere/device-keys", headers=admin).status_code == 404
    assert site.client.post("/v1/gates/nowhere/device-keys", headers=admin, json=body).status_code == 404
    assert site.client.delete(f"{DEVICES}/{'0' * 32}", headers=admin).status_code == 404
    assert site.client.post(DEVICES, headers=admin, json={"public_key": "A" * 43}).status_code == 400
    assert change(site, liveness="none").status_code == 400
    made = {"id": "new-1", "purpose": "entry", "liveness": "both", "signed_captures": True}
    assert site.client.post("/v1/gates", headers=admin, json=made).json() == {**made, "walk_through": False}


def test_a_registered_key_is_the_same_in_any_spelling(site: LocalSite) -> None:
    signer = DeviceSigner.new()
    assert register(site, signer).status_code == 201
    text = base64url(signer.public)
    other = next(
        text[:-1] + last
        for last in "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
        if last != text[-1] and base64.urlsafe_b64decode(text[:-1] + last + "=") == signer.public
    )
    again = site.client.post(DEVICES, headers=site.auth("admin"), json={"public_key": other})
    assert told(again) == (409, "device_key_exists")
