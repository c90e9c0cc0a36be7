"""The service as a process of its own: the road, races, a crash, the end."""

from __future__ import annotations

import json
import signal
import threading
import uuid
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from time import sleep

import httpx2
import pytest

from infra.audit.audit_verify import verify_bundle
from tests.e2e.conftest import Server, dwarpal
from tests.traveller import Site


def test_the_road_over_http(live: Site, astronaut_jpeg: bytes, hopper_jpeg: bytes, tmp_path: Path) -> None:
    enrolled = live.enroll(astronaut_jpeg).json()
    token = enrolled["travel_token"]
    for gate in ("entry-1", "security-1", "boarding-1"):
        assert live.decision(astronaut_jpeg, token, gate=gate) == ("admit", "matched")
    assert live.decision(hopper_jpeg, token) == ("deny", "not_matched")
    receipt = live.withdraw(enrolled).json()["receipt"]
    assert live.decision(astronaut_jpeg, token) == ("deny", "not_enrolled")
    bundle, kept = tmp_path / "audit.jsonl", tmp_path / "receipt.json"
    bundle.write_bytes(live.export())
    kept.write_text(json.dumps(receipt))
    assert verify_bundle(bundle, receipts=[kept]).problems == []


def test_two_equal_checks_at_once_succeed_exactly_once(live: Site, astronaut_jpeg: bytes) -> None:
    token = live.enroll(astronaut_jpeg).json()["travel_token"]
    for _ in range(5):
        nonce, at, together = uuid.uuid4().hex, datetime.now(UTC), threading.Barrier(2)

        def check(nonce: str = nonce, at: datetime = at, together: threading.Barrier = together) -> int:
            together.wait()
            return live.check(astronaut_jpeg, token, nonce=nonce, captured_at=at).status_code

        with ThreadPoolExecutor(2) as pool:
            answers = [pool.submit(check) for _ in range(2)]
            assert sorted(answer.result() for answer in answers) == [200, 409]


def test_a_revoked_key_stops_at_once(live: Site, server: Server, astronaut_jpeg: bytes) -> None:
    made = json.loads(dwarpal("keys", "create", "--role", "enroller", "--json", env=server.env))
    assert live.enroll(astronaut_jpeg, key=made["key"]).status_code == 201
    dwarpal("keys", "revoke", made["id"], env=server.env)
    assert live.enroll(astronaut_jpeg, key=made["key"]).status_code == 401


def test_nothing_in_the_log_but_routes_and_numbers(live: Site, server: Server, astronaut_jpeg: bytes) -> None:
    enrolled = live.enroll(astronaut_jpeg).json()
    live.check(astronaut_jpeg, enrolled["travel_token"])
    live.client.get(f"/v1/enrollments/{enrolled['enrollment_id']}", headers=live.auth(enrolled["travel_token"]))
    log = server.log.read_text()
    assert "/v1/enrollments/{enrollment_id}" in log
    for secret in (enrolled["enrollment_id"], enrolled["travel_token"], *live.keys.values(), "AI302"):
        assert secret not in log


def test_a_crash_during_enrollments_leaves_everything_consistent(
    own_server: Server, astronaut_jpeg: bytes, tmp_path: Path
) -> None:
    own_server.start()
    keys = own_server.make_keys()
    tokens: list[str] = []
    with own_server.site(keys) as site, ThreadPoolExecutor(3) as pool:

        def enroll() -> None:
            while True:
                try:
                    tokens.append(site.enroll(astronaut_jpeg).json()["travel_token"])
                except (httpx2.HTTPError, ValueError):
                    return

        for _ in range(3):
            pool.submit(enroll)
        while len(tokens) < 5:
            sleep(0.01)
        assert own_server.signal(signal.SIGKILL) == -signal.SIGKILL
    own_server.start()
    with own_server.site(keys) as site:
        # Every traveller who was told of an enrollment has one; the log knows them all and a few who never heard.
        assert {site.decision(astronaut_jpeg, token) for token in tokens} == {("admit", "matched")}
        bundle = tmp_path / "audit.jsonl"
        bundle.write_bytes(site.export())
    report = verify_bundle(bundle)
    assert report.problems == []
    assert len(tokens) <= report.enrolled <= len(tokens) + 3
    assert report.alive == report.enrolled


def test_purge_from_the_command_line_beside_the_service(astronaut_jpeg: bytes, tmp_path: Path) -> None:
    clock = tmp_path / "clock"
    clock.write_text("0")
    server = Server(tmp_path / "data", clock_file=clock, purge_interval_seconds=3600)
    server.start()
    try:
        with server.site(server.make_keys()) as site:
            token = site.enroll(astronaut_jpeg, departs_in=None).json()["travel_token"]
            clock.write_text(str(26 * 3600))
            site.now = lambda: datetime.now(UTC) + timedelta(hours=26)
            assert site.decision(astronaut_jpeg, token) == ("deny", "not_enrolled")
            purged = json.loads(dwarpal("purge", "--json", env=server.env))
            assert (purged["templates"], purged["epochs"]) == (1, 1)
            assert json.loads(dwarpal("purge", "--json", env=server.env))["templates"] == 0
            assert site.decision(astronaut_jpeg, token) == ("deny", "not_enrolled")
    finally:
        server.signal(signal.SIGKILL)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_the_service_gracefully(own_server: Server, astronaut_jpeg: bytes, number: int) -> None:
    own_server.start()
    keys = own_server.make_keys()
    with own_server.site(keys) as site, ThreadPoolExecutor(1) as pool:
        consent = site.consent()
        under_way = pool.submit(site.enroll, *[astronaut_jpeg] * 5, consent=consent)
        sleep(0.2)
        assert own_server.signal(number) == 0
        assert under_way.result().status_code == 201
    assert not list(own_server.data_dir.glob("*-wal")), "the database was not closed"
