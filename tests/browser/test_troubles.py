"""When something is missing, the page says what to do: no permission, no camera, no server, no JavaScript."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator

import pytest
from playwright.sync_api import expect

from biometrics.types import Pixels
from tests.browser.conftest import Chromium, Site
from tests.browser.films import nobody
from tests.browser.journeys import enroll

Film = Callable[[], Iterator[Pixels]]


def to_camera(page: object) -> None:
    """Consent, up to the camera."""
    page.click("#begin")  # type: ignore[attr-defined]
    page.check("input[value=entry]")  # type: ignore[attr-defined]
    page.fill("#flight", "AI302")  # type: ignore[attr-defined]
    page.check("#adult")  # type: ignore[attr-defined]
    page.click("#consent .bottom .button:not(.quiet)")  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("camera", "allowed", "words"),
    [(True, False, "The camera is not allowed"), (False, True, "There is no camera here")],
)
def test_a_traveller_without_a_camera_is_told_what_to_do(
    camera: bool, allowed: bool, words: str, chromium: Chromium, astronaut_jpeg: bytes
) -> None:
    with chromium.browser(camera=camera, allowed=allowed) as browser:
        page = chromium.open(browser, "/").page
        to_camera(page)
        expect(page.locator("#no-camera")).to_contain_text(words)
        expect(page.locator("#again")).to_be_visible()
        page.set_input_files("#files", {"name": "me.jpg", "mimeType": "image/jpeg", "buffer": astronaut_jpeg})
        page.click("#send")
        expect(page.locator("#done")).to_be_visible(timeout=20_000)


@pytest.mark.parametrize(
    ("camera", "allowed", "words"),
    [(True, False, "The camera is not allowed"), (False, True, "There is no camera")],
)
def test_a_gate_without_a_camera_sends_people_to_the_officer(
    camera: bool, allowed: bool, words: str, chromium: Chromium
) -> None:
    with chromium.browser(camera=camera, allowed=allowed) as browser:
        watched = chromium.open(browser, "/sign-in")
        chromium.sign_in(watched, "entry-1")
        expect(watched.page.locator("#title")).to_have_text(words)
        expect(watched.page.locator("#text")).to_contain_text("officer’s lane")


def test_a_gate_goes_on_by_itself_when_the_service_comes_back(chromium: Chromium, own_site: Site) -> None:
    with chromium.browser(nobody()) as browser:
        watched = chromium.open(browser, "/sign-in", site=own_site)
        chromium.sign_in(watched, "entry-1", site=own_site)
        expect(watched.page.locator("#title")).to_have_text("Show your travel token")
        own_site.server.port = int(own_site.server.url.rpartition(":")[2])
        own_site.server.signal(signal.SIGKILL)
        expect(watched.page.locator("#title")).to_have_text("No connection", timeout=10_000)
        expect(watched.page.locator("#text")).to_contain_text("officer’s lane")
        own_site.server.start()
        expect(watched.page.locator("#title")).to_have_text("Show your travel token", timeout=20_000)


def test_an_enrollment_survives_a_lost_connection(chromium: Chromium, own_site: Site, astronaut_film: Film) -> None:
    with chromium.browser(astronaut_film()) as browser:
        page = chromium.open(browser, "/", site=own_site).page
        to_camera(page)
        page.wait_for_selector("#review:not([hidden])", timeout=20_000)
        own_site.server.port = int(own_site.server.url.rpartition(":")[2])
        own_site.server.signal(signal.SIGKILL)
        page.click("#send")
        expect(page.locator("#review-problem")).to_contain_text("No connection")
        own_site.server.start()
        page.click("#send")
        expect(page.locator("#done")).to_be_visible(timeout=20_000)


def test_a_minor_and_a_flight_that_is_none_are_told_kindly(chromium: Chromium) -> None:
    with chromium.browser(nobody()) as browser:
        page = chromium.open(browser, "/").page
        page.click("#begin")
        agree = page.locator("#consent .bottom .button:not(.quiet)")
        agree.click()
        expect(page.locator("#consent-problem")).to_contain_text("Switch on at least one")
        page.check("input[value=entry]")
        page.fill("#flight", "my flight")
        agree.click()
        expect(page.locator("#consent-problem")).to_contain_text("flight number")
        assert page.get_attribute("#flight", "aria-invalid") == "true"
        page.fill("#flight", "AI302")
        agree.click()
        expect(page.locator("#consent-problem")).to_contain_text("under 18")
        assert page.evaluate("document.activeElement.id") == "adult"


def test_a_revoked_gate_is_closed(chromium: Chromium, own_site: Site, astronaut_film: Film) -> None:
    from tests.e2e.conftest import dwarpal

    with chromium.browser(astronaut_film()) as browser:
        watched = chromium.open(browser, "/sign-in", site=own_site)
        chromium.sign_in(watched, "open-1", site=own_site)
        expect(watched.page.locator("#title")).not_to_have_text("Starting …")
        key_id = own_site.keys["open-1"].split("_")[1]
        dwarpal("keys", "revoke", key_id, env=own_site.server.env)
        expect(watched.page.locator("#title")).to_have_text("This gate is closed", timeout=15_000)
        expect(watched.page.locator("#staff")).to_be_visible()


def test_pictures_of_two_people_are_refused(chromium: Chromium, astronaut_jpeg: bytes, hopper_jpeg: bytes) -> None:
    with chromium.browser(nobody()) as browser:
        page = chromium.open(browser, "/").page
        to_camera(page)
        images = [{"name": "x.jpg", "mimeType": "image/jpeg", "buffer": b} for b in (astronaut_jpeg, hopper_jpeg)]
        page.set_input_files("#files", images)
        page.click("#send")
        expect(page.locator("#review-problem")).to_contain_text("different people")
        page.click("#retake")
        page.set_input_files("#files", {"name": "x.png", "mimeType": "image/png", "buffer": b"not a picture"})
        page.click("#send")
        expect(page.locator("#review-problem")).to_contain_text("not a picture")


def test_the_traveller_may_say_no(chromium: Chromium) -> None:
    with chromium.browser(nobody()) as browser:
        page = chromium.open(browser, "/").page
        page.click("#begin")
        page.click("#decline")
        expect(page.locator("#declined h1")).to_be_focused()


def test_a_second_enrollment_in_one_browser_is_another_ones(chromium: Chromium, astronaut_film: Film) -> None:
    with chromium.browser(astronaut_film()) as browser:
        page = chromium.open(browser, "/").page
        first = enroll(page, flight="AI900")
        page.click("#finish")
        page.wait_for_selector("#welcome:not([hidden])")
        assert first not in page.content()
        assert enroll(page, flight="AI901") != first
