"""An officer at the desk: a referred traveller appears by itself, is decided about by keyboard, and sees it."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator

import pytest
from playwright.sync_api import expect

from biometrics.types import Pixels
from services.demo.scenes import ASTRONAUT, portrait
from tests.browser.conftest import HEADS, SCREEN, Chromium, Site
from tests.browser.films import nobody, screen_replay, shown_token
from tests.browser.journeys import decision, enroll, open_mine, tab_to
from tests.browser.states import _turned_away
from tests.e2e.conftest import dwarpal

Film = Callable[[], Iterator[Pixels]]


@pytest.fixture
def quiet(playwright: object, own_site: Site, chromium: Chromium) -> Chromium:
    """The browser on a service of its own, where nobody waits yet."""
    return Chromium(chromium.driver, own_site, chromium.folder)


def test_a_replay_is_referred_and_an_officer_decides_by_keyboard(quiet: Chromium, astronaut_film: Film) -> None:
    with quiet.browser(astronaut_film()) as browser:
        mine = quiet.open(browser, "/").page
        token = enroll(mine)
        desk = quiet.open(browser, "/sign-in", viewport=SCREEN)
        quiet.sign_in(desk, "officer")
        expect(desk.page).to_have_url(quiet.site.url + "/desk")
        expect(desk.page.locator("#nobody")).to_be_visible()
        replay = [*screen_replay(portrait(ASTRONAUT), HEADS["astronaut"])]
        with quiet.browser([*shown_token(token)], *[replay] * 6) as other:
            gate = quiet.open(other, "/sign-in")
            quiet.sign_in(gate, "entry-1")
            assert decision(gate.page) == "refer"
        card = desk.page.locator(".desk-card")
        expect(card).to_have_count(1, timeout=5000)
        expect(card).to_contain_text("A picture, a screen or a mask was suspected")
        expect(card).to_contain_text("entry-1")
        expect(desk.page.locator("#news")).to_contain_text("entry-1")
        assert desk.page.locator(".desk img, .desk video").count() == 0
        tab_to(desk.page, ".desk-card .no")
        desk.page.keyboard.press("Enter")
        expect(card).to_have_count(0)
        expect(desk.page.locator("#done-list li").first).to_contain_text("not let through")
        assert desk.errors == desk.foreign == []
        open_mine(mine, quiet.site.url, token)
        expect(mine.locator(".timeline")).to_contain_text("An officer decided")


def test_two_officers_see_each_other_and_only_one_decides(quiet: Chromium) -> None:
    with quiet.browser(nobody()) as browser:
        desks = [quiet.open(browser, "/sign-in") for _ in range(2)]
        for desk in desks:
            quiet.sign_in(desk, "officer")
            expect(desk.page.locator("#line")).to_have_attribute("data-state", "live")
        _turned_away(quiet)
        first, second = (desk.page for desk in desks)
        for page in (first, second):
            expect(page.locator(".desk-card:visible")).to_have_count(1, timeout=5000)
            page.check("#denied")
            expect(page.locator(".desk-card:visible")).to_have_count(2)
        first.locator(".desk-card .yes").first.click()
        for page in (first, second):
            expect(page.locator(".desk-card")).to_have_count(1, timeout=5000)
            expect(page.locator("#done-list li")).to_have_count(1)


def test_the_desk_goes_on_by_itself_and_ends_with_its_key(quiet: Chromium) -> None:
    with quiet.browser(nobody()) as browser:
        desk = quiet.open(browser, "/sign-in")
        quiet.sign_in(desk, "officer")
        page, server = desk.page, quiet.site.server
        expect(page.locator("#line")).to_have_attribute("data-state", "live")
        server.port = int(server.url.rpartition(":")[2])
        server.signal(signal.SIGKILL)
        expect(page.locator("#line")).to_contain_text("No connection", timeout=10_000)
        server.start()
        expect(page.locator("#line")).to_have_attribute("data-state", "live", timeout=20_000)
        _turned_away(quiet)
        expect(page.locator(".desk-card:visible")).to_have_count(1, timeout=5000)
        dwarpal("keys", "revoke", quiet.site.keys["officer"].split("_")[1], env=server.env)
        expect(page.locator("#problem")).to_contain_text("signed out", timeout=20_000)
        expect(page.locator(".desk-card")).to_have_count(0)


def test_an_administrator_makes_and_revokes_keys_and_decides_about_nobody(quiet: Chromium) -> None:
    with quiet.browser(nobody()) as browser:
        admin = quiet.open(browser, "/sign-in")
        quiet.sign_in(admin, "admin")
        page = admin.page
        page.select_option("#role", "officer")
        page.click("#make .button")
        expect(page.locator("#new-key")).to_contain_text("dwk_")
        key = page.inner_text("#new-key")
        _turned_away(quiet)
        expect(page.locator(".desk-card:visible")).to_have_count(1, timeout=5000)
        assert page.locator(".desk-card .yes").count() == 0
        row = page.locator("#keys tr", has_text=key.split("_")[1][:8])
        row.get_by_role("button").click()
        row.get_by_role("button").click()
        expect(row).to_contain_text("revoked")
        officer = quiet.open(browser, "/sign-in").page
        officer.fill("#key", key)
        officer.keyboard.press("Enter")
        expect(officer.get_by_role("alert")).to_be_visible()
