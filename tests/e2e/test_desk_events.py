"""The desk's stream on a real server: what happens arrives, and the stream ends when it must."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from time import monotonic, sleep

import httpx2
import pytest

from tests.e2e.conftest import Server, dwarpal
from tests.traveller import Site


@pytest.fixture
def running(own_server: Server) -> Server:
    own_server.start()
    return own_server


@contextmanager
def listening(site: Site, who: str) -> Iterator[Iterator[tuple[str, dict[str, object]]]]:
    """Read the stream as events."""

    def read(lines: Iterator[str]) -> Iterator[tuple[str, dict[str, object]]]:
        kind = ""
        for line in lines:
            if line.startswith("event: "):
                kind = line.removeprefix("event: ")
            elif line.startswith("data: "):
                yield kind, json.loads(line.removeprefix("data: "))

    with site.client.stream("GET", "/v1/desk/events", headers=site.auth(who)) as answer:
        assert answer.status_code == 200
        assert answer.headers["content-type"].startswith("text/event-stream")
        yield read(answer.iter_lines())


def test_who_is_turned_away_appears_and_goes_when_decided(
    running: Server, astronaut_jpeg: bytes, hopper_jpeg: bytes
) -> None:
    keys = running.make_keys()
    with running.site(keys) as site, running.site(keys) as officer, listening(officer, "officer") as events:
        assert next(events) == ("snapshot", {"waiting": []})
        token = site.enroll(astronaut_jpeg, departs_in=None).json()["travel_token"]
        assert site.decision(astronaut_jpeg, token) == ("admit", "matched")
        check = site.check(hopper_jpeg, token).json()
        kind, waiting = next(events)
        assert (kind, waiting["check_id"], waiting["gate_id"]) == ("waiting", check["check_id"], "entry-1")
        assert waiting.keys() == {"audit_index", "check_id", "gate_id", "purpose", "decision", "reason", "time"}
        with running.site(keys) as colleague, listening(colleague, "admin") as late:
            assert next(late) == ("snapshot", {"waiting": [waiting]})
        body = {"audit_index": check["audit_index"], "check_id": check["check_id"]}
        body |= {"decision": "deny", "reason": "papers_did_not_match"}
        assert site.client.post("/v1/desk/decisions", headers=site.auth("officer"), json=body).status_code == 201
        kind, decided = next(events)
        assert (kind, decided["check_id"], decided["decision"]) == ("decided", check["check_id"], "deny")


def test_a_revoked_key_and_a_service_that_stops_end_the_stream(running: Server) -> None:
    keys = running.make_keys()
    with running.site(keys) as officer, listening(officer, "officer") as events:
        next(events)
        dwarpal("keys", "revoke", keys["officer"].split("_")[1], env=running.env)
        assert next(events) == ("signed_out", {})
        assert next(events, None) is None
    with running.site(keys) as admin, listening(admin, "admin") as events, ThreadPoolExecutor(1) as pool:
        next(events)
        started = monotonic()
        stopping = pool.submit(running.signal, signal.SIGTERM)
        assert next(events, None) is None
        assert stopping.result() == 0
        assert monotonic() - started < 10


def test_others_may_not_listen_and_desks_are_not_without_number(running: Server) -> None:
    keys = running.make_keys()
    with running.site(keys) as site:
        for who in ("auditor", "enroller", "entry-1", "nobody"):
            answer = site.client.get("/v1/desk/events", headers=site.auth(who))
            assert answer.status_code == (401 if who == "nobody" else 403)
        open_streams, refused = [], 0
        limits = httpx2.Limits(max_connections=100)
        with httpx2.Client(base_url=site.client.base_url, timeout=30, trust_env=False, limits=limits) as many:
            for _ in range(66):
                request = many.build_request("GET", "/v1/desk/events", headers=site.auth("officer"))
                answer = many.send(request, stream=True)
                refused += answer.status_code == 503
                open_streams.append(answer)
            assert refused == 2
            for answer in open_streams:
                answer.close()
        sleep(3)  # they end with the next look at the log
        with listening(site, "officer") as events:
            assert next(events)[0] == "snapshot"
