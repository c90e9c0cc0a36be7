"""The pages over HTTP: signing in, and what attackers try: XSS, CSRF, clickjacking, fixation, stolen cookies."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import httpx2
import pytest
from sqlalchemy import text

from infra.api_keys import revoke_key
from services.api.page_session import COOKIE
from tests.conftest import LocalSite

OWN = {"sec-fetch-site": "same-origin", "origin": "http://testserver"}
FOREIGN = {"sec-fetch-site": "cross-site", "origin": "https://evil.example"}


def sign_in(site: LocalSite, who: str, **headers: str) -> httpx2.Response:
    return site.client.post(
        "/sign-in", data={"key": site.keys.get(who, who)}, headers=OWN | headers, follow_redirects=False
    )


def open_mine(site: LocalSite, token: str) -> httpx2.Response:
    return site.client.post("/my", data={"token": token}, headers=OWN, follow_redirects=False)


def cookie_of(answer: httpx2.Response) -> dict[str, str]:
    """Return the session's cookie as a header: the test client speaks http and would keep a Secure one to itself."""
    found = re.match(rf"{COOKIE}=([\w-]+);", answer.headers["set-cookie"])
    assert found
    return {"cookie": f"{COOKIE}={found[1]}"}


def csrf_of(site: LocalSite, cookie: dict[str, str], path: str) -> str:
    found = re.search(r'name="csrf" content="([0-9a-f]{64})"', site.client.get(path, headers=cookie).text)
    assert found
    return found[1]


@pytest.mark.parametrize(
    ("who", "home"),
    [
        ("entry-1", "/gate/entry-1"),
        ("officer", "/desk"),
        ("admin", "/desk"),
        ("auditor", "/audit"),
        ("enroller", "/"),
    ],
)
def test_every_role_is_led_to_its_page(site: LocalSite, who: str, home: str) -> None:
    answer = sign_in(site, who)
    assert (answer.status_code, answer.headers["location"]) == (303, home)
    cookie = answer.headers["set-cookie"]
    for word in (f"{COOKIE}=", "HttpOnly", "Secure", "SameSite=strict", "Path=/"):
        assert word.lower() in cookie.lower()
    assert "domain" not in cookie.lower()
    assert ("Max-Age" in cookie) == (who == "entry-1")


def test_a_wrong_key_and_a_revoked_one_get_the_same_page(site: LocalSite) -> None:
    key = site.keys["officer"]
    with site.system.storage.unit_of_work() as unit:
        revoke_key(unit.session, key.split("_")[1], site.now())
        unit.commit()
    revoked, wrong = sign_in(site, "officer"), sign_in(site, "dwk_nonsense")
    assert revoked.status_code == wrong.status_code == 401
    assert revoked.text == wrong.text
    assert "set-cookie" not in wrong.headers
    assert "nonsense" not in wrong.text


def test_failures_are_limited_and_successes_are_not(site: LocalSite) -> None:
    for _ in range(10):
        assert sign_in(site, "wrong").status_code == 401
    assert sign_in(site, "wrong").status_code == 429
    assert sign_in(site, "officer").status_code == 303


def test_a_session_ends_when_nobody_uses_it(site: LocalSite) -> None:
    cookie = cookie_of(sign_in(site, "entry-1"))
    officer = cookie_of(sign_in(site, "officer"))
    gates = "/v1/gates"
    assert site.client.get(gates, headers=officer).status_code == 200
    site.clock.offset += timedelta(minutes=14)
    assert site.client.get(gates, headers=officer).status_code == 200  # a use moves the end
    site.clock.offset += timedelta(minutes=14)
    assert site.client.get(gates, headers=officer).status_code == 200
    site.clock.offset += timedelta(minutes=16)
    assert site.client.get(gates, headers=officer).status_code == 401
    assert site.client.get("/gate/entry-1", headers=cookie).status_code == 200  # a gate's screen stays for a day
    for _ in range(31):
        site.clock.offset += timedelta(hours=23)
        site.client.get("/gate/entry-1", headers=cookie)
    site.clock.offset += timedelta(hours=23)
    answer = site.client.get("/gate/entry-1", headers=cookie, follow_redirects=False)
    assert (answer.status_code, answer.headers["location"]) == (303, "/sign-in")


