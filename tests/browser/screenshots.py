"""Takes a picture of every page and state: `make screenshots` writes docs/screenshots anew.

The faces in them are the two public-domain portraits; the service is a real one on data of its own.
"""

from __future__ import annotations

import signal
import sys
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryDirectory

from PIL import Image
from playwright.sync_api import sync_playwright
from rich.progress import track

from services.demo.scenes import ASTRONAUT, portrait
from tests.browser.conftest import HEADS, PHONE, SCREEN, TABLET, Chromium, make_site
from tests.browser.films import standing
from tests.browser.states import STATES, State
from tests.e2e.conftest import Server

FOLDER = Path("docs/screenshots")
COLORS = 160
VIEWS: dict[str, dict[str, object]] = {
    "phone": {"viewport": PHONE},
    "phone-hindi-dark": {"viewport": PHONE, "locale": "hi-IN", "color_scheme": "dark"},
    "tablet": {"viewport": TABLET},
    "screen": {"viewport": SCREEN},
    "screen-dark": {"viewport": SCREEN, "color_scheme": "dark"},
}
OF_PEOPLE = ("phone", "phone-hindi-dark", "tablet")
OF_DESKS = ("screen", "screen-dark", "tablet")


def views_of(state: State) -> tuple[str, ...]:
    """Return how a state is usually met: in a hand, or on a screen."""
    return OF_PEOPLE if state.name.startswith(("traveller", "my")) else OF_DESKS


def main() -> None:
    """Write every picture, smallest PNG that still looks right."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    for old in FOLDER.glob("*.png"):
        old.unlink()
    with TemporaryDirectory() as folder, sync_playwright() as driver:
        server = Server(Path(folder) / "data", self_enrollment="true")
        server.start()
        chromium = Chromium(driver, make_site(server), Path(folder))
        try:
            with chromium.browser(standing(portrait(ASTRONAUT), HEADS["astronaut"])) as browser:
                wanted = [(state, view) for state in STATES for view in views_of(state)]
                for state, view in track(wanted, "Screenshots", disable=not sys.stderr.isatty()):
                    context = browser.new_context(reduced_motion="reduce", **VIEWS[view])  # type: ignore[arg-type]
                    watched = chromium.open(context, state.path)
                    state.reach(watched, chromium)
                    _save(watched.page.screenshot(full_page=True), FOLDER / f"{state.name}-{view}.png")
                    context.close()
        finally:
            server.signal(signal.SIGTERM)


def _save(png: bytes, path: Path) -> None:
    picture = Image.open(BytesIO(png)).convert("RGB")
    most = 2.5  # a long page is cut: its top tells enough
    picture = picture.crop((0, 0, picture.width, min(picture.height, round(picture.width * most))))
    if picture.width > 1280:
        picture = picture.resize((1280, round(picture.height * 1280 / picture.width)), Image.Resampling.LANCZOS)
    picture.quantize(COLORS, method=Image.Quantize.MEDIANCUT).save(path, optimize=True)


if __name__ == "__main__":
    main()
