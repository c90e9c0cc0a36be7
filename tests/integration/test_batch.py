"""Batch enrollment through HTTP with the real networks: taken in whole or not at all, an outcome for each traveller."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Sequence
from datetime import timedelta
from threading import Event

import httpx2
import numpy as np
import pytest
from fastapi.testclient import TestClient

from infra.api_keys import Role
from services.administration import add_key
from services.api.schemas import JobItem
from services.jobs import KEPT, MOST_WAITING, Jobs
from tests.conftest import LocalSite, encode

BAD_FILE = b"not an image: MARKER-51c7d2"
SOON = 60.0


@pytest.fixture(scope="session")
def blank_jpeg() -> bytes:
    """A photograph of nobody."""
    return encode(np.full((480, 640, 3), 127, np.uint8))


def item(site: LocalSite, *images: str, flight: str = "AI302", **consent: object) -> dict[str, object]:
    """One traveller of a batch."""
    departs_at = (site.now() + timedelta(hours=3)).isoformat()
    return {
        "travel": {"flight": flight, "departs_at": departs_at},
        "consent": site.consent() | consent,
        "images": list(images),
    }


def send(
    site: LocalSite,
    items: Sequence[dict[str, object]],
    files: Sequence[tuple[str, bytes]],
    *,
    key: str = "enroller",
    idempotency_key: str | None = None,
) -> httpx2.Response:
    headers = site.auth(key) | ({"Idempotency-Key": idempotency_key} if idempotency_key else {})
    return site.client.post(
        "/v1/enrollments/batch",
        headers=headers,
        data={"batch": json.dumps({"items": items})},
        files=[("images", file) for file in files],
    )


def jobs_of(site: LocalSite) -> Jobs[JobItem]:
    assert isinstance(site.client, TestClient)
    jobs: Jobs[JobItem] = site.client.app.state.jobs  # type: ignore[attr-defined]
    return jobs


def signal(event: Event) -> Callable[[], JobItem]:
    """An item that says that its turn has come: jobs run in turn, so those before it have ended."""

    def run() -> JobItem:
        event.set()
        return JobItem(index=0)

    return run


def read(site: LocalSite, job_id: str, key: str = "enroller") -> httpx2.Response:
    return site.client.get(f"/v1/jobs/{job_id}", headers=site.auth(key))


def ended(site: LocalSite, accepted: httpx2.Response) -> dict[str, object]:
    """Wait for a job's end and return its state."""
    assert accepted.status_code == 202, accepted.text
    reached = Event()
    jobs_of(site).submit("the test", [signal(reached)])
    assert reached.wait(SOON)
    answer = read(site, accepted.json()["job_id"])
    assert answer.status_code == 200, answer.text
    state: dict[str, object] = answer.json()
    return state


def enrolled_in_all(site: LocalSite) -> int:
    lines = site.client.get("/v1/audit/entries", headers=site.auth("auditor")).json()["items"]
    return sum(line["entry"]["event"] == "enrolled" for line in lines)


def test_each_traveller_of_a_batch_has_an_outcome(
    site: LocalSite, astronaut_jpeg: bytes, hopper_jpeg: bytes, capfd: pytest.CaptureFixture[str]
) -> None:
    names = ("collins-4e1f.jpg", "broken-4e1f.jpg", "hopper-4e1f.jpg")
    accepted = send(
        site,
        [item(site, names[0]), item(site, names[1]), item(site, names[2], flight="6E51")],
        list(zip(names, (astronaut_jpeg, BAD_FILE, hopper_jpeg), strict=True)),
    )
    state = ended(site, accepted)
    assert accepted.json()["counts"] == {"total": 3, "enrolled": 0, "failed": 0}
    assert (state["status"], state["counts"]) == ("done", {"total": 3, "enrolled": 2, "failed": 1})

    collins, broken, hopper = state["items"]  # type: ignore[misc]
    assert [outcome["index"] for outcome in (collins, broken, hopper)] == [0, 1, 2]
    assert broken["enrollment"] is None
    assert (broken["problem"]["code"], broken["problem"]["rejected"]) == ("unsupported_image", [])
    assert collins["problem"] is None and hopper["problem"] is None
    tokens = [outcome["enrollment"]["travel_token"] for outcome in (collins, hopper)]
    assert site.decision(astronaut_jpeg, tokens[0]) == ("admit", "matched")
    assert site.decision(hopper_jpeg, tokens[1]) == ("admit", "matched")
    assert site.decision(hopper_jpeg, tokens[0])[0] == "deny"
    assert collins["enrollment"]["accepted"] == [0]
    assert site.withdraw(collins["enrollment"]).status_code == 200

    metrics = site.client.get("/metrics").text
    assert 'dwarpal_enrollments_total{outcome="enrolled"} 2.0' in metrics
    kept = b"".join(file.read_bytes() for file in site.data_dir.rglob("*") if file.is_file())
    output = capfd.readouterr()
    for place in (kept, (output.out + output.err).encode(), metrics.encode(), json.dumps(state).encode()):
        assert b"4e1f.jpg" not in place
        assert b"MARKER-51c7d2" not in place
        assert b"\xff\xd8\xff" not in place


