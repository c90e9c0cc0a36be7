"""The auditor's page and its figures over HTTP: who may see them, and that they are those of the log."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from datetime import datetime, timedelta

import pytest

from tests.conftest import LocalSite
from tests.integration.test_pages import cookie_of, sign_in


@pytest.fixture
def either_site(start_site: Callable[..., LocalSite], database_url: str) -> LocalSite:
    return start_site(database_url=database_url)


def figures(site: LocalSite, hours: int = 24) -> dict[str, object]:
    answer = site.client.get("/v1/audit/figures", params={"hours": hours}, headers=site.auth("auditor"))
    assert answer.status_code == 200, answer.text
    body: dict[str, object] = answer.json()
    return body


@pytest.mark.parametrize(("who", "status"), [("auditor", 200), ("admin", 200), ("officer", 403), ("entry-1", 403)])
def test_who_sees_the_log(site: LocalSite, who: str, status: int) -> None:
    assert site.client.get("/audit", headers=cookie_of(sign_in(site, who))).status_code == status
    assert site.client.get("/v1/audit/figures", headers=site.auth(who)).status_code == status
    assert site.client.get("/audit", follow_redirects=False).headers["location"] == "/sign-in"


def test_figures_are_those_of_the_entries(either_site: LocalSite, astronaut_jpeg: bytes, hopper_jpeg: bytes) -> None:
    site = either_site
    enrolled = [site.enroll(astronaut_jpeg).json() for _ in range(2)]
    token = enrolled[0]["travel_token"]
    for image, hours in ((astronaut_jpeg, 0), (hopper_jpeg, 1), (hopper_jpeg, 1), (astronaut_jpeg, 1)):
        site.clock.offset += timedelta(hours=hours)
        site.check(image, token)
    site.check(astronaut_jpeg, None, flight="AI302")
    site.withdraw(enrolled[1])
    found = figures(site)
    lines = [json.loads(line) for line in site.export().splitlines()[1:]]
    entries = [line for line in lines if "event" in line]
    assert found["size"] == len(entries)
    assert found["events"] == Counter(entry["event"] for entry in entries)
    decisions = Counter(entry["decision"] for entry in entries if entry["event"] == "checked")
    steps = found["steps"]
    assert isinstance(steps, list)
    assert len(steps) == 24
    assert {kind: sum(step[kind] for step in steps) for kind in ("admit", "deny", "refer")} == {
        kind: decisions[kind] for kind in ("admit", "deny", "refer")
    }
    assert sum(step["entries"] for step in steps) == len(entries)
    starts = [datetime.fromisoformat(step["start"]) for step in steps]
    for start, step in zip(starts, steps, strict=True):
        inside = [e for e in entries if start <= datetime.fromisoformat(e["time"]) < start + timedelta(hours=1)]
        assert step["entries"] == len(inside)
    refused = Counter((e["decision"], e["reason"]) for e in entries if e.get("decision") in ("deny", "refer"))
    assert {(r["decision"], r["reason"]): r["count"] for r in found["refusals"]} == refused  # type: ignore[attr-defined]
    retention = found["retention"]
    assert isinstance(retention, dict)
    assert (retention["held"], retention["overdue"]) == (1, 0)
    assert retention["oldest_expires_at"] == enrolled[0]["expires_at"]


def test_an_empty_span_and_a_long_one(site: LocalSite) -> None:
    site.clock.offset += timedelta(days=3)
    found = figures(site, hours=1)
    assert (found["refusals"], found["events"]) == ([], {})
    assert found["retention"] == {
        "held": 0,
        "overdue": 0,
        "oldest_enrolled_at": None,
        "oldest_expires_at": None,
        "next_expiry_at": None,
    }
    assert figures(site, hours=168)["events"]
    for wrong in (0, 169):
        answer = site.client.get("/v1/audit/figures", params={"hours": wrong}, headers=site.auth("auditor"))
        assert answer.status_code == 400


def test_entries_newest_first_and_by_decision(site: LocalSite, astronaut_jpeg: bytes, hopper_jpeg: bytes) -> None:
    token = site.enroll(astronaut_jpeg).json()["travel_token"]
    for image in (astronaut_jpeg, hopper_jpeg, astronaut_jpeg, hopper_jpeg):
        site.check(image, token)

    def pages(**query: object) -> list[int]:
        found: list[int] = []
        cursor = None
        while True:
            params = {"limit": 2, **query} | ({"cursor": cursor} if cursor else {})
            page = site.client.get("/v1/audit/entries", params=params, headers=site.auth("auditor")).json()
            found += [item["index"] for item in page["items"]]
            cursor = page["next_cursor"]
            if cursor is None:
                return found

    everything = pages()
    assert pages(newest=True) == everything[::-1]
    assert pages(newest=True, decision="deny") == pages(decision="deny")[::-1]
    assert len(pages(decision="deny")) == len(pages(decision="admit")) == 2
    answer = site.client.get("/v1/audit/entries", params={"decision": "maybe"}, headers=site.auth("auditor"))
    assert answer.status_code == 400