def test_signing_out_ends_the_session_for_a_stolen_copy_too(site: LocalSite) -> None:
    cookie = cookie_of(sign_in(site, "officer"))
    csrf = csrf_of(site, cookie, "/sign-in?other")
    assert site.client.post("/sign-out", data={"csrf": csrf}, headers=cookie | OWN).status_code == 200
    assert site.client.get("/v1/gates", headers=cookie).status_code == 401


def test_a_revoked_key_ends_its_sessions(site: LocalSite) -> None:
    cookie = cookie_of(sign_in(site, "officer"))
    with site.system.storage.unit_of_work() as unit:
        revoke_key(unit.session, site.keys["officer"].split("_")[1], site.now())
        unit.commit()
    assert site.client.get("/v1/gates", headers=cookie).status_code == 401


def test_session_fixation_gains_nothing(site: LocalSite) -> None:
    """A cookie that an attacker planted, or had of an own session, is never the one that is signed in."""
    planted = {"cookie": f"{COOKIE}={'A' * 43}"}
    answer = sign_in(site, "officer", **planted)
    assert cookie_of(answer) != planted
    assert site.client.get("/v1/gates", headers=planted).status_code == 401
    own = cookie_of(sign_in(site, "auditor"))
    victim = cookie_of(sign_in(site, "officer", **own))
    assert victim != own
    assert site.client.get("/v1/gates", headers=own).status_code == 401  # the former session is over


@pytest.mark.parametrize("headers", [FOREIGN, {"sec-fetch-site": "same-site"}, {"origin": "https://evil.example"}, {}])
def test_csrf_another_site_can_change_nothing(site: LocalSite, astronaut_jpeg: bytes, headers: dict[str, str]) -> None:
    """Not sign anybody in (login CSRF), not withdraw, not sign out, not decide: even with the cookie sent along."""
    enrolled = site.enroll(astronaut_jpeg).json()
    assert site.client.post("/sign-in", data={"key": site.keys["officer"]}, headers=headers).status_code == 403
    cookie = cookie_of(open_mine(site, enrolled["travel_token"]))
    csrf = csrf_of(site, cookie, "/my")
    for path in ("/my/withdraw", "/my/travel", "/sign-out"):
        assert site.client.post(path, data={"csrf": csrf}, headers=headers | cookie).status_code == 403
    path = f"/v1/enrollments/{enrolled['enrollment_id']}"
    assert site.client.delete(path, headers=headers | cookie | {"x-csrf-token": csrf}).status_code == 403
    assert site.client.get("/my", headers=cookie).status_code == 200


@pytest.mark.parametrize("csrf", ["", "0" * 64, "é"])
def test_csrf_own_page_without_the_token_can_change_nothing(site: LocalSite, astronaut_jpeg: bytes, csrf: str) -> None:
    enrolled = site.enroll(astronaut_jpeg).json()
    cookie = cookie_of(open_mine(site, enrolled["travel_token"]))
    other = csrf_of(site, cookie_of(open_mine(site, enrolled["travel_token"])), "/my")
    for sent in (csrf, other):
        assert site.client.post("/my/withdraw", data={"csrf": sent}, headers=OWN | cookie).status_code == 403
    path = f"/v1/enrollments/{enrolled['enrollment_id']}"
    assert site.client.delete(path, headers=OWN | cookie).status_code == 403


@pytest.mark.parametrize("path", ["/", "/my", "/sign-in", "/v1/notice", "/healthz", "/static/dwarpal.css", "/nowhere"])
def test_clickjacking_nothing_may_be_framed(site: LocalSite, path: str) -> None:
    headers = site.client.get(path).headers
    assert "frame-ancestors 'none'" in headers["content-security-policy"]
    assert headers["x-frame-options"] == "DENY"
    assert headers["x-content-type-options"] == "nosniff"


XSS = "\"'><script>alert(1)</script><img src=x onerror=alert(1)>{{7*7}}"


