"""The officer's desk over HTTP: who waits, decisions by hand, once and in the log, and the state of the house."""

from __future__ import annotations

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from functools import partial
from pathlib import Path

import httpx2
import pytest

from services.desk import LONGEST_WAIT, waiting
from services.sweeper import Sweeper
from tests.conftest import LocalSite
from tests.integration.test_journey import verify
from tests.integration.test_pages import FOREIGN, OWN, cookie_of, csrf_of, sign_in


@pytest.fixture
def either_site(start_site: Callable[..., LocalSite], database_url: str) -> LocalSite:
    return start_site(database_url=database_url)


def turned_away(site: LocalSite, stranger: bytes, token: str) -> dict[str, object]:
    """Have somebody denied at a gate, and return what the gate was told."""
    answer = site.check(stranger, token)
    assert answer.json()["decision"] == "deny"
    told: dict[str, object] = answer.json()
    return told


def decide(
    site: LocalSite, check: dict[str, object], decision: str = "admit", who: str = "officer", **changes: object
) -> httpx2.Response:
    reason = "papers_checked" if decision == "admit" else "papers_did_not_match"
    body = {"audit_index": check["audit_index"], "check_id": check["check_id"], "decision": decision, "reason": reason}
    return site.client.post("/v1/desk/decisions", headers=site.auth(who), json=body | changes)


def still_waiting(site: LocalSite) -> list[str]:
    with site.system.storage.reading() as unit:
        return [check.check_id for check in waiting(unit, site.now())[0]]


def test_an_officer_decides_once_and_the_traveller_sees_it(
    either_site: LocalSite, astronaut_jpeg: bytes, hopper_jpeg: bytes, tmp_path: Path
) -> None:
    site = either_site
    enrolled = site.enroll(astronaut_jpeg).json()
    first, second = (turned_away(site, hopper_jpeg, enrolled["travel_token"]) for _ in range(2))
    assert still_waiting(site) == [first["check_id"], second["check_id"]]
    done = decide(site, first)
    assert done.status_code == 201
    assert {**done.json(), "time": 0, "audit_index": 0} == {
        "audit_index": 0,
        "check_id": first["check_id"],
        "gate_id": "entry-1",
        "decision": "admit",
        "reason": "papers_checked",
        "time": 0,
    }
    assert still_waiting(site) == [second["check_id"]]
    again = decide(site, first, "deny")
    assert (again.status_code, again.json()["code"]) == (409, "decided_already")
    assert decide(site, second, "deny", reason="enroll_again").status_code == 201
    assert still_waiting(site) == []
    activity = site.client.get("/v1/me/activity", headers=site.auth(enrolled["travel_token"])).json()["items"]
    by_hand = [(item["event"], item["decision"], item["gate"]) for item in activity if item["event"] != "checked"]
    assert by_hand[1:] == [("officer_decided", "admit", "entry-1"), ("officer_decided", "deny", "entry-1")]
    verified = verify(site.export(), tmp_path)
    assert verified.returncode == 0, verified.stdout
    entry = json.loads(site.export().splitlines()[1 + done.json()["audit_index"]])
    assert entry.keys() == {
        *("v", "time", "event", "event_id", "policy"),
        *("check", "subject", "epoch", "gate", "purpose", "decision", "reason"),
    }


def test_of_two_officers_at_once_one_decides(either_site: LocalSite, astronaut_jpeg: bytes, hopper_jpeg: bytes) -> None:
    site = either_site
    token = site.enroll(astronaut_jpeg).json()["travel_token"]
    for _ in range(3):
        check = turned_away(site, hopper_jpeg, token)
        with ThreadPoolExecutor(4) as pool:
            answers = [*pool.map(partial(decide, site, check), ("admit", "deny") * 2)]
        assert sorted(answer.status_code for answer in answers) == [201, 409, 409, 409]


def test_what_no_officer_can_decide(site: LocalSite, astronaut_jpeg: bytes, hopper_jpeg: bytes) -> None:
    token = site.enroll(astronaut_jpeg).json()["travel_token"]
    check = turned_away(site, hopper_jpeg, token)
    admitted = site.check(astronaut_jpeg, token).json()
    for wrong, status in (
        ({"check_id": "0" * 32}, 404),
        ({"audit_index": 0}, 404),
        ({"audit_index": 10_000}, 404),
        ({"audit_index": admitted["audit_index"], "check_id": admitted["check_id"]}, 404),
        ({"reason": "papers_did_not_match"}, 400),
        ({"reason": "because"}, 400),
        ({"decision": "refer"}, 400),
        ({"extra": 1}, 400),
    ):
        assert decide(site, check, **wrong).status_code == status, wrong
    for who in ("admin", "auditor", "enroller", "entry-1", token):
        assert decide(site, check, who=who).status_code == 403, who
        state = site.client.get("/v1/desk/state", headers=site.auth(who)).status_code
        assert state == (200 if who == "admin" else 403)
    site.clock.offset += LONGEST_WAIT + timedelta(seconds=1)
    late = decide(site, check)
    assert (late.status_code, late.json()["code"]) == (409, "too_late")
    assert still_waiting(site) == []


