"""What people do at the pages, step by step, with the mouse or by keyboard alone."""

from __future__ import annotations

from datetime import datetime, timedelta

from playwright.sync_api import Page, expect
from playwright.sync_api import TimeoutError as TooLate

PATIENCE = 20_000


def enroll(
    page: Page,
    *,
    purposes: tuple[str, ...] = ("entry", "security", "boarding"),
    flight: str = "AI302",
    hours: float = 0,
) -> str:
    """Enroll the one before the camera, departing in so many hours (0: not told); return the travel token."""
    page.click("#begin")
    for purpose in purposes:
        page.check(f"input[value={purpose}]")
    page.fill("#flight", flight)
    if hours:
        page.fill("#departs", f"{datetime.now() + timedelta(hours=hours):%Y-%m-%dT%H:%M}")
    page.check("#adult")
    page.click("#consent .bottom .button:not(.quiet)")
    page.wait_for_selector("#review:not([hidden])", timeout=PATIENCE)
    page.click("#send")
    page.wait_for_selector("#done:not([hidden])", timeout=PATIENCE)
    return page.inner_text("#token")


def tab_to(page: Page, selector: str, most: int = 60) -> None:
    """Press Tab until the element has the focus; fail if the keyboard cannot reach it."""
    for _ in range(most):
        if page.evaluate("selector => document.activeElement?.matches(selector)", selector):
            return
        page.keyboard.press("Tab")
    raise AssertionError(f"the keyboard does not reach {selector}")


def enroll_by_keyboard(page: Page, *, flight: str = "AI302") -> str:
    """The same with nothing but the keyboard."""
    tab_to(page, "#begin")
    page.keyboard.press("Enter")
    for purpose in ("entry", "security", "boarding"):
        tab_to(page, f"input[value={purpose}]")
        page.keyboard.press("Space")
    tab_to(page, "#flight")
    page.keyboard.type(flight)
    tab_to(page, "#adult")
    page.keyboard.press("Space")
    tab_to(page, "#consent .bottom .button:not(.quiet)")
    page.keyboard.press("Enter")
    page.wait_for_selector("#review:not([hidden])", timeout=PATIENCE)
    tab_to(page, "#send")
    page.keyboard.press("Enter")
    page.wait_for_selector("#done:not([hidden])", timeout=PATIENCE)
    return page.inner_text("#token")


def open_mine(page: Page, url: str, token: str) -> None:
    """Open the traveller's own page, by keyboard."""
    page.goto(url + "/my")
    tab_to(page, "#token")
    page.keyboard.type(token)
    page.keyboard.press("Enter")
    expect(page.locator("#countdown")).to_be_visible()


def withdraw(page: Page) -> None:
    """One button, one confirmation, by keyboard."""
    tab_to(page, ".confirm > summary")
    page.keyboard.press("Enter")
    tab_to(page, ".confirm .sure")
    page.keyboard.press("Enter")
    expect(page.locator("#save")).to_be_visible()


def decision(page: Page, *, timeout: int = PATIENCE) -> str:
    """Wait for the gate's next decision."""
    decided = page.locator("#kiosk:is([data-state=admit], [data-state=deny], [data-state=refer])")
    try:
        decided.wait_for(timeout=timeout)
    except TooLate as error:
        said = [page.text_content(place) for place in ("#title", "#text", "#hint")]
        raise AssertionError(f"no decision; the screen says {said}") from error
    return str(page.get_attribute("#kiosk", "data-state"))