def test_a_face_that_is_not_there_is_told_by_image(
    site: LocalSite, astronaut_jpeg: bytes, hopper_jpeg: bytes, blank_jpeg: bytes
) -> None:
    files = [("a", astronaut_jpeg), ("b", hopper_jpeg), ("c", blank_jpeg), ("d", blank_jpeg), ("e", astronaut_jpeg)]
    state = ended(site, send(site, [item(site, "a", "b"), item(site, "c"), item(site, "d", "e")], files))
    strangers, blank, partly = state["items"]  # type: ignore[misc]
    assert strangers["problem"]["code"] == "different_persons"
    assert blank["problem"]["code"] == "face_not_found"
    assert blank["problem"]["rejected"] == [{"index": 0, "reason": "face_not_found"}]
    assert partly["enrollment"]["accepted"] == [1]
    assert partly["enrollment"]["rejected"] == [{"index": 0, "reason": "face_not_found"}]
    assert 'dwarpal_enrollments_total{outcome="no_usable_image"} 1.0' in site.client.get("/metrics").text


Spoil = Callable[[dict[str, object]], object]


@pytest.mark.parametrize(
    ("spoil", "code", "place"),
    [
        (lambda bad: bad["travel"].update(flight="MARKER-51c7d2"), "malformed", "items.1.travel.flight"),
        (lambda bad: bad["travel"].update(departs_at="2001-01-01T00:00Z"), "departure_out_of_range", "items.1:"),
        (lambda bad: bad["consent"].update(adult=False), "minor_to_officer", "items.1:"),
        (lambda bad: bad["consent"].update(notice_version="MARKER-51c7d2"), "notice_outdated", "items.1:"),
        (lambda bad: bad["consent"].update(purposes=[]), "consent_missing", "items.1:"),
        (lambda bad: bad["consent"].update(language="xx"), "not_found", "items.1:"),
        (lambda bad: bad.update(name="MARKER-51c7d2"), "malformed", "items.1.a field"),
        (lambda bad: bad.update(images=[]), "malformed", "items.1.images"),
        (lambda bad: bad.update(images=["MARKER-51c7d2"]), "image_missing", "items.1.images"),
        (lambda bad: bad.update(images=["b", "b"]), "image_missing", "items.1.images"),
        (lambda bad: bad.update(images=["a"]), "image_missing", "items.1.images"),
        (lambda bad: bad.update(images=list("bcdefg")), "too_many_images", "items.1:"),
    ],
)
def test_a_fault_in_one_item_refuses_the_batch(
    site: LocalSite, astronaut_jpeg: bytes, spoil: Spoil, code: str, place: str
) -> None:
    good, bad = item(site, "a"), item(site, "b")
    spoil(bad)
    refused = send(site, [good, bad], [("a", astronaut_jpeg), ("b", astronaut_jpeg)])
    assert (refused.status_code, refused.json()["code"]) == (400, code), refused.text
    assert place in refused.json()["detail"]
    assert "MARKER-51c7d2" not in refused.text
    assert enrolled_in_all(site) == 0


@pytest.mark.parametrize(
    ("names", "code"), [(("a", "b", "c"), "image_unused"), (("a", "b", "b"), "duplicate_file_name")]
)
def test_every_file_belongs_to_one_item(
    site: LocalSite, astronaut_jpeg: bytes, names: tuple[str, ...], code: str
) -> None:
    files = [(name, astronaut_jpeg) for name in names]
    refused = send(site, [item(site, "a"), item(site, "b")], files)
    assert (refused.status_code, refused.json()["code"]) == (400, code)


def test_a_batch_has_a_limit(start_site: Callable[..., LocalSite], astronaut_jpeg: bytes) -> None:
    site = start_site(max_batch_items=2)
    files = [(name, astronaut_jpeg) for name in "abc"]
    refused = send(site, [item(site, name) for name in "abc"], files)
    assert (refused.status_code, refused.json()["code"]) == (413, "too_many_items")
    empty = send(site, [], [("a", astronaut_jpeg)])
    assert (empty.status_code, empty.json()["code"]) == (400, "malformed")