def test_xss_what_is_sent_never_becomes_a_page(site: LocalSite) -> None:
    answers = [
        site.client.get("/", params={"lang": XSS}),
        site.client.get("/my", params={"problem": XSS}),
        site.client.get(f"/gate/{XSS}", follow_redirects=False),
        sign_in(site, XSS),
        open_mine(site, XSS),
        site.client.get("/", headers={"accept-language": XSS, "cookie": f"dwarpal-language={json.dumps(XSS)}"}),
    ]
    for answer in answers:
        assert "<script>alert" not in answer.text
        assert "onerror" not in answer.text
        assert "49" not in re.sub(r"[0-9a-f]{32,}", "", answer.text.partition("<main")[2].partition("</main")[0])


def test_xss_a_flight_is_shown_as_text(site: LocalSite, astronaut_jpeg: bytes) -> None:
    """Every page comes from templates that escape; the flight's own rule refuses markup before."""
    assert site.enroll(astronaut_jpeg, flight="<b>AI1</b>").status_code == 400
    for path in ("/", "/my", "/sign-in"):
        for script in re.findall(r"<script[^>]*>", site.client.get(path).text):
            assert 'src="/static/scripts/' in script or 'type="application/json"' in script


@pytest.mark.parametrize(
    ("thief_of", "may", "may_not"),
    [
        (
            "entry-1",
            ["/gate/entry-1"],
            ["/gate/security-1", "/v1/gates", "/v1/audit/entries", "/v1/keys", "/v1/me/report"],
        ),
        ("officer", ["/v1/gates"], ["/gate/entry-1", "/v1/audit/entries", "/v1/keys", "/v1/me/report"]),
        (
            "auditor",
            ["/v1/audit/entries"],
            ["/gate/entry-1", "/v1/keys", "/v1/me/report", "/v1/rights-requests/" + "0" * 32],
        ),
        ("enroller", [], ["/gate/entry-1", "/v1/gates", "/v1/audit/entries", "/v1/keys", "/v1/me/report"]),
        ("admin", ["/v1/gates", "/v1/keys"], ["/gate/entry-1", "/v1/me/report"]),
        ("traveller", ["/v1/me/report", "/my"], ["/gate/entry-1", "/v1/gates", "/v1/audit/entries", "/v1/keys"]),
    ],
)
def test_a_stolen_cookie_opens_its_role_only(
    site: LocalSite, astronaut_jpeg: bytes, thief_of: str, may: list[str], may_not: list[str]
) -> None:
    if thief_of == "traveller":
        cookie = cookie_of(open_mine(site, site.enroll(astronaut_jpeg).json()["travel_token"]))
    else:
        cookie = cookie_of(sign_in(site, thief_of))
    for path in may:
        assert site.client.get(path, headers=cookie, follow_redirects=False).status_code == 200, path
    for path in may_not:
        assert site.client.get(path, headers=cookie, follow_redirects=False).status_code in (303, 401, 403, 404), path


def test_the_database_cannot_open_a_traveller_s_session(site: LocalSite, astronaut_jpeg: bytes) -> None:
    """The token is sealed under the cookie, and the cookie is not kept."""
    token = site.enroll(astronaut_jpeg).json()["travel_token"]
    cookie = cookie_of(open_mine(site, token))["cookie"].partition("=")[2]
    with site.system.storage.reading() as unit:
        rows = unit.session.execute(text("SELECT * FROM web_session")).all()
    assert len(rows) == 1
    kept = repr(rows)
    assert cookie not in kept
    assert token not in kept
    assert token.split(".")[2] not in kept


