"""Rights requests on both databases: due dates, who may read, and words that are gone on time, also from a backup."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import Engine, select

from biometrics.errors import Conflict, DwarpalError, KeyDestroyed, MalformedInput, NotFound, SealBroken
from biometrics.records import EventKind, TravelToken, epoch_of, new_id
from enrollment.rights import MOST_OPEN, RightsService
from enrollment.rights_request import RightsKind, RightsState
from infra.audit import audit_verify
from infra.database.tables import RightsRequestRow
from infra.database.unit_of_work import SqlUnitOfWork
from infra.gallery import RotatedGallery
from infra.keys.file_store import FileKeyStore
from infra.keys.sealing import EnvelopeSealer
from infra.keys.text_sealing import EpochTextSealer
from infra.settings import Settings
from services.bootstrap import Storage, build_retention, build_rights
from services.export import export_log
from tests.conftest import LocalSite
from tests.factories import NOON, make_enrollment, make_template
from tests.fakes import FakeClock

WORDS = "My name is Asha and my flight was AI302, not AI203."
ANSWER = "Dear Asha, it is AI302 now."
DAY = timedelta(days=1)


class Desk:
    """A site with one enrolled traveller, at noon."""

    def __init__(self, engine: Engine, folder: Path) -> None:
        self.clock = FakeClock(NOON)
        self.key_file = folder / "keys" / "keys.dwarpal"
        keys = FileKeyStore(self.key_file, passphrase=None)
        settings = Settings(data_dir=folder, site="test.example")
        self.storage = Storage(settings, self.clock, engine, keys)
        self.rights: RightsService[SqlUnitOfWork] = build_rights(self.storage)
        self.token = TravelToken.new(new_id())
        sealer = EnvelopeSealer(keys, settings.site)
        expires = NOON + DAY
        sealed = sealer.seal(
            make_template(), token=self.token, epoch=epoch_of(expires), model_digest="cd" * 32, for_gallery=False
        )
        with self.storage.unit_of_work() as unit:
            unit.enrollments.add(make_enrollment(self.token, sealed))
            unit.commit()

    def file(self, kind: RightsKind = RightsKind.CORRECTION, text: str = WORDS) -> str:
        return self.rights.file(kind, text, enrollment_id=self.token.enrollment_id, token=self.token).id

    def pass_days(self, days: int) -> None:
        """Let time pass, with a sweep each day: a running service has many."""
        for _ in range(days):
            self.clock.time += DAY
            self.sweep()

    def sweep(self) -> None:
        self.rights.sweep()
        build_retention(self.storage, RotatedGallery()).purge()

    def state(self, request_id: str) -> RightsState:
        return self.rights.show(request_id, token=self.token).request.state_at(self.clock.now())

    def log(self) -> list[tuple[str, str]]:
        with self.storage.reading() as unit:
            entries = unit.log.entries(0, 1000)
        return [(e.event, e.leaf.decode()) for e in entries if e.event.startswith("rights_")]


@pytest.fixture
def desk(engine: Engine, tmp_path: Path) -> Desk:
    return Desk(engine, tmp_path / "data")


def test_a_request_is_answered_read_and_forgotten(desk: Desk) -> None:
    request_id = desk.file()
    assert desk.state(request_id) is RightsState.RECEIVED
    desk.rights.decide(request_id, RightsState.IN_PROGRESS)
    assert desk.state(request_id) is RightsState.IN_PROGRESS
    desk.pass_days(2)  # the enrollment is gone by now
    closed = desk.rights.decide(request_id, RightsState.DONE, ANSWER)
    assert closed.erase_at == desk.clock.now() + 30 * DAY
    shown = desk.rights.show(request_id, token=desk.token)
    assert (shown.text, shown.answer) == (WORDS, ANSWER)
    desk.pass_days(29)
    assert desk.state(request_id) is RightsState.DONE
    desk.pass_days(1)
    with pytest.raises(NotFound):
        desk.rights.show(request_id, token=desk.token)
    assert [event for event, _ in desk.log()] == [
        "rights_received",
        "rights_decided",
        "rights_decided",
        "rights_erased",
    ]


def test_the_log_says_what_happened_and_no_word_or_traveller(desk: Desk) -> None:
    request_id = desk.file(RightsKind.GRIEVANCE)
    desk.rights.show(request_id, token=None)
    desk.rights.decide(request_id, RightsState.REFUSED, ANSWER)
    lines = [leaf for _, leaf in desk.log()]
    assert all(f'"event_id":"{request_id}"' in leaf and '"reason":"grievance"' in leaf for leaf in lines)
    assert '"decision":"refused"' in lines[-1]
    for secret in ("Asha", "AI302", desk.token.enrollment_id, "subject"):
        assert not any(secret in leaf for leaf in lines)


def test_no_word_stands_in_the_database(desk: Desk) -> None:
    request_id = desk.file()
    desk.rights.decide(request_id, RightsState.DONE, ANSWER)
    with desk.storage.reading() as unit:
        row = unit.session.scalars(select(RightsRequestRow)).one()
        held = {column.name: getattr(row, column.name) for column in RightsRequestRow.__table__.columns}
    assert "Asha" not in str(held)
    assert b"Asha" not in row.text + row.answer


def test_a_request_is_overdue_the_moment_after_its_due_date(desk: Desk) -> None:
    request_id = desk.file()
    desk.clock.time = NOON + 90 * DAY
    assert desk.state(request_id) is RightsState.RECEIVED
    desk.clock.time += timedelta(seconds=1)
    assert desk.state(request_id) is RightsState.OVERDUE
    desk.rights.decide(request_id, RightsState.IN_PROGRESS)
    assert desk.state(request_id) is RightsState.OVERDUE
    desk.rights.decide(request_id, RightsState.DONE, ANSWER)
    assert desk.state(request_id) is RightsState.DONE


def test_an_open_request_stays_readable_however_long_it_takes(desk: Desk) -> None:
    request_id = desk.file()
    desk.pass_days(150)
    shown = desk.rights.show(request_id, token=None)
    assert shown.text == WORDS
    with pytest.raises(KeyDestroyed):  # and the key under which it was sealed first is gone
        desk.storage.keys.epoch_key(epoch_of(NOON + 121 * DAY))
    desk.rights.decide(request_id, RightsState.DONE, ANSWER)
    desk.pass_days(31)
    assert desk.rights.sweep() == 0
    with desk.storage.reading() as unit:
        assert unit.rights.page(0, 10, open_only=False) == []


def test_yesterdays_backup_opens_no_word_after_its_time(desk: Desk, tmp_path: Path) -> None:
    request_id = desk.file()
    desk.rights.decide(request_id, RightsState.DONE, ANSWER)
    with desk.storage.reading() as unit:
        backup = unit.rights.get(request_id)
    assert backup is not None
    assert desk.rights.opened(backup).text == WORDS
    desk.pass_days(32)
    opened = desk.rights.opened(backup)
    assert (opened.text, opened.answer) == (None, None)
    stolen = FileKeyStore(shutil.copytree(desk.key_file.parent, tmp_path / "stolen") / "keys.dwarpal", passphrase=None)
    with pytest.raises(KeyDestroyed):
        EpochTextSealer(stolen, "test.example").open(
            backup.text or b"", request_id=request_id, role="text", epoch=backup.epoch
        )


def test_words_open_only_in_their_own_place(desk: Desk) -> None:
    sealer = EpochTextSealer(desk.storage.keys, "test.example")
    place = {"request_id": "a" * 32, "role": "text", "epoch": epoch_of(NOON)}
    sealed = sealer.seal(WORDS, **place)
    assert sealer.open(sealed, **place) == WORDS
    for change in ({"request_id": "b" * 32}, {"role": "answer"}):
        with pytest.raises(SealBroken):
            sealer.open(sealed, **place | change)
    with pytest.raises(SealBroken):
        EpochTextSealer(desk.storage.keys, "other.example").open(sealed, **place)
    for broken in (b"", sealed[:20], sealed[:-1], b"\x02" + sealed[1:], sealed[:-1] + bytes([sealed[-1] ^ 1])):
        with pytest.raises(SealBroken):
            sealer.open(broken, **place)


def test_only_the_holder_and_officers_find_a_request(desk: Desk) -> None:
    request_id = desk.file()
    stranger = TravelToken.new(new_id())
    same_id = replace(stranger, enrollment_id=desk.token.enrollment_id)
    for token in (stranger, same_id):
        with pytest.raises(NotFound):
            desk.rights.show(request_id, token=token)
        with pytest.raises(NotFound):
            desk.rights.file(RightsKind.ACCESS, "", enrollment_id=token.enrollment_id, token=token)
    with pytest.raises(NotFound):
        desk.rights.show(new_id(), token=None)
    at_the_desk = desk.rights.file(RightsKind.GRIEVANCE, WORDS, enrollment_id=None).id
    assert desk.rights.show(at_the_desk, token=None).text == WORDS
    with pytest.raises(NotFound):
        desk.rights.show(at_the_desk, token=desk.token)


@pytest.mark.parametrize(
    ("act", "error", "code"),
    [
        (lambda d, r: d.file(RightsKind.GRIEVANCE, " "), MalformedInput, "text_missing"),
        (lambda d, r: d.rights.decide(r, RightsState.RECEIVED), MalformedInput, "not_a_decision"),
        (lambda d, r: d.rights.decide(r, RightsState.OVERDUE), MalformedInput, "not_a_decision"),
        (lambda d, r: d.rights.decide(r, RightsState.DONE), MalformedInput, "answer_missing"),
        (lambda d, r: d.rights.decide(r, RightsState.REFUSED, " "), MalformedInput, "answer_missing"),
        (lambda d, r: d.rights.decide("0" * 32, RightsState.DONE, ANSWER), NotFound, "not_found"),
        (lambda d, r: [d.file() for _ in range(MOST_OPEN)], Conflict, "too_many_requests"),
    ],
)
def test_what_is_refused(desk: Desk, act: Callable[[Desk, str], object], error: type[DwarpalError], code: str) -> None:
    request_id = desk.file()
    with pytest.raises(error) as caught:
        act(desk, request_id)
    assert caught.value.code == code


def test_of_two_decisions_at_once_one_stands(desk: Desk) -> None:
    request_id = desk.file()

    def decide(state: RightsState) -> str:
        try:
            return desk.rights.decide(request_id, state, ANSWER).state.value
        except Conflict as error:
            return error.code

    with ThreadPoolExecutor(2) as pool:
        said = sorted(pool.map(decide, (RightsState.DONE, RightsState.REFUSED)))
    assert "request_closed" in said
    assert desk.state(request_id).value in said


def test_the_log_of_requests_verifies_offline(desk: Desk, tmp_path: Path) -> None:
    desk.rights.decide(desk.file(), RightsState.DONE, ANSWER)
    desk.clock.time += timedelta(hours=1)
    bundle = tmp_path / "audit.jsonl"
    with desk.storage.unit_of_work() as unit:  # the enrollment was put there without the log: take it away again
        unit.enrollments.delete(desk.token.enrollment_id)
        unit.commit()
    with bundle.open("wb") as stream:
        export_log(desk.storage, stream)
    command = [sys.executable, "-I", audit_verify.__file__, str(bundle)]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout + result.stderr


@pytest.fixture
def enrolled(site: LocalSite, astronaut_jpeg: bytes) -> Iterator[dict[str, str]]:
    yield site.enroll(astronaut_jpeg).json()


def test_requests_over_http(site: LocalSite, enrolled: dict[str, str]) -> None:
    token, url = enrolled["travel_token"], "/v1/rights-requests"
    body = {"kind": "correction", "text": WORDS}
    key = {"Idempotency-Key": "a" * 32}
    filed = site.client.post(url, headers=site.auth(token) | key, json=body)
    assert filed.status_code == 201, filed.text
    assert site.client.post(url, headers=site.auth(token) | key, json=body).json() == filed.json()
    request = filed.json()
    assert (request["state"], request["enrollment_id"]) == ("received", enrolled["enrollment_id"])
    due, received = (datetime.fromisoformat(request[name]) for name in ("due_at", "received_at"))
    assert due - received == 90 * DAY
    own = f"{url}/{request['request_id']}"
    assert site.client.get(own, headers=site.auth(token)).json()["text"] == WORDS
    listed = site.client.get(url, headers=site.auth("officer"), params={"open": True})
    assert listed.json() == {"items": [request], "next_cursor": None}
    taken = site.client.post(f"{own}/decision", headers=site.auth("officer"), json={"state": "in_progress"})
    assert (taken.status_code, taken.json()["state"]) == (200, "in_progress")
    site.withdraw(enrolled)
    done = {"state": "done", "answer": ANSWER}
    assert site.client.post(f"{own}/decision", headers=site.auth("officer"), json=done).json()["state"] == "done"
    again = site.client.post(f"{own}/decision", headers=site.auth("officer"), json=done)
    assert (again.status_code, again.json()["code"]) == (409, "request_closed")
    assert site.client.get(own, headers=site.auth(token)).json()["answer"] == ANSWER
    assert site.client.get(url, headers=site.auth("officer"), params={"open": True}).json()["items"] == []


def test_who_may_do_what_over_http(site: LocalSite, enrolled: dict[str, str]) -> None:
    token, url = enrolled["travel_token"], "/v1/rights-requests"
    request_id = site.client.post(url, headers=site.auth(token), json={"kind": "access"}).json()["request_id"]
    for who in ("enroller", "auditor", "admin", "entry-1"):
        for answer in (
            site.client.post(url, headers=site.auth(who), json={"kind": "access"}),
            site.client.get(url, headers=site.auth(who)),
            site.client.get(f"{url}/{request_id}", headers=site.auth(who)),
        ):
            assert answer.status_code == 403
    assert site.client.get(url, headers=site.auth(token)).status_code == 403
    decision = {"state": "done", "answer": ANSWER}
    assert site.client.post(f"{url}/{request_id}/decision", headers=site.auth(token), json=decision).status_code == 403
    other = {"kind": "access", "enrollment_id": new_id()}
    assert site.client.post(url, headers=site.auth(token), json=other).status_code == 404
    assert site.client.get(f"{url}/{new_id()}", headers=site.auth(token)).status_code == 404
    long = {"kind": "grievance", "text": "x" * 2001}
    for bad in (long, {"kind": "marketing"}, {"kind": "grievance", "text": "\ud800"}, {"kind": "access", "extra": 1}):
        answer = site.client.post(
            url, headers=site.auth(token) | {"Content-Type": "application/json"}, content=json.dumps(bad)
        )
        assert answer.status_code == 400, bad


def forget(site: LocalSite) -> None:
    """What the sweeper of the running service does by itself."""
    application = site.client.app  # type: ignore[attr-defined]
    application.state.sweeper.sweep()


def test_a_running_service_forgets_answered_requests(site: LocalSite, enrolled: dict[str, str]) -> None:
    url = "/v1/rights-requests"
    filed = site.client.post(url, headers=site.auth(enrolled["travel_token"]), json={"kind": "access"}).json()
    own = f"{url}/{filed['request_id']}"
    decision = {"state": "done", "answer": ANSWER}
    assert site.client.post(f"{own}/decision", headers=site.auth("officer"), json=decision).status_code == 200
    site.clock.offset = 29 * DAY
    forget(site)
    assert site.client.get(own, headers=site.auth("officer")).status_code == 200
    site.clock.offset = 30 * DAY
    forget(site)
    assert site.client.get(own, headers=site.auth("officer")).status_code == 404
    with site.system.storage.reading() as unit:
        (line,) = unit.log.entries(0, 10, event=EventKind.RIGHTS_ERASED)
    assert '"count":1' in line.leaf.decode()
