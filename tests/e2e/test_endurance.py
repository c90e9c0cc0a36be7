"""A thousand checks: ready soon, under a gigabyte, flat, without torch."""

from __future__ import annotations

import signal
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from time import perf_counter

import psutil
import pytest

from tests.e2e.conftest import Server

MEBIBYTE = 2**20


@pytest.mark.timeout(600)
def test_a_thousand_checks_stay_small_and_flat(own_server: Server, astronaut_jpeg: bytes, hopper_jpeg: bytes) -> None:
    # Sweeps from the beginning: the first one takes memory once, and must not fall into the second half.
    own_server.env |= {"DWARPAL_RATE_GATE": "100000/minute", "DWARPAL_PURGE_INTERVAL_SECONDS": "2"}
    own_server.start()  # the first start of a machine converts the detector's networks
    own_server.signal(signal.SIGTERM)
    started = perf_counter()
    own_server.start()
    ready = perf_counter() - started
    assert own_server._process is not None
    process = psutil.Process(own_server._process.pid)
    maps = Path(f"/proc/{process.pid}/maps")
    assert not maps.exists() or "libtorch" not in maps.read_text()

    sizes = [process.memory_info().rss / MEBIBYTE]
    with own_server.site(own_server.make_keys()) as site, ThreadPoolExecutor(2) as pool:
        token = site.enroll(astronaut_jpeg).json()["travel_token"]

        def check(number: int) -> str:
            # Honest checks, so that no lock-out cuts the work short, and walk-through searches that find nobody.
            claimed = number % 4 != 3
            return site.decision(astronaut_jpeg if claimed else hopper_jpeg, token if claimed else None)[0]

        for hundred in range(10):
            begun = perf_counter()
            outcomes = list(pool.map(check, range(100 * hundred, 100 * hundred + 100)))
            sizes.append(process.memory_info().rss / MEBIBYTE)
            assert outcomes.count("admit") == 75
            print(f"{100 / (perf_counter() - begun):.1f} checks/s, {sizes[-1]:.0f} MiB")
    print(f"ready in {ready:.2f} s; resident {sizes[0]:.0f} MiB at start, {sizes[-1]:.0f} MiB after 1,000 checks")
    assert ready < 5
    assert max(sizes) < 1024
    assert sizes[-1] - sizes[5] < 16  # flat: the second half adds nothing but noise
