"""Shared by all tests: the two public-domain portraits, the real networks, and sites to act upon."""

from __future__ import annotations

import importlib.util
import io
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
import skimage.data
from fastapi.testclient import TestClient
from hypothesis import settings as hypothesis_settings
from PIL import Image

from biometrics.records import Gate, Purpose
from biometrics.types import Pixels
from evaluation.camera import PRESETS, photograph_jpeg
from infra.api_keys import Role
from infra.settings import Settings
from infra.telemetry import Metrics
from services.administration import add_gate, add_key
from services.api.app import create_app
from services.bootstrap import Dwarpal, Networks, build_dwarpal, build_networks, build_storage
from tests.traveller import Site

# No deadline: how long an example takes says more about what else the machine does than about the code.
hypothesis_settings.register_profile("house", deadline=None)
hypothesis_settings.load_profile("house")

SHARED_DATA = Path(__file__).resolve().parents[2] / "shared" / "data"
GATES = {"entry-1": Purpose.ENTRY, "security-1": Purpose.SECURITY, "boarding-1": Purpose.BOARDING}


def pytest_addoption(parser: pytest.Parser) -> None:
    """Long drills have a short form in the suite."""
    parser.addoption("--races", type=int, default=25, help="races of a withdrawal against checks, on each database")
    parser.addoption(
        "--kills", type=int, default=6, help="times that the service is killed (tests/e2e/test_kill_drill.py)"
    )
    parser.addoption("--database-url", default="", help="an empty database for the kill drill; by default SQLite")
    parser.addoption("--soak", type=int, default=10, help="checks of one gate's screen (tests/browser/test_soak.py)")


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The research images, which are not part of the project; tests that need them say so when they are absent."""
    if not SHARED_DATA.is_dir():
        pytest.skip("the research images are not present: ../shared/data")
    return SHARED_DATA


@pytest.fixture(scope="session")
def astronaut() -> Pixels:
    """Eileen Collins, NASA, public domain, 512 x 512."""
    return np.asarray(skimage.data.astronaut())


@pytest.fixture(scope="session")
def grace_hopper() -> Pixels:
    """Grace Hopper, US Navy, public domain, 512 x 600."""
    spec = importlib.util.find_spec("matplotlib")
    assert spec is not None and spec.submodule_search_locations
    path = Path(spec.submodule_search_locations[0]) / "mpl-data" / "sample_data" / "grace_hopper.jpg"
    return np.asarray(Image.open(path).convert("RGB"))


def encode(pixels: Pixels, kind: str = "JPEG", **options: object) -> bytes:
    """Compress an image in memory."""
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, kind, **({"quality": 92} if kind == "JPEG" else {}) | options)
    return stream.getvalue()


@pytest.fixture(scope="session")
def astronaut_jpeg(astronaut: Pixels) -> bytes:
    return encode(astronaut)


@pytest.fixture(scope="session")
def hopper_jpeg(grace_hopper: Pixels) -> bytes:
    """The scan of her portrait through a gate's camera: shown as it is, PAD takes it for the print that it is."""
    return photograph_jpeg(grace_hopper, PRESETS["boarding"], np.random.default_rng(2026))


@pytest.fixture(scope="session")
def networks() -> Networks:
    """The real networks, loaded once."""
    return build_networks(Settings())


class MovableClock:
    """The real time plus an offset that a test sets."""

    def __init__(self) -> None:
        self.offset = timedelta()

    def now(self) -> datetime:
        return datetime.now(UTC) + self.offset


class LocalSite(Site):
    """A site whose service runs in this process, with its insides in reach."""

    system: Dwarpal
    clock: MovableClock
    data_dir: Path


@pytest.fixture
def start_site(tmp_path: Path, networks: Networks) -> Iterator[Callable[..., LocalSite]]:
    """Start services in this process: `start_site(**settings)`; starting again on the same folder is a restart."""
    with ExitStack() as stack:

        def start(*, wrap: Callable[[Networks], Networks] = lambda n: n, **changes: object) -> LocalSite:
            stack.pop_all().close()
            return stack.enter_context(_local_site(tmp_path, wrap(networks), changes))

        yield start


@contextmanager
def _local_site(folder: Path, networks: Networks, changes: dict[str, object]) -> Iterator[LocalSite]:
    clock = MovableClock()
    defaults: dict[str, object] = {
        "data_dir": folder / "data",
        "environment": "development",
        "site": "test.example",
        "purge_interval_seconds": 3600,
        "rate_address": "100000/minute",
        "rate_gate": "100000/minute",
    }
    settings = Settings(**(defaults | changes))  # type: ignore[arg-type]

    def build(settings: Settings, metrics: Metrics) -> Dwarpal:
        storage = replace(build_storage(settings), clock=clock)
        return build_dwarpal(settings, metrics, storage=storage, networks=networks)

    app = create_app(settings, build)
    with TestClient(app, raise_server_exceptions=False) as client:
        system: Dwarpal = app.state.dwarpal
        site = LocalSite(client, _keys(system), clock.now)
        site.system, site.clock, site.data_dir = system, clock, settings.data_dir
        yield site


def _keys(system: Dwarpal) -> dict[str, str]:
    storage = system.storage
    keys = {role.value: add_key(storage, role, None)[1] for role in Role if role is not Role.GATE}
    with storage.reading() as unit:
        present = {gate.id for gate in unit.gates.all()}
    for gate_id, purpose in GATES.items():
        if gate_id not in present:
            add_gate(storage, Gate(gate_id, purpose, walk_through=True))
        keys[gate_id] = add_key(storage, Role.GATE, gate_id)[1]
    return keys


@pytest.fixture
def site(start_site: Callable[..., LocalSite]) -> LocalSite:
    """One service with the default settings."""
    return start_site()
