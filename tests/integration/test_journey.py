"""The main job on both databases: consent, enroll, three gates, a stranger, a replay, a delay, withdrawal, the log."""

from __future__ import annotations

import subprocess
import sys
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path

import pytest

from infra.audit import audit_verify
from services.sweeper import Sweeper
from tests.conftest import LocalSite, encode
from tests.integration.test_bad_input import faceless


@pytest.fixture
def site(start_site: Callable[..., LocalSite], database_url: str) -> LocalSite:
    return start_site(database_url=database_url)


def verify(bundle: bytes, folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """Run the standalone verifier as an auditor would: one file, an isolated Python, no project."""
    path = folder / "audit.jsonl"
    path.write_bytes(bundle)
    command = [sys.executable, "-I", audit_verify.__file__, str(path), *options]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_the_whole_road(site: LocalSite, astronaut_jpeg: bytes, hopper_jpeg: bytes, tmp_path: Path) -> None:
    enrolled = site.enroll(astronaut_jpeg, astronaut_jpeg, b"\xff\xd8\xff broken"[:3] + hopper_jpeg[3:]).json()
    assert enrolled["code"] == "different_persons"
    enrolled = site.enroll(astronaut_jpeg, document=astronaut_jpeg).json()
    token = enrolled["travel_token"]
    assert (enrolled["accepted"], enrolled["rejected"], enrolled["flags"]) == ([0], [], [])
    assert enrolled["consent_receipt"]["purposes"][0]["purpose"] == "boarding"
    for gate in ("entry-1", "security-1", "boarding-1"):
        assert site.decision(astronaut_jpeg, token, gate=gate) == ("admit", "matched")
    assert site.decision(hopper_jpeg, token) == ("deny", "not_matched")
    nonce = uuid.uuid4().hex
    assert site.check(astronaut_jpeg, token, nonce=nonce).status_code == 200
    replay = site.check(astronaut_jpeg, token, nonce=nonce)
    assert (replay.status_code, replay.json()["code"]) == (409, "replayed")
    stale = site.check(astronaut_jpeg, token, captured_at=site.now() - timedelta(seconds=90))
    assert (stale.status_code, stale.json()["code"]) == (409, "stale_capture")
    used = site.client.get("/v1/me/activity", headers=site.auth(token)).json()["items"]
    assert [u["event"] for u in used] == ["enrolled", *["checked"] * 5]
    receipt = site.withdraw(enrolled).json()["receipt"]
    assert site.decision(astronaut_jpeg, token) == ("deny", "not_enrolled")
    assert site.withdraw(enrolled).status_code == 404
    assert receipt["kind"] == "deletion"
    result = verify(site.export(), tmp_path)
    assert result.returncode == 0, result.stdout + result.stderr


def test_a_document_of_somebody_else_is_refused(site: LocalSite, astronaut_jpeg: bytes, hopper_jpeg: bytes) -> None:
    answer = site.enroll(astronaut_jpeg, document=hopper_jpeg)
    assert (answer.status_code, answer.json()["code"]) == (409, "document_mismatch")


def test_some_images_may_fail(site: LocalSite, astronaut_jpeg: bytes) -> None:

    enrolled = site.enroll(encode(faceless()), astronaut_jpeg).json()
    assert enrolled["accepted"] == [1]
    assert enrolled["rejected"] == [{"index": 0, "reason": "face_not_found"}]


def test_walk_through_and_the_second_identity(site: LocalSite, astronaut_jpeg: bytes, hopper_jpeg: bytes) -> None:
    first = site.enroll(astronaut_jpeg, purposes=["entry", "walk_through"]).json()
    assert first["flags"] == []
    assert site.decision(astronaut_jpeg) == ("admit", "matched")
    assert site.decision(astronaut_jpeg, flight="AI302") == ("admit", "matched")
    assert site.decision(astronaut_jpeg, flight="AI999") == ("deny", "not_matched")
    assert site.decision(hopper_jpeg) == ("deny", "not_matched")
    second = site.enroll(astronaut_jpeg, purposes=["entry", "walk_through"]).json()
    assert second["flags"] == ["duplicate_suspected"]
    assert site.decision(astronaut_jpeg, second["travel_token"]) == ("refer", "duplicate_suspected")
    cleared = site.client.post(
        f"/v1/enrollments/{second['enrollment_id']}/review", headers=site.auth("officer"), json={"cleared": True}
    )
    assert cleared.status_code == 204
    assert site.decision(astronaut_jpeg, second["travel_token"]) == ("admit", "matched")
    assert site.decision(astronaut_jpeg) == ("refer", "ambiguous")
    site.withdraw(first, "officer")
    assert site.decision(astronaut_jpeg) == ("admit", "matched")


def test_galleries_are_rebuilt_from_ciphertext(
    site: LocalSite, start_site: Callable[..., LocalSite], database_url: str, astronaut_jpeg: bytes
) -> None:
    site.enroll(astronaut_jpeg, purposes=["entry", "walk_through"])
    restarted = start_site(database_url=database_url)
    assert restarted.system.gallery.size() == 1
    assert restarted.decision(astronaut_jpeg) == ("admit", "matched")


def test_lock_out_after_five_failures_also_from_many_gates(
    site: LocalSite, astronaut_jpeg: bytes, hopper_jpeg: bytes
) -> None:
    token = site.enroll(astronaut_jpeg).json()["travel_token"]
    for i in range(5):
        gate = ("entry-1", "security-1", "boarding-1")[i % 3]
        assert site.decision(hopper_jpeg, token, gate=gate) == ("deny", "not_matched")
    assert site.decision(astronaut_jpeg, token) == ("refer", "locked_out")
    site.clock.offset = timedelta(minutes=6)
    assert site.decision(astronaut_jpeg, token) == ("admit", "matched")


def test_a_delay_moves_the_expiry(site: LocalSite, astronaut_jpeg: bytes, tmp_path: Path) -> None:
    enrolled = site.enroll(astronaut_jpeg, departs_in=timedelta(hours=2)).json()
    path, token = f"/v1/enrollments/{enrolled['enrollment_id']}/travel", enrolled["travel_token"]
    later = (site.now() + timedelta(hours=9)).isoformat()
    without = site.client.patch(path, headers=site.auth("enroller"), json={"departs_at": later})
    assert (without.status_code, without.json()["code"]) == (403, "travel_token_needed")
    moved = site.client.patch(
        path, headers=site.auth("enroller"), json={"departs_at": later, "travel_token": token}
    ).json()
    assert moved["expires_at"] > enrolled["expires_at"]
    live_until(site, hours=30)
    assert site.decision(astronaut_jpeg, token) == ("admit", "matched")
    history = site.client.get("/v1/me/activity", headers=site.auth(token)).json()["items"]
    assert "moved_in" in {h["event"] for h in history}
    live_until(site, hours=36)
    assert site.decision(astronaut_jpeg, token) == ("deny", "not_enrolled")
    result = verify(site.export(), tmp_path)
    assert result.returncode == 0, result.stdout + result.stderr


def live_until(site: LocalSite, *, hours: int) -> None:
    """Let the hours pass with a sweep in each, as this site's interval asks: the verifier notices a lazy purger."""
    while site.clock.offset < timedelta(hours=hours):
        site.clock.offset += timedelta(hours=1)
        Sweeper(site.system).sweep()


def test_the_same_request_twice_has_one_effect(site: LocalSite, astronaut_jpeg: bytes, hopper_jpeg: bytes) -> None:
    key, consent = uuid.uuid4().hex, site.consent()
    departs = timedelta(hours=3)
    moment = site.clock.now()
    site.now = lambda: moment  # the same body, to the microsecond

    def ask() -> tuple[int, object]:
        answer = site.enroll(astronaut_jpeg, idempotency_key=key, consent=consent, departs_in=departs)
        return answer.status_code, answer.json().get("enrollment_id", answer.json().get("code"))

    with ThreadPoolExecutor(3) as pool:
        together = list(pool.map(lambda _: ask(), range(3)))
    again = ask()
    assert again[0] == 201
    assert {a for a in together if a[0] == 201} == {again}
    assert all(a == again or a == (409, "in_progress") for a in together)
    with site.system.storage.reading() as unit:
        assert len([e for e in unit.log.entries(0, 100) if e.event == "enrolled"]) == 1
    other = site.enroll(hopper_jpeg, idempotency_key=key, consent=consent, departs_in=departs)
    assert (other.status_code, other.json()["code"]) == (409, "idempotency_mismatch")


def test_two_equal_checks_at_once_succeed_exactly_once(site: LocalSite, astronaut_jpeg: bytes) -> None:
    token = site.enroll(astronaut_jpeg).json()["travel_token"]
    for _ in range(3):
        nonce, at = uuid.uuid4().hex, site.now()
        with ThreadPoolExecutor(4) as pool:
            answers = list(
                pool.map(lambda _: site.check(astronaut_jpeg, token, nonce=nonce, captured_at=at).status_code, range(4))  # noqa: B023
            )
        assert sorted(answers) == [200, 409, 409, 409]
