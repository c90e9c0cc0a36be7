"""A gate's screen runs for days: hundreds of checks in one page, and its memory stays.

`pytest tests/browser/test_soak.py --soak 500` is the long form. The waits of the page are shortened, nothing else is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import islice

import pytest
from playwright.sync_api import CDPSession

from biometrics.types import Pixels
from tests.browser.conftest import Chromium
from tests.browser.films import nobody
from tests.browser.journeys import enroll

FASTER = 8
LONG = 400
"""Waits of so many milliseconds and more are shortened: those between the frames of a burst must stay."""
HURRY = f"""
const patient = window.setTimeout;
window.setTimeout = (work, ms, ...rest) => patient(work, ms >= {LONG} ? ms / {FASTER} : ms, ...rest);
window.decisions = {{}};
addEventListener("DOMContentLoaded", () => {{
  const kiosk = document.getElementById("kiosk");
  if (kiosk) new MutationObserver(() => {{
    const state = kiosk.dataset.state;
    if (state !== window.former) window.decisions[state] = (window.decisions[state] ?? 0) + 1;
    window.former = state;
  }}).observe(kiosk, {{ attributes: true, attributeFilter: ["data-state"] }});
}});
"""
GROWTH = 0.10


def heap(session: CDPSession) -> int:
    """Return the bytes of the page's objects after a collection."""
    session.send("HeapProfiler.collectGarbage")
    return int(session.send("Runtime.getHeapUsage")["usedSize"])


@pytest.mark.timeout(3600)
def test_memory_of_a_gate_s_screen_stays(
    chromium: Chromium, astronaut_film: Callable[[], Iterator[Pixels]], request: pytest.FixtureRequest
) -> None:
    checks: int = request.config.getoption("--soak")
    passing = list(islice(astronaut_film(), 24))
    with chromium.browser(passing, nobody(24)) as browser:
        enroll(chromium.open(browser, "/").page, purposes=("entry", "walk_through"), flight="AI777", hours=3)
        context = browser.new_context()
        context.add_init_script(HURRY)
        watched = chromium.open(context, "/sign-in")
        chromium.sign_in(watched, "open-1")
        page, devtools = watched.page, context.new_cdp_session(watched.page)

        def admitted() -> int:
            return int(page.evaluate("window.decisions.admit ?? 0"))

        def until(count: int) -> None:
            for _ in range(60 * (count + 10)):
                if admitted() >= count:
                    return
                page.wait_for_timeout(100)
            raise AssertionError(f"only {admitted()} of {count} checks: {page.evaluate('window.decisions')}")

        until(checks // 5)
        before, nodes = heap(devtools), page.evaluate("document.querySelectorAll('*').length")
        until(checks)
        after = heap(devtools)
        print(
            f"{admitted()} checks: {before / 1e6:.2f} MB after {checks // 5}, {after / 1e6:.2f} MB at the end;",
            page.evaluate("window.decisions"),
        )
        assert after < before * (1 + GROWTH)
        assert page.evaluate("document.querySelectorAll('*').length") == nodes
        assert watched.foreign == []
