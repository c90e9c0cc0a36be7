"""Every page and state that people see, and how to get there: what the examinations and the screenshots go through."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from evaluation.camera import PRESETS, photograph_jpeg
from services.demo.scenes import ASTRONAUT, HOPPER, portrait
from tests.browser.conftest import Chromium, Watched
from tests.browser.journeys import decision, enroll
from tests.conftest import encode


@dataclass(frozen=True)
class State:
    """A page in a state; `reach` leads there from `path`."""

    name: str
    path: str
    reach: Callable[[Watched, Chromium], None]


def _nothing(watched: Watched, chromium: Chromium) -> None:
    pass


def _consent(watched: Watched, chromium: Chromium) -> None:
    watched.page.click("#begin")


def _capture(watched: Watched, chromium: Chromium) -> None:
    page = watched.page
    page.route("**/v1/guidance", lambda route: route.fulfill(json={"hint": "come_closer", "face": None}))
    page.click("#begin")
    page.check("input[value=entry]")
    page.fill("#flight", "AI302")
    page.check("#adult")
    page.click("#consent .bottom .button:not(.quiet)")
    page.wait_for_selector("#snap:enabled")
    page.wait_for_timeout(700)


def _review(watched: Watched, chromium: Chromium) -> None:
    _capture(watched, chromium)
    watched.page.click("#snap")
    watched.page.wait_for_selector("#review:not([hidden])")


def _declined(watched: Watched, chromium: Chromium) -> None:
    watched.page.click("#begin")
    watched.page.click("#decline")


def _done(watched: Watched, chromium: Chromium) -> None:
    watched.page.unroute("**/v1/guidance")
    enroll(watched.page)


def _mine(watched: Watched, chromium: Chromium) -> None:
    _done(watched, chromium)
    watched.page.click("#done form button")
    watched.page.wait_for_selector("#countdown[data-end]")


def _asked(watched: Watched, chromium: Chromium) -> None:
    _mine(watched, chromium)
    watched.page.click(".confirm > summary")


def _withdrawn(watched: Watched, chromium: Chromium) -> None:
    _asked(watched, chromium)
    watched.page.click(".confirm .sure")
    watched.page.wait_for_selector("#save:not([hidden])")


def _wrong_token(watched: Watched, chromium: Chromium) -> None:
    watched.page.fill("#token", "DWP1.AAAA")
    with watched.page.expect_response(lambda response: response.request.method == "POST"):
        watched.page.click("form:not([enctype]) .button")
    watched.page.wait_for_selector("[role=alert]")
    watched.errors.clear()  # Chromium notes every answer of 400 and more by itself


def _wrong_key(watched: Watched, chromium: Chromium) -> None:
    watched.page.fill("#key", "dwk_wrong")
    watched.page.keyboard.press("Enter")
    watched.page.wait_for_selector("[role=alert]")
    watched.errors.clear()


def _signed_in(who: str, *, wait: int = 0) -> Callable[[Watched, Chromium], None]:
    def reach(watched: Watched, chromium: Chromium) -> None:
        chromium.sign_in(watched, who)
        watched.page.wait_for_timeout(wait)

    return reach


def _gate(answer: dict[str, object] | None = None, *, look: dict[str, object]) -> Callable[[Watched, Chromium], None]:
    """Bring the gate's screen into a state by what the service answers: what is looked at is the screen."""

    def reach(watched: Watched, chromium: Chromium) -> None:
        page = watched.page
        page.route("**/v1/guidance", lambda route: route.fulfill(json={"face": None, "travel_token": None, **look}))
        if answer is not None:
            page.route("**/checks", lambda route: route.fulfill(json=answer))
        chromium.sign_in(watched, "open-1")
        page.wait_for_selector("#kiosk:not([data-state=idle])" if answer or look["hint"] == "come_closer" else "#kiosk")
        if answer is not None:
            decision(page)
        page.wait_for_timeout(300)

    return reach


def _challenge(watched: Watched, chromium: Chromium) -> None:
    page = watched.page
    page.route(
        "**/v1/guidance",
        lambda route: route.fulfill(
            json={"hint": "ready", "face": None, "travel_token": f"DWP1.{'A' * 22}.{'A' * 43}"}
        ),
    )
    state = {"session_id": "0" * 32, "status": "IN_PROGRESS", "step": "turn_left", "steps_done": 2, "steps_total": 5}
    page.route("**/v1/liveness/sessions**", lambda route: route.fulfill(json={**state, "nonce": "n" * 20}))
    page.route("**/v1/liveness/sessions/**", lambda route: route.fulfill(json={**state, "nonce": "n" * 20}))
    chromium.sign_in(watched, "active-1")
    page.wait_for_selector("#kiosk[data-state=challenge]")
    page.wait_for_timeout(300)


def _turned_away(chromium: Chromium) -> None:
    """Have one traveller denied and one referred, over HTTP."""
    person = encode(portrait(ASTRONAUT))
    # Through a gate's camera: PAD takes the scan of the second portrait for the print that it is.
    stranger = photograph_jpeg(portrait(HOPPER), PRESETS["boarding"], np.random.default_rng(2026))
    with chromium.site.server.site(chromium.site.keys) as http:
        token = http.enroll(person, departs_in=None).json()["travel_token"]
        assert http.decision(stranger, token) == ("deny", "not_matched")
        assert http.decision(person, token, gate="active-1") == ("refer", "liveness_required")