def test_my_page_shows_every_use_moves_the_flight_and_withdraws(site: LocalSite, astronaut_jpeg: bytes) -> None:
    enrolled = site.enroll(astronaut_jpeg).json()
    assert site.decision(astronaut_jpeg, enrolled["travel_token"]) == ("admit", "matched")
    cookie = cookie_of(open_mine(site, enrolled["travel_token"]))
    shown = site.client.get("/my", headers=cookie)
    assert "Your face was compared" in shown.text
    assert "entry-1" in shown.text
    csrf = csrf_of(site, cookie, "/my")
    departs = (site.now() + timedelta(hours=9)).replace(microsecond=0)
    moved = site.client.post("/my/travel", data={"csrf": csrf, "departs_at": departs.isoformat()}, headers=OWN | cookie)
    assert moved.status_code == 200
    assert departs.isoformat() in site.client.get("/my", headers=cookie).text
    for wrong in ("tomorrow", "", "2999-01-01T00:00"):
        answer = site.client.post("/my/travel", data={"csrf": csrf, "departs_at": wrong}, headers=OWN | cookie)
        assert 400 <= answer.status_code < 500
        assert 'role="alert"' in answer.text
    answer = site.client.post("/my/withdraw", data={"csrf": csrf}, headers=OWN | cookie)
    assert answer.status_code == 200
    found = re.search(r'id="receipt">(.*?)</script>', answer.text, re.S)
    assert found
    assert json.loads(found[1])
    assert site.decision(astronaut_jpeg, enrolled["travel_token"]) == ("deny", "not_enrolled")
    assert site.client.get("/v1/me/report", headers=cookie).status_code == 401
    gone = open_mine(site, enrolled["travel_token"])
    assert gone.status_code == 404
    assert "Nothing is kept" in gone.text


def test_my_page_says_so_when_the_data_expired_meanwhile(site: LocalSite, astronaut_jpeg: bytes) -> None:
    token = site.enroll(astronaut_jpeg, departs_in=None).json()["travel_token"]
    site.clock.offset += timedelta(hours=23, minutes=55)
    cookie = cookie_of(open_mine(site, token))
    site.clock.offset += timedelta(minutes=6)
    shown = site.client.get("/my", headers=cookie)
    assert "your data was erased" in shown.text


def test_a_picture_of_the_qr_code_opens_my_page(site: LocalSite, astronaut_jpeg: bytes) -> None:
    enrolled = site.enroll(astronaut_jpeg).json()
    png = base64.b64decode(enrolled["travel_token_qr_png"])

    def send(file: bytes) -> httpx2.Response:
        return site.client.post("/my", files={"picture": ("qr.png", file)}, headers=OWN, follow_redirects=False)

    assert send(png).status_code == 303
    assert send(astronaut_jpeg).status_code == 400
    assert send(b"nonsense").status_code == 415


def test_the_verifier_is_the_one_that_we_ship(site: LocalSite) -> None:
    answer = site.client.get("/verifier/audit_verify.py")
    assert answer.content == Path("infra/audit/audit_verify.py").read_bytes()


def test_only_a_desk_enrolls_where_travellers_may_not(
    start_site: Callable[..., LocalSite], astronaut_jpeg: bytes
) -> None:
    closed = start_site()
    assert 'id="begin"' not in closed.client.get("/").text
    assert closed.enroll(astronaut_jpeg, key="none").status_code == 401
    visit = closed.client.post(
        "/v1/guidance", files={"image": ("x.jpg", astronaut_jpeg)}, data={"look": "{}"}, headers=OWN
    )
    assert visit.status_code == 401
    desk = cookie_of(sign_in(closed, "enroller"))
    assert 'id="begin"' in closed.client.get("/", headers=desk).text


def test_a_visitor_may_enroll_and_be_guided_and_nothing_else(
    start_site: Callable[..., LocalSite], astronaut_jpeg: bytes
) -> None:
    site = start_site(self_enrollment=True)

    def look(headers: dict[str, str], token: bool = False) -> httpx2.Response:
        files = {"image": ("x.jpg", astronaut_jpeg)}
        return site.client.post(
            "/v1/guidance", files=files, data={"look": json.dumps({"token": token})}, headers=headers
        )

    assert look(OWN).json()["hint"] in ("ready", "come_closer", "center")
    assert look(OWN, token=True).json()["travel_token"] is None
    assert look(FOREIGN).status_code == 403
    assert look({}).status_code == 401
    body = {"travel": {"flight": "AI302"}, "consent": site.consent()}
    files = {"images": ("x.jpg", astronaut_jpeg)}
    sent = {"enrollment": json.dumps(body)}
    assert site.client.post("/v1/enrollments", files=files, data=sent, headers=OWN).status_code == 201
    assert site.client.post("/v1/enrollments", files=files, data=sent, headers=FOREIGN).status_code == 403
    for path in ("/v1/gates", "/v1/audit/entries", "/v1/keys", "/v1/me/report"):
        assert site.client.get(path, headers=OWN).status_code == 403
