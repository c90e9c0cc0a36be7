"""Bad input of every kind: a clear error of the right status, nothing stored, the service alive, memory flat."""

from __future__ import annotations

import io
import json
import struct
import uuid
import zlib
from datetime import timedelta
from typing import Literal

import numpy as np
import psutil
import pytest
from PIL import Image

from biometrics.types import Pixels
from tests.conftest import LocalSite, encode

Where = Literal["enroll", "check"]


def png_bomb(width: int = 13000, height: int = 13000) -> bytes:
    """A PNG of some 20 kB whose pixels fill 507 MB."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    packer = zlib.compressobj(9)
    row = bytes(1 + width * 3)
    once = b"".join(packer.compress(row) for _ in range(height)) + packer.flush()
    packer = zlib.compressobj(9)
    twice = packer.compress(once[:1]) and b""  # the inner stream is what a decoder reads
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + twice + chunk(b"IHDR", header) + chunk(b"IDAT", once[:20_000]) + chunk(b"IEND", b"")


def faceless() -> Pixels:
    """A picture of a smooth gradient with some texture: nobody is in it."""
    rng = np.random.default_rng(7)
    ramp = np.linspace(60, 200, 480, dtype=np.float32)[:, None, None]
    return np.clip(ramp + rng.normal(0, 4, (480, 480, 3)), 0, 255).astype(np.uint8)


def small_face(portrait: Pixels) -> Pixels:
    """The whole portrait in a corner, with a face of some 20 pixels."""
    scene = np.full((480, 640, 3), 128, np.uint8)
    thumb = np.asarray(Image.fromarray(portrait).resize((90, 90), Image.Resampling.LANCZOS))
    scene[200:290, 300:390] = thumb
    return scene


@pytest.fixture(scope="session")
def bad_images(
    astronaut: Pixels, grace_hopper: Pixels, astronaut_jpeg: bytes
) -> dict[str, tuple[bytes, int, set[str]]]:
    """Name -> bytes, expected status, and the codes that may be given."""
    gif = io.BytesIO()
    Image.fromarray(astronaut).convert("P").save(gif, "GIF")
    two = np.concatenate([astronaut, grace_hopper[:512]], axis=1)
    svg = b'<svg xmlns="http://www.w3.org/2000/svg"><rect width="9" height="9"/></svg>'
    return {
        "zero bytes": (b"", 400, {"malformed_image"}),
        "truncated JPEG": (astronaut_jpeg[: len(astronaut_jpeg) // 3], 400, {"malformed_image"}),
        "pixel bomb": (png_bomb(), 413, {"too_large", "too_many_pixels"}),
        "GIF": (gif.getvalue(), 415, {"unsupported_image"}),
        "SVG": (svg, 415, {"unsupported_image"}),
        "text renamed .jpg": (b"this is not a photograph\n" * 40, 415, {"unsupported_image"}),
        "no face": (encode(faceless()), 422, {"face_not_found"}),
        "two faces": (encode(two), 422, {"multiple_faces"}),
        "20 px face": (encode(small_face(astronaut)), 422, {"face_not_found", "face_too_small"}),
        "black frame": (encode(np.zeros((480, 640, 3), np.uint8)), 422, {"face_not_found", "too_dark"}),
    }


BAD = [
    "zero bytes",
    "truncated JPEG",
    "pixel bomb",
    "GIF",
    "SVG",
    "text renamed .jpg",
    "no face",
    "two faces",
    "20 px face",
    "black frame",
]


def log_size(site: LocalSite) -> int:
    with site.system.storage.reading() as unit:
        return unit.log.size()


@pytest.mark.parametrize("where", ["enroll", "check"])
@pytest.mark.parametrize("name", BAD)
def test_a_bad_image_is_a_clear_error(
    site: LocalSite, bad_images: dict[str, tuple[bytes, int, set[str]]], astronaut_jpeg: bytes, name: str, where: Where
) -> None:
    content, status, codes = bad_images[name]
    token = site.enroll(astronaut_jpeg).json()["travel_token"]
    before = log_size(site)
    answer = site.enroll(content) if where == "enroll" else site.check(content, token)
    problem = answer.json()
    assert answer.status_code == status, problem
    assert answer.headers["content-type"] == "application/problem+json"
    assert problem["code"] in codes
    assert problem["request_id"] == answer.headers["x-request-id"]
    assert content[:40].decode("latin-1") not in answer.text or not content
    assert log_size(site) == before  # nothing was stored
    assert site.decision(astronaut_jpeg, token) == ("admit", "matched")  # alive


def test_a_pixel_bomb_costs_no_memory(site: LocalSite) -> None:
    bomb = png_bomb()
    assert 15_000 < len(bomb) < 25_000
    site.check(b"")  # warm
    process = psutil.Process()
    before = process.memory_info().rss
    for _ in range(20):
        assert site.check(bomb).status_code == 413
    assert process.memory_info().rss - before < 50 * 2**20


def test_images_past_the_limit_of_bytes_are_refused(site: LocalSite) -> None:
    answer = site.check(b"\xff\xd8\xff" + bytes(11 * 2**20))
    assert (answer.status_code, answer.json()["code"]) == (413, "too_large")


def test_a_body_past_the_limit_is_refused_while_it_arrives(site: LocalSite) -> None:
    def endless() -> object:
        for _ in range(200):
            yield bytes(2**20)

    answer = site.client.post(
        "/v1/enrollments",
        headers=site.auth("enroller") | {"content-type": "multipart/form-data; boundary=x"},
        content=endless(),  # type: ignore[arg-type]
    )
    assert answer.status_code == 413


def test_consent_is_not_optional(site: LocalSite, astronaut_jpeg: bytes) -> None:
    good = site.consent()
    cases: list[tuple[dict[str, object], int, str]] = [
        (good | {"purposes": []}, 400, "consent_missing"),
        (good | {"purposes": ["walk_through"]}, 400, "consent_missing"),
        (good | {"notice_sha256": "0" * 64}, 409, "notice_outdated"),
        (good | {"language": "xx"}, 404, "not_found"),
        (good | {"adult": False}, 403, "minor_to_officer"),
        (good | {"marketing": True}, 400, "malformed"),
    ]
    before = log_size(site)
    for consent, status, code in cases:
        answer = site.enroll(astronaut_jpeg, consent=consent)
        assert (answer.status_code, answer.json()["code"]) == (status, code), consent
    body = json.dumps({"travel": {"flight": "AI302", "departs_at": None}})
    answer = site.client.post(
        "/v1/enrollments",
        headers=site.auth("enroller"),
        data={"enrollment": body},
        files={"images": ("a.jpg", astronaut_jpeg)},
    )
    assert (answer.status_code, answer.json()["code"]) == (400, "malformed")
    assert log_size(site) == before


def test_unknown_and_foreign_look_the_same(site: LocalSite, astronaut_jpeg: bytes, hopper_jpeg: bytes) -> None:
    mine = site.enroll(astronaut_jpeg).json()
    theirs = site.enroll(hopper_jpeg).json()
    answers = [
        site.client.get(f"/v1/enrollments/{i}", headers=site.auth(mine["travel_token"]))
        for i in (theirs["enrollment_id"], uuid.uuid4().hex)
    ]
    answers.append(site.check(astronaut_jpeg, mine["travel_token"], gate="no-such-gate", key="entry-1"))
    answers.append(site.check(astronaut_jpeg, mine["travel_token"], gate="boarding-1", key="entry-1"))
    bodies = {json.dumps(a.json() | {"request_id": ""}) for a in answers}
    assert {a.status_code for a in answers} == {404}
    assert len(bodies) == 1


def test_an_expired_token_is_nobodys(site: LocalSite, astronaut_jpeg: bytes) -> None:
    mine = site.enroll(astronaut_jpeg, departs_in=None).json()
    site.clock.offset = timedelta(hours=24, seconds=1)
    holder = site.auth(mine["travel_token"])
    assert site.client.get(f"/v1/enrollments/{mine['enrollment_id']}", headers=holder).status_code == 404
    assert site.client.get("/v1/me/activity", headers=holder).status_code == 404
    assert site.decision(astronaut_jpeg, mine["travel_token"]) == ("deny", "not_enrolled")


@pytest.mark.parametrize("key", ["", "dwk_x", "DWP1.x.y", "dwk_" + "0" * 32 + "_" + "A" * 43, "é" * 10])
def test_a_wrong_key_is_401(site: LocalSite, key: str) -> None:
    answer = site.client.get("/v1/gates", headers={"Authorization": f"Bearer {key}".encode()})
    assert (answer.status_code, answer.json()["code"]) == (401, "not_authenticated")
    assert answer.headers["www-authenticate"] == "Bearer"


def test_roles_hold(site: LocalSite, astronaut_jpeg: bytes) -> None:
    assert site.enroll(astronaut_jpeg, key="auditor").status_code == 403
    assert site.check(astronaut_jpeg, key="enroller").status_code == 403
    for path, allowed in {
        "/v1/keys": {"admin"},
        "/v1/gates": {"admin", "officer", "auditor"},
        "/v1/audit/entries": {"auditor", "admin"},
        "/v1/audit/export": {"auditor", "admin"},
        "/v1/me/activity": set(),
    }.items():
        for role in ("enroller", "entry-1", "auditor", "officer", "admin"):
            status = site.client.get(path, headers=site.auth(role)).status_code
            assert status == (200 if role in allowed else 403), (path, role)


def test_huge_or_deep_json_is_refused(site: LocalSite, astronaut_jpeg: bytes) -> None:
    for part in ("{" + '"a":' * 5000 + "1" + "}" * 5000, json.dumps({"x": "y" * 2**20}), "[" * 30000, "not json"):
        answer = site.client.post(
            "/v1/gates/entry-1/checks",
            headers=site.auth("entry-1"),
            data={"check": part},
            files={"image": ("a.jpg", astronaut_jpeg)},
        )
        assert answer.status_code == 400, answer.text
        assert "yyyy" not in answer.text
    answer = site.client.post("/v1/gates", headers=site.auth("admin"), content=b"{" + b" " * 2**20 + b"}")
    assert answer.status_code in {400, 413}


@pytest.mark.parametrize(
    "body",
    [
        {"nonce": "short", "captured_at": "2026-11-23T10:00:00Z"},
        {"nonce": "n" * 20, "captured_at": "2026-11-23T10:00:00"},
        {"nonce": "n" * 20, "captured_at": "yesterday"},
        {"nonce": "n" * 20},
        {"nonce": "n" * 20, "captured_at": "2026-11-23T10:00:00Z", "embedding": [0.1] * 512},
        {"nonce": "n" * 20, "captured_at": "2026-11-23T10:00:00Z", "image_url": "http://169.254.169.254/"},
    ],
)
def test_a_malformed_check_is_400(site: LocalSite, astronaut_jpeg: bytes, body: dict[str, object]) -> None:
    answer = site.client.post(
        "/v1/gates/entry-1/checks",
        headers=site.auth("entry-1"),
        data={"check": json.dumps(body)},
        files={"image": ("a.jpg", astronaut_jpeg)},
    )
    assert (answer.status_code, answer.json()["code"]) == (400, "malformed")
    assert "169.254" not in answer.text and "yesterday" not in answer.text
