"""A real server process, as an operator starts it, and the command line beside it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx2
import pytest
from typer.testing import CliRunner

from services.cli.main import app
from tests.traveller import Site

DWARPAL = (sys.executable, "-m", "services.cli.main")
GATES = {"entry-1": "entry", "security-1": "security", "boarding-1": "boarding"}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """These tests, and no others, may speak to this machine."""
    here = Path(__file__).parent
    for item in items:
        if item.path.is_relative_to(here):
            item.add_marker(pytest.mark.allow_hosts(["127.0.0.1"]))


def environment(data_dir: Path, **settings: object) -> dict[str, str]:
    """Return this environment with settings of its own."""
    own = {"data_dir": data_dir, "environment": "development", "site": "test.example", "rate_address": "100000/minute"}
    return os.environ | {f"DWARPAL_{name.upper()}": str(value) for name, value in (own | settings).items()}


def dwarpal(*arguments: str, env: dict[str, str]) -> str:
    """Run a command in this process, beside the server's, and return what it printed."""
    result = CliRunner().invoke(app, list(arguments), env=env)
    assert result.exit_code == 0, result.output
    return result.stdout


class Server:
    """`dwarpal serve` in a process of its own; it may be killed and started again on the same data."""

    def __init__(self, data_dir: Path, **settings: object) -> None:
        self.data_dir = data_dir
        self.env = environment(data_dir, **settings)
        self.log = data_dir.with_suffix(".log")
        self.url = ""
        self.port = 0
        self._process: subprocess.Popen[str] | None = None

    def start(self) -> None:
        with self.log.open("ab") as log:
            command = [*DWARPAL, "serve", "--port", str(self.port)]
            self._process = subprocess.Popen(command, env=self.env, stdout=subprocess.PIPE, stderr=log, text=True)
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            self.signal(signal.SIGKILL)
        assert line.startswith("Dwarpal is ready at http://127.0.0.1:"), self.log.read_text()
        self.url = line.split()[-1]

    def signal(self, number: int) -> int:
        """Send a signal and return the exit code."""
        process, self._process = self._process, None
        if process is None:
            return 0
        process.send_signal(number)
        code = process.wait(60)
        if process.stdout is not None:
            process.stdout.close()
        return code

    def make_keys(self) -> dict[str, str]:
        """Make gates and keys as an operator does."""
        for gate, purpose in GATES.items():
            dwarpal("gates", "create", gate, "--purpose", purpose, env=self.env)
        wanted = {role: ["--role", role] for role in ("enroller", "auditor", "officer", "admin")}
        wanted |= {gate: ["--role", "gate", "--gate", gate] for gate in GATES}
        keys = {}
        for who, options in wanted.items():
            keys[who] = json.loads(dwarpal("keys", "create", *options, "--json", env=self.env))["key"]
        return keys

    @contextmanager
    def site(self, keys: dict[str, str]) -> Iterator[Site]:
        """Speak to it."""
        with httpx2.Client(base_url=self.url, timeout=60, trust_env=False) as client:
            yield Site(client, keys)


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One server for all tests that leave it running."""
    running = Server(tmp_path_factory.mktemp("server") / "data")
    running.start()
    yield running
    assert running.signal(signal.SIGTERM) == 0


@pytest.fixture(scope="session")
def keys(server: Server) -> dict[str, str]:
    """The keys of everybody who calls it."""
    return server.make_keys()


@pytest.fixture
def live(server: Server, keys: dict[str, str]) -> Iterator[Site]:
    """The running server as its callers reach it."""
    with server.site(keys) as site:
        yield site


@pytest.fixture
def own_server(tmp_path: Path) -> Iterator[Server]:
    """A server that a test may kill."""
    server = Server(tmp_path / "data")
    yield server
    server.signal(signal.SIGKILL)