def _desk(watched: Watched, chromium: Chromium) -> None:
    """With two who wait, one of them only for those who look for it."""
    chromium.sign_in(watched, "officer")
    watched.page.wait_for_selector("#line[data-state=live]")
    _turned_away(chromium)
    watched.page.check("#denied")
    watched.page.wait_for_selector(".desk-card[data-kind=refer] .since:not(:empty)")
    watched.page.wait_for_timeout(1200)


def _desk_decided(watched: Watched, chromium: Chromium) -> None:
    _desk(watched, chromium)
    watched.page.locator(".desk-card .yes").first.click()
    watched.page.wait_for_selector("#done:not([hidden]) li")
    watched.page.wait_for_timeout(1500)


def _desk_key(watched: Watched, chromium: Chromium) -> None:
    chromium.sign_in(watched, "admin")
    watched.page.wait_for_selector("#keys tr")
    watched.page.select_option("#role", "gate")
    watched.page.click("#make .button")
    watched.page.wait_for_selector("#made:not([hidden])")


def _desk_away(watched: Watched, chromium: Chromium) -> None:
    watched.page.route("**/v1/desk/**", lambda route: route.abort())
    chromium.sign_in(watched, "officer")
    watched.page.wait_for_selector("#line[data-state=away]")
    watched.errors.clear()  # Chromium notes by itself what did not load


def _audit(watched: Watched, chromium: Chromium) -> None:
    """At an auditor's first visit."""
    _turned_away(chromium)
    chromium.sign_in(watched, "auditor")
    watched.page.wait_for_selector("#entries li")
    watched.page.wait_for_selector("#age > *")
    watched.page.wait_for_selector("#pinning:not([hidden])")


def _audit_good(watched: Watched, chromium: Chromium) -> None:
    _audit(watched, chromium)
    watched.page.click("#trust")
    watched.page.wait_for_selector("#audit[data-state=good]")
    watched.page.locator("#entries summary").first.click()
    watched.page.locator("#entries .check").first.click()
    watched.page.wait_for_selector("#entries .said[data-state=good]")


def _audit_bad(watched: Watched, chromium: Chromium) -> None:
    """After the log that this browser saw was cut off: the service answers with an older checkpoint."""
    old = watched.page.request.get(chromium.site.url + "/v1/audit/checkpoint").text()
    _audit_good(watched, chromium)
    watched.page.route("**/v1/audit/checkpoint", lambda route: route.fulfill(body=old, content_type="text/plain"))
    watched.page.click("#verify")
    watched.page.wait_for_selector("#evidence:not([hidden]) .button")


def _audit_filtered(watched: Watched, chromium: Chromium) -> None:
    _audit(watched, chromium)
    watched.page.select_option("#decision", "refer")
    watched.page.select_option("#gate", "active-1")
    watched.page.wait_for_function(ONLY_REFERRED)


ONLY_REFERRED = """() => {
  const entries = [...document.querySelectorAll("#entries .decision")];
  return entries.length && entries.every((chip) => chip.textContent.startsWith("refer"));
}"""

READY: dict[str, object] = {"hint": "ready"}

STATES = (
    State("traveller-welcome", "/", _nothing),
    State("traveller-consent", "/", _consent),
    State("traveller-declined", "/", _declined),
    State("traveller-camera", "/", _capture),
    State("traveller-review", "/", _review),
    State("traveller-enrolled", "/", _done),
    State("my-sign-in", "/my", _nothing),
    State("my-wrong-token", "/my", _wrong_token),
    State("my-journey", "/", _mine),
    State("my-withdraw", "/", _asked),
    State("my-withdrawn", "/", _withdrawn),
    State("sign-in", "/sign-in", _nothing),
    State("sign-in-wrong", "/sign-in", _wrong_key),
    State("desk-waiting", "/sign-in", _desk),
    State("desk-decided", "/sign-in", _desk_decided),
    State("desk-new-key", "/sign-in", _desk_key),
    State("desk-no-connection", "/sign-in", _desk_away),
    State("audit-first-visit", "/sign-in", _audit),
    State("audit-verified", "/sign-in", _audit_good),
    State("audit-broken", "/sign-in", _audit_bad),
    State("audit-filtered", "/sign-in", _audit_filtered),
    State("gate-idle", "/sign-in", _gate(look={"hint": "face_not_found"})),
    State("gate-guide", "/sign-in", _gate(look={"hint": "come_closer"})),
    State("gate-challenge", "/sign-in", _challenge),
    State("gate-admit", "/sign-in", _gate({"decision": "admit", "reason": "matched"}, look=READY)),
    State("gate-deny", "/sign-in", _gate({"decision": "deny", "reason": "not_matched"}, look=READY)),
    State("gate-refer", "/sign-in", _gate({"decision": "refer", "reason": "attack_suspected"}, look=READY)),
)
