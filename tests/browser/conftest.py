"""Debian's Chromium on a real server, with a fake camera that plays films of the two public-domain portraits."""

from __future__ import annotations

import json
import shutil
import signal
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import pytest
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, Playwright, Request, sync_playwright

from biometrics.types import Pixels
from services.demo.scenes import ASTRONAUT, HOPPER, portrait
from tests.browser import films
from tests.e2e.conftest import Server, dwarpal

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
HEADS = {"astronaut": (225.0, 115.0, 175.0), "hopper": (250.0, 170.0, 340.0)}
PHONE = {"width": 360, "height": 740}
TABLET = {"width": 820, "height": 1180}
SCREEN = {"width": 1920, "height": 1080}
GATES = {
    "entry-1": ("entry", []),
    "open-1": ("entry", ["--walk-through"]),
    "active-1": ("boarding", ["--liveness", "active"]),
}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """These tests speak to this machine, and need a browser."""
    here = Path(__file__).parent
    for item in items:
        if item.path.is_relative_to(here):
            item.add_marker(pytest.mark.allow_hosts(["127.0.0.1", "::1"]))
            if CHROMIUM is None:
                item.add_marker(pytest.mark.skip(reason="no Chromium is installed: apt-get install chromium"))


@dataclass
class Site:
    """The running service as browsers reach it, with the keys of everybody."""

    server: Server
    keys: dict[str, str] = field(repr=False)

    @property
    def url(self) -> str:
        """`localhost`, where browsers take a Secure cookie and lend the camera without TLS."""
        return self.server.url.replace("127.0.0.1", "localhost")


def make_site(server: Server) -> Site:
    """Make gates and keys as an operator does."""
    keys = {}
    for gate, (purpose, options) in GATES.items():
        dwarpal("gates", "create", gate, "--purpose", purpose, *options, env=server.env)
    wanted = {role: ["--role", role] for role in ("enroller", "auditor", "officer", "admin")}
    wanted |= {gate: ["--role", "gate", "--gate", gate] for gate in GATES}
    for who, options in wanted.items():
        keys[who] = json.loads(dwarpal("keys", "create", *options, "--json", env=server.env))["key"]
    return Site(server, keys)


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """One service on which travellers may enroll themselves."""
    server = Server(tmp_path_factory.mktemp("browser") / "data", self_enrollment="true")
    server.start()
    yield make_site(server)
    server.signal(signal.SIGTERM)


@pytest.fixture
def own_site(tmp_path: Path) -> Iterator[Site]:
    """A service that a test may stop."""
    server = Server(tmp_path / "data", self_enrollment="true")
    server.start()
    yield make_site(server)
    server.signal(signal.SIGKILL)


@pytest.fixture(scope="session")
def playwright() -> Iterator[Playwright]:
    """Playwright's driver."""
    with sync_playwright() as driver:
        yield driver


@dataclass
class Watched:
    """A page with everything that went wrong on it."""

    page: Page
    errors: list[str] = field(default_factory=list)
    foreign: list[str] = field(default_factory=list)

    def watch(self, own: str) -> None:
        def on_console(message: ConsoleMessage) -> None:
            if message.type in ("error", "warning"):
                self.errors.append(message.text)

        def on_request(request: Request) -> None:
            if not request.url.startswith((own, "blob:")):
                self.foreign.append(request.url)

        self.page.on("console", on_console)
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.on("request", on_request)


@dataclass
class Chromium:
    """Starts browsers; each film needs one of its own."""

    driver: Playwright
    site: Site
    folder: Path

    @contextmanager
    def browser(self, *scenes: Iterable[Pixels], camera: bool = True, allowed: bool = True) -> Iterator[Browser]:
        """Start a browser whose camera plays these scenes, over and over."""
        options = []
        if camera:
            options.append("--use-fake-device-for-media-stream")
        if allowed:
            options.append("--use-fake-ui-for-media-stream")
        if scenes:
            film = films.write(self.folder / f"film-{len(list(self.folder.iterdir()))}.mjpeg", *scenes)
            options.append(f"--use-file-for-fake-video-capture={film}")
        browser = self.driver.chromium.launch(executable_path=CHROMIUM, args=options)
        try:
            yield browser
        finally:
            browser.close()

    def open(
        self, browser: Browser | BrowserContext, path: str, *, site: Site | None = None, **context: object
    ) -> Watched:
        """Open a page in a context of its own."""
        where = site or self.site
        new = browser.new_context(**context) if isinstance(browser, Browser) else browser  # type: ignore[arg-type]
        watched = Watched(new.new_page())
        watched.watch(where.url)
        watched.page.goto(where.url + path)
        return watched

    def sign_in(self, watched: Watched, who: str, *, site: Site | None = None) -> None:
        """Sign in as somebody, by keyboard."""
        self.sign_in_at(watched.page, who, site=site)

    def sign_in_at(self, page: Page, who: str, *, site: Site | None = None) -> None:
        """The same on a page by itself."""
        where = site or self.site
        page.goto(where.url + "/sign-in?other")
        page.fill("#key", where.keys[who])
        page.keyboard.press("Enter")
        page.wait_for_url(lambda url: "/sign-in" not in url)


@pytest.fixture
def chromium(playwright: Playwright, site: Site, tmp_path: Path) -> Chromium:
    """The browser on the shared service."""
    folder = tmp_path / "films"
    folder.mkdir()
    return Chromium(playwright, site, folder)


@pytest.fixture(scope="session")
def astronaut_film() -> Callable[[], Iterator[Pixels]]:
    """Films of the first traveller."""
    person = portrait(ASTRONAUT)
    return lambda: films.standing(person, HEADS["astronaut"])


@pytest.fixture(scope="session")
def hopper_film() -> Callable[[], Iterator[Pixels]]:
    """Films of somebody else; the grain of the scanned print is smoothed, or PAD takes it for the print that it is."""
    person = cv2.GaussianBlur(portrait(HOPPER), (0, 0), 0.8)
    return lambda: films.standing(person, HEADS["hopper"])
