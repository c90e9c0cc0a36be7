"""A whole site for one demonstration: a data folder that vanishes, a clock that moves, the real server process."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from time import monotonic

from biometrics.errors import NotReady

SITE_NAME = "demo.dwarpal.example"
PURGE_SECONDS = 3
STOP_SECONDS = 30


class Site:
    """One site; everything lies in `folder`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.data = folder / "data"
        self.url = ""
        self._clock_file = folder / "clock"
        self._log = folder / "server.log"
        self._offset = timedelta()
        self._server: subprocess.Popen[str] | None = None
        self._environment = os.environ | {
            "DWARPAL_ENVIRONMENT": "demo",
            "DWARPAL_SITE": SITE_NAME,
            "DWARPAL_DATA_DIR": str(self.data),
            "DWARPAL_DATABASE_URL": "",
            "DWARPAL_CLOCK_FILE": str(self._clock_file),
            "DWARPAL_PURGE_INTERVAL_SECONDS": str(PURGE_SECONDS),
        }
        self._write_clock()

    def now(self) -> datetime:
        """Return the site's time."""
        return datetime.now(UTC) + self._offset

    def move_clock_to(self, time: datetime) -> None:
        """Let it be `time`."""
        self._offset = time - datetime.now(UTC)
        self._write_clock()

    def _write_clock(self) -> None:
        writing = self._clock_file.with_suffix(".new")
        writing.write_text(str(self._offset.total_seconds()), encoding="ascii")
        writing.replace(self._clock_file)

    def command(self, *arguments: str) -> dict[str, str]:
        """Run a command of `dwarpal` on this site and return its JSON; raise `NotReady` if it fails."""
        done = subprocess.run(  # noqa: S603 - our own interpreter and module
            [*DWARPAL, *arguments, "--json"], env=self._environment, capture_output=True, text=True, check=False
        )
        if done.returncode != 0:
            raise NotReady(f"dwarpal {arguments[0]} failed: {done.stderr.strip() or done.returncode}")
        answer: dict[str, str] = json.loads(done.stdout)
        return answer

    def start(self) -> None:
        """Start the server on a free port and wait until it is ready; raise `NotReady` with its last words if not."""
        with self._log.open("wb") as log:
            self._server = subprocess.Popen(  # noqa: S603 - our own interpreter and module
                [*DWARPAL, "serve", "--port", "0"],
                env=self._environment,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )
        assert self._server.stdout is not None  # noqa: S101 - it is a pipe
        line = self._server.stdout.readline().strip()
        if " at http://" not in line:
            self.stop()
            words = self._log.read_text(encoding="utf-8").strip().splitlines()
            raise NotReady(words[-1].removeprefix("dwarpal: ") if words else "The server did not start.")
        self.url = line.rpartition(" ")[2]

    def stop(self) -> tuple[int, float]:
        """Ask the server to end; return its exit code and the milliseconds it took. A second call does nothing."""
        server, self._server = self._server, None
        if server is None:
            return 0, 0.0
        started = monotonic()
        server.send_signal(signal.SIGTERM)
        try:
            code = server.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            server.kill()
            code = server.wait()
        if server.stdout is not None:
            server.stdout.close()
        return code, (monotonic() - started) * 1000

    def files_with(self, needles: list[bytes]) -> list[str]:
        """Return the files of the site in which any of these bytes stand."""
        return [
            path.name
            for path in sorted(self.folder.rglob("*"))
            if path.is_file() and any(needle in path.read_bytes() for needle in needles)
        ]


DWARPAL = (sys.executable, "-m", "services.cli.main")


@contextmanager
def temporary_site() -> Iterator[Site]:
    """Make a site; afterwards its server and its folder are gone."""
    with TemporaryDirectory(prefix="dwarpal-demo-") as folder:
        site = Site(Path(folder))
        try:
            yield site
        finally:
            site.stop()
