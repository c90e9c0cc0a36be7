"""The whole road in a real browser: enrolled, admitted, a stranger denied, a replay referred, forgotten."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import expect

from biometrics.types import Pixels
from services.demo.scenes import ASTRONAUT, portrait
from tests.browser.conftest import HEADS, PHONE, SCREEN, Chromium
from tests.browser.films import screen_replay, shown_token
from tests.browser.journeys import decision, enroll, enroll_by_keyboard, open_mine, withdraw

Film = Callable[[], Iterator[Pixels]]


def at_gate(chromium: Chromium, gate: str, *scenes: Iterable[Pixels], **context: object) -> str:
    """Return what the gate's screen says to whoever these scenes show."""
    with chromium.browser(*scenes) as browser:
        watched = chromium.open(browser, "/sign-in", **context)
        chromium.sign_in(watched, gate)
        said = decision(watched.page)
        assert watched.errors == []
        assert watched.foreign == []
        return said


@pytest.mark.parametrize("how", ["desktop", "phone in Hindi by keyboard"])
def test_a_traveller_is_enrolled_admitted_and_forgotten(
    how: str, chromium: Chromium, astronaut_film: Film, hopper_film: Film, tmp_path: Path
) -> None:
    desktop = how == "desktop"
    flight = "AI302" if desktop else "AI303"
    context = {"viewport": SCREEN} if desktop else {"viewport": PHONE, "locale": "hi-IN", "has_touch": True}
    replay = screen_replay(portrait(ASTRONAUT), HEADS["astronaut"])

    def gate_says(person: Iterable[Pixels]) -> str:
        scenes = list(shown_token(token)), *[list(person)] * 6
        return at_gate(chromium, "entry-1", *scenes, **context)

    with chromium.browser(astronaut_film()) as browser:
        watched = chromium.open(browser, "/", **context)
        page = watched.page
        assert page.get_attribute("html", "lang") == ("en" if desktop else "hi")
        token = (enroll if desktop else enroll_by_keyboard)(page, flight=flight)
        assert gate_says(astronaut_film()) == "admit"
        assert gate_says(hopper_film()) == "deny"
        assert gate_says(replay) == "refer"
        open_mine(page, chromium.site.url, token)
        expect(page.locator(".timeline li")).to_have_count(4)
        withdraw(page)
        with page.expect_download() as download:
            page.click("#save")
        receipt = tmp_path / "receipt.json"
        download.value.save_as(receipt)
        verifies(receipt, page.locator("pre").nth(1).text_content() or "")
        assert gate_says(astronaut_film()) == "deny"
        assert watched.errors == []
        assert watched.foreign == []


def verifies(receipt: Path, vkey: str) -> None:
    """Do what the page says: run the verifier on the receipt."""
    assert json.loads(receipt.read_text())
    command = [sys.executable, "infra/audit/audit_verify.py", "--receipt", str(receipt), "--vkey", vkey.strip()]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
