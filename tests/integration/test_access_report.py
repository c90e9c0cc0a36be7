"""The access report: whole, readable, inert in a browser, and without a template or a score."""

from __future__ import annotations

import base64
import hashlib
import re
from html.parser import HTMLParser

from biometrics.records import TravelToken
from tests.conftest import LocalSite

WORDS = '<script>alert("x")</script> & "Asha"'
HTML = {"Accept": "text/html,application/xhtml+xml;q=0.9,*/*;q=0.8"}


def visit(site: LocalSite, photograph: bytes) -> dict[str, str]:
    """Enroll in Urdu, pass two gates, complain."""
    consent = site.consent(["entry", "security", "walk_through"], lang="ur")
    enrolled: dict[str, str] = site.enroll(photograph, consent=consent).json()
    for gate in ("entry-1", "security-1"):
        assert site.decision(photograph, enrolled["travel_token"], gate=gate)[0] == "admit"
    complaint = {"kind": "grievance", "text": WORDS}
    assert (
        site.client.post("/v1/rights-requests", headers=site.auth(enrolled["travel_token"]), json=complaint).status_code
        == 201
    )
    return enrolled


def test_the_report_holds_everything_but_template_and_score(site: LocalSite, astronaut_jpeg: bytes) -> None:
    enrolled = visit(site, astronaut_jpeg)
    token = enrolled["travel_token"]
    answer = site.client.get("/v1/me/report", headers=site.auth(token))
    report = answer.json()
    assert report["enrollment_id"] == enrolled["enrollment_id"]
    assert list(report["consent"]["purposes"]) == ["entry", "security", "walk_through"]
    assert len(report["face"]["opens_with"]) == 2
    assert [request["text"] for request in report["requests"]] == [WORDS]
    activity = site.client.get("/v1/me/activity", headers=site.auth(token)).json()["items"]
    assert report["uses"] == activity
    assert [use["event"] for use in activity] == ["enrolled", "checked", "checked"]
    with site.system.storage.reading() as unit:
        record = unit.enrollments.get(enrolled["enrollment_id"], site.now())
    assert record is not None
    told = answer.text + site.client.get("/v1/me/report", headers=site.auth(token) | HTML).text
    share = TravelToken.parse(token).share
    for secret in (record.sealed.envelope, record.sealed.for_holder, record.holder_verifier, share):
        assert secret.hex() not in told
        assert base64.b64encode(secret).decode()[:-2] not in told
    assert not re.search(r"cosine|score|similarity", told)


class Page(HTMLParser):
    """What a browser would load or run, the text, and its languages."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: set[str] = set()
        self.languages: set[tuple[str, str]] = set()
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes |= {name for name, _ in attrs}
        named = dict(attrs)
        if named.get("lang") and named.get("dir"):
            self.languages.add((str(named["lang"]), str(named["dir"])))

    def handle_data(self, data: str) -> None:
        self.text += data


def test_the_page_is_readable_and_loads_and_runs_nothing(site: LocalSite, astronaut_jpeg: bytes) -> None:
    enrolled = visit(site, astronaut_jpeg)
    answer = site.client.get("/v1/me/report", headers=site.auth(enrolled["travel_token"]) | HTML)
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert answer.headers["vary"] == "Accept"
    page = Page(answer.text)
    assert page.tags.isdisjoint({"script", "img", "link", "iframe", "object", "form", "a"})
    assert page.attributes.isdisjoint({"src", "href", "style", "onclick", "action"})
    assert WORDS in page.text  # as text, not as markup
    assert page.languages == {("ur", "rtl")}
    for told in (enrolled["enrollment_id"], "AI302", "entry-1", "security-1", "matched", "grievance: received"):
        assert told in page.text
    style = re.search(r"<style>(.*?)</style>", answer.text, re.DOTALL)
    assert style is not None
    digest = base64.b64encode(hashlib.sha256(style[1].encode()).digest()).decode()
    assert answer.headers["content-security-policy"].split("; ") == [
        "default-src 'none'",
        f"style-src 'sha256-{digest}'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    ]
    assert answer.headers["cache-control"] == "no-store"


def test_nobody_else_gets_the_report(site: LocalSite, astronaut_jpeg: bytes) -> None:
    token = site.enroll(astronaut_jpeg).json()["travel_token"]
    other = TravelToken.new(TravelToken.parse(token).enrollment_id).text
    assert site.client.get("/v1/me/report", headers=site.auth(other)).status_code == 404
    for who in ("officer", "admin", "auditor", "enroller"):
        assert site.client.get("/v1/me/report", headers=site.auth(who)).status_code == 403
