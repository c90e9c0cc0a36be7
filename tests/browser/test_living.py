"""The active challenge at the gate's screen, done by somebody who follows its random instructions."""

from __future__ import annotations

from playwright.sync_api import Page

from biometrics.capture import only_face
from biometrics.types import Pixels
from evaluation.head_motion import Head
from liveness.challenge import MOVEMENTS
from services.bootstrap import Networks
from tests.browser.conftest import SCREEN, Chromium
from tests.browser.journeys import enroll
from tests.browser.living import Living

PATIENCE = 120_000
"""One honest run in twenty or so fails (docs/liveness.md), and a busy service makes the screen begin again."""


def test_who_follows_the_screen_is_admitted(chromium: Chromium, networks: Networks, astronaut: Pixels) -> None:
    head = Head.lifted(astronaut, only_face(networks.detector.detect(astronaut)).landmarks, eye=72)
    with chromium.browser(camera=False) as browser:
        context = browser.new_context(viewport=SCREEN, bypass_csp=True)
        Living(head).stand_before(context)
        enrolling = chromium.open(context, "/").page
        token = enroll(enrolling, flight="AI640")
        enrolling.close()
        watched = chromium.open(context, "/sign-in")
        chromium.sign_in(watched, "active-1")
        steps = follow(watched.page, token)
        assert steps & MOVEMENTS, "nothing was asked for"
        assert watched.foreign == []


def follow(page: Page, token: str) -> set[str]:
    """Scan the token whenever the screen asks for it, until the gate opens; return what the screen asked for."""
    steps: set[str] = set()
    for _ in range(PATIENCE // 200):
        state, asked = page.get_attribute("#kiosk", "data-state"), page.get_attribute("#prompt", "data-step")
        if state == "admit":
            return steps
        if state == "challenge" and asked is not None:
            steps.add(asked)
        elif page.inner_text("#title") == "Show your travel token":
            page.keyboard.type(token)  # as a scanner does
            page.keyboard.press("Enter")
        page.wait_for_timeout(200)
    raise AssertionError(f"not admitted; the screen says {page.inner_text('#title')}, after {steps}")