def test_a_decision_after_the_keys_end_speaks_of_nobody(
    site: LocalSite, astronaut_jpeg: bytes, hopper_jpeg: bytes, tmp_path: Path
) -> None:
    enrolled = site.enroll(astronaut_jpeg, departs_in=None).json()
    site.clock.offset += timedelta(hours=23, minutes=59, seconds=50)
    check = turned_away(site, hopper_jpeg, enrolled["travel_token"])
    epoch = site.system.storage.keys.ended_epochs(site.now() + timedelta(hours=2))
    site.clock.offset += timedelta(seconds=20)
    Sweeper(site.system).sweep()
    for ended in epoch:
        site.system.storage.keys.destroy_epoch(ended)
    done = decide(site, check)
    assert done.status_code == 201
    with site.system.storage.reading() as unit:
        fields = unit.log.entry(done.json()["audit_index"]).fields()
    assert "subject" not in fields
    assert "epoch" not in fields
    assert fields["check"] == check["check_id"]


def test_a_decision_is_answered_the_same_twice(site: LocalSite, astronaut_jpeg: bytes, hopper_jpeg: bytes) -> None:
    check = turned_away(site, hopper_jpeg, site.enroll(astronaut_jpeg).json()["travel_token"])
    body = {"audit_index": check["audit_index"], "check_id": check["check_id"], "decision": "admit"}
    body["reason"] = "papers_checked"
    headers = site.auth("officer") | {"Idempotency-Key": "an-officers-only-click"}
    first, second = (site.client.post("/v1/desk/decisions", headers=headers, json=body) for _ in range(2))
    assert (first.status_code, first.json()) == (second.status_code, second.json())


def test_the_state_of_the_house(either_site: LocalSite, astronaut_jpeg: bytes, hopper_jpeg: bytes) -> None:
    site = either_site
    token = site.enroll(astronaut_jpeg).json()["travel_token"]
    assert site.decision(astronaut_jpeg, token) == ("admit", "matched")
    turned_away(site, hopper_jpeg, token)

    def state() -> dict[str, object]:
        answer = site.client.get("/v1/desk/state", headers=site.auth("officer"))
        assert answer.status_code == 200
        body: dict[str, object] = answer.json()
        return body

    now = state()
    gates = {gate["gate"]["id"]: gate for gate in now["gates"]}  # type: ignore[attr-defined, index]
    assert gates["entry-1"]["last_quarter"] == gates["entry-1"]["last_hour"] == {"admit": 1, "deny": 1}
    assert gates["security-1"]["last_hour"] == {}
    assert (now["purge"]["held"], now["purge"]["overdue"]) == (1, 0)  # type: ignore[index]
    assert now["requests"] == {"open": 0, "overdue": 0, "next_due_at": None}
    told = json.dumps(now)
    assert not any(secret in told for secret in (*site.keys.values(), token))
    site.clock.offset += timedelta(minutes=20)
    gates = {gate["gate"]["id"]: gate for gate in state()["gates"]}  # type: ignore[attr-defined, index]
    assert (gates["entry-1"]["last_quarter"], gates["entry-1"]["last_hour"]) == ({}, {"admit": 1, "deny": 1})
    site.clock.offset += timedelta(days=2)
    assert state()["purge"]["overdue"] == 1  # type: ignore[index]


def test_a_page_decides_with_its_token_only(site: LocalSite, astronaut_jpeg: bytes, hopper_jpeg: bytes) -> None:
    check = turned_away(site, hopper_jpeg, site.enroll(astronaut_jpeg).json()["travel_token"])
    cookie = cookie_of(sign_in(site, "officer"))
    csrf = csrf_of(site, cookie, "/desk")
    body = {"audit_index": check["audit_index"], "check_id": check["check_id"], "decision": "admit"}
    body["reason"] = "papers_checked"

    def send(headers: dict[str, str]) -> int:
        return site.client.post("/v1/desk/decisions", headers=cookie | headers, json=body).status_code

    assert send(OWN) == send(FOREIGN | {"x-csrf-token": csrf}) == 403
    assert send(OWN | {"x-csrf-token": csrf}) == 201


@pytest.mark.parametrize(("who", "status"), [("officer", 200), ("admin", 200), ("auditor", 403), ("entry-1", 403)])
def test_who_sees_the_desk(site: LocalSite, who: str, status: int) -> None:
    shown = site.client.get("/desk", headers=cookie_of(sign_in(site, who)))
    assert shown.status_code == status
    assert ('id="make"' in shown.text) == (who == "admin")
    assert site.client.get("/desk", follow_redirects=False).headers["location"] == "/sign-in"