def test_a_job_is_its_senders_alone(site: LocalSite, astronaut_jpeg: bytes) -> None:
    accepted = send(site, [item(site, "a")], [("a", astronaut_jpeg)])
    state = ended(site, accepted)
    job_id = str(state["job_id"])
    site.keys["another"] = add_key(site.system.storage, Role.ENROLLER, None)[1]
    theirs, nobodys = read(site, job_id, "another"), read(site, "0" * 32)
    assert (theirs.status_code, nobodys.status_code) == (404, 404)
    assert {k: v for k, v in theirs.json().items() if k != "request_id"} == {
        k: v for k, v in nobodys.json().items() if k != "request_id"
    }
    assert read(site, job_id, "officer").status_code == 403
    assert send(site, [item(site, "a")], [("a", astronaut_jpeg)], key="officer").status_code == 403


def test_a_job_is_forgotten(site: LocalSite, astronaut_jpeg: bytes) -> None:
    state = ended(site, send(site, [item(site, "a")], [("a", astronaut_jpeg)]))
    job_id = str(state["job_id"])
    site.clock.offset = KEPT - timedelta(seconds=30)
    assert read(site, job_id).status_code == 200
    site.clock.offset = KEPT + timedelta(seconds=1)
    assert read(site, job_id).status_code == 404
    site.client.app.state.sweeper.sweep()  # type: ignore[attr-defined]
    site.clock.offset = timedelta()
    assert read(site, job_id).status_code == 404, "the sweep lets go of it, not only the clock"


def test_a_restart_forgets_jobs_and_keeps_enrollments(
    start_site: Callable[..., LocalSite], astronaut_jpeg: bytes
) -> None:
    site = start_site()
    enroller = site.keys["enroller"]
    state = ended(site, send(site, [item(site, "a")], [("a", astronaut_jpeg)]))
    token = state["items"][0]["enrollment"]["travel_token"]  # type: ignore[index]
    site = start_site()
    assert read(site, str(state["job_id"]), enroller).status_code == 404
    assert site.decision(astronaut_jpeg, token) == ("admit", "matched")


def test_the_same_batch_twice_is_one_job(site: LocalSite, astronaut_jpeg: bytes, hopper_jpeg: bytes) -> None:
    key = uuid.uuid4().hex
    items = [item(site, "a"), item(site, "b")]
    files = [("a", astronaut_jpeg), ("b", hopper_jpeg)]
    first = send(site, items, files, idempotency_key=key)
    again = send(site, items, files, idempotency_key=key)
    assert (again.status_code, again.json()["job_id"]) == (202, first.json()["job_id"])
    assert again.headers["Idempotency-Replayed"] == "true"
    exchanged = send(site, items, [("b", astronaut_jpeg), ("a", hopper_jpeg)], idempotency_key=key)
    assert (exchanged.status_code, exchanged.json()["code"]) == (409, "idempotency_mismatch")
    assert ended(site, again)["counts"] == {"total": 2, "enrolled": 2, "failed": 0}
    assert enrolled_in_all(site) == 2


def test_a_full_queue_says_when_to_come_again(site: LocalSite, astronaut_jpeg: bytes) -> None:
    started, release = Event(), Event()

    def hold() -> JobItem:
        started.set()
        release.wait(SOON)
        return JobItem(index=0)

    jobs = jobs_of(site)
    jobs.submit("the test", [hold])
    assert started.wait(SOON)
    last = Event()
    for place in range(MOST_WAITING):
        jobs.submit("the test", [signal(last if place == MOST_WAITING - 1 else Event())])
    key = uuid.uuid4().hex
    items, files = [item(site, "a")], [("a", astronaut_jpeg)]
    refused = send(site, items, files, idempotency_key=key)
    assert (refused.status_code, refused.json()["code"]) == (503, "busy")
    assert int(refused.headers["Retry-After"]) >= 1
    # The gates go on beside a full queue.
    token = site.enroll(astronaut_jpeg).json()["travel_token"]
    assert site.decision(astronaut_jpeg, token) == ("admit", "matched")
    # Once there is room, the same request goes through.
    release.set()
    assert last.wait(SOON)
    again = send(site, items, files, idempotency_key=key)
    assert ended(site, again)["counts"] == {"total": 1, "enrolled": 1, "failed": 0}
