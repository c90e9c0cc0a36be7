"""The notice over HTTP: what a kiosk needs to show it in the traveller's language."""

from __future__ import annotations

from enrollment.consent import LANGUAGES, Notice
from tests.conftest import LocalSite


def test_a_kiosk_learns_the_languages_and_how_to_show_them(site: LocalSite) -> None:
    listed = site.client.get("/v1/notices").json()["items"]
    assert [item["language"] for item in listed] == list(LANGUAGES)
    for item in listed:
        notice = site.client.get("/v1/notice", params={"lang": item["language"]}).json()
        assert {name: notice[name] for name in item} == item
        assert notice["sha256"] == Notice.in_language(item["language"]).sha256
    assert {item["language"] for item in listed if item["direction"] == "rtl"} == {"ur"}
    assert site.client.get("/v1/notice", params={"lang": "fr"}).status_code == 404
