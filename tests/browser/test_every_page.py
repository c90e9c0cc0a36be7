"""What holds on every page and state: accessible, quiet, quick, steady, of one origin, under a strict policy."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page

from biometrics.types import Pixels
from tests.browser.conftest import PHONE, SCREEN, Chromium
from tests.browser.states import STATES, State

Film = Callable[[], Iterator[Pixels]]

WATCH = """
new PerformanceObserver((list) => {
  for (const entry of list.getEntries()) {
    if (!entry.hadRecentInput) window.shifted = (window.shifted ?? 0) + entry.value;
  }
}).observe({ type: "layout-shift", buffered: true });
"""

BEYOND = """() => [...document.querySelectorAll("body *")]
  .filter((part) => part.checkVisibility({ visibilityProperty: true }) && !part.closest("svg, video, .unseen, .skip"))
  .filter((part) => {
    for (let around = part; around; around = around.parentElement) {
      if (["auto", "scroll"].includes(getComputedStyle(around).overflowX)) return false;
    }
    const { left, right, width } = part.getBoundingClientRect();
    return width && (right > innerWidth + 1 || left < -1);
  })
  .map((part) => part.outerHTML.slice(0, 120))"""


@dataclass(frozen=True)
class Look:
    """How a page is looked at."""

    name: str
    context: dict[str, object]


LOOKS = (
    Look("phone", {"viewport": PHONE, "reduced_motion": "reduce"}),
    Look("screen, dark", {"viewport": SCREEN, "color_scheme": "dark", "reduced_motion": "reduce"}),
    Look("phone, Urdu", {"viewport": PHONE, "locale": "ur-IN", "reduced_motion": "reduce"}),
)


@pytest.fixture(scope="module")
def token(request: pytest.FixtureRequest) -> dict[str, str]:
    """Filled by the first state that enrolls."""
    return {}


@pytest.mark.parametrize("look", LOOKS, ids=lambda look: look.name)
def test_every_state(look: Look, chromium: Chromium, astronaut_film: Film) -> None:
    """One browser walks through all states; every one is examined."""
    with chromium.browser(astronaut_film()) as browser:
        found: dict[str, list[str]] = {}
        for state in STATES:
            problems = examine(state, look, browser, chromium)
            if problems:
                found[state.name] = problems
    assert found == {}


def examine(state: State, look: Look, browser: Browser, chromium: Chromium) -> list[str]:
    """Return what is wrong with a state."""
    context = browser.new_context(**look.context)  # type: ignore[arg-type]
    context.add_init_script(WATCH)
    try:
        watched = chromium.open(context, state.path)
        state.reach(watched, chromium)
        watched.page.wait_for_load_state()  # axe asks for a layout, with or without the style sheet
        return [
            *accessibility(watched.page),
            *beyond(watched.page),
            *watched.errors,
            *watched.foreign,
            *pace(watched.page),
        ]
    finally:
        context.close()


def accessibility(page: Page) -> list[str]:
    """Return axe-core's serious and critical findings (WCAG 2.2 A and AA)."""
    found = Axe().run(
        page, options={"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]}
    )
    return [
        f"{violation['id']}: {violation['nodes'][0]['html'][:120]}"
        for violation in found.response["violations"]
        if violation["impact"] in ("serious", "critical")
    ]


def beyond(page: Page) -> list[str]:
    """Return what lies beyond the screen's sides and cannot be scrolled to (WCAG 1.4.10)."""
    return [f"beyond the screen: {html}" for html in page.evaluate(BEYOND)]


def pace(page: Page) -> list[str]:
    """Return what is slow or jumps: first paint within a second, cumulative layout shift of at most 0.1."""
    painted = page.evaluate("performance.getEntriesByName('first-contentful-paint')[0]?.startTime ?? 0")
    shifted = page.evaluate("window.shifted ?? 0")
    return [
        *([f"first paint after {painted:.0f} ms"] if painted > 1000 else []),
        *([f"layout shift {shifted:.3f}"] if shifted > 0.1 else []),
    ]


def test_the_policy_has_no_holes(chromium: Chromium) -> None:
    with chromium.browser() as browser:
        page = browser.new_page()
        for path in ("/", "/my", "/sign-in"):
            answer = page.goto(chromium.site.url + path)
            assert answer is not None
            policy = answer.headers["content-security-policy"]
            assert "default-src 'none'" in policy
            assert "frame-ancestors 'none'" in policy
            assert "unsafe" not in policy
            assert "*" not in policy
