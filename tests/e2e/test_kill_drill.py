"""The service is killed at random moments of its work; after each restart nothing is half done.

`pytest tests/e2e/test_kill_drill.py --kills 200 -s` is the long form and prints what was under way; `--database-url`
takes it to an empty PostgreSQL database.
"""

from __future__ import annotations

import json
import random
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from threading import Event
from time import sleep

import httpx2
import pytest
from sqlalchemy import create_engine, text

from infra.audit.audit_verify import verify_bundle
from tests.e2e.conftest import Server
from tests.traveller import Site

LONGEST_LIFE = 1.2
"""Seconds of work before a kill, at most: an enrollment takes 0.1 s, a check 0.05 s, a sweep 0.02 s."""

PURGED_SHARE = 0.3
"""In so many of the lives everybody's time runs out, so that the kill meets a purge and the end of keys."""

ROTATED_SHARE = 0.3
"""In so many of the lives somebody else rotates signing key and machine key, and is killed, too."""

ROTATOR = """
import random, sys, time
from infra.settings import Settings
from services.bootstrap import build_storage
from services.rotation import rotate_root_key, rotate_signing_key
storage = build_storage(Settings())
print("ready", flush=True)
while True:
    rotate_signing_key(storage)
    rotate_root_key(storage)
    print("rotated", flush=True)
    time.sleep(random.uniform(0, 0.2))
"""

MOVED = timedelta(hours=26)
"""How far the clock is moved then; the verifier allows purges to be as late as that."""


@dataclass
class Told:
    """What clients were told, and so must be true for ever."""

    active: dict[str, dict[str, str]] = field(default_factory=dict)
    uncertain: set[str] = field(default_factory=set)
    gone: dict[str, str] = field(default_factory=dict)
    admitted: dict[str, int] = field(default_factory=dict)
    receipts: list[dict[str, object]] = field(default_factory=list)
    answers: Counter[str] = field(default_factory=Counter)


class Work:
    """Three clients that enroll, check and withdraw until the service is gone."""

    def __init__(self, site: Site, image: bytes, told: Told, rng: random.Random) -> None:
        self.site, self.image, self.told, self.rng = site, image, told, rng
        self.over = Event()

    def keep(self, act: Callable[[], None]) -> None:
        """Repeat one kind of work; a call whose answer was lost ends it."""
        while not self.over.is_set():
            try:
                act()
            except (httpx2.HTTPError, ValueError, KeyError):
                return

    def enroll(self) -> None:
        enrolled = self.site.enroll(self.image, departs_in=None).json()
        self.told.active[enrolled["travel_token"]] = enrolled
        self.told.answers["enrolled"] += 1

    def check(self) -> None:
        token = self._somebody()
        answer = self.site.check(self.image, token).json()
        self.told.answers[answer["decision"]] += 1
        if answer["decision"] == "admit":
            self.told.admitted[answer["check_id"]] = answer["audit_index"]

    def withdraw(self) -> None:
        token = self._somebody()
        self.told.uncertain.add(token)  # until the answer is there
        receipt = self.site.withdraw(self.told.active[token]).json()["receipt"]
        self.told.receipts.append(receipt)
        self.told.gone[token] = "withdrawn"
        self.told.active.pop(token, None)
        self.told.answers["withdrawn"] += 1
        sleep(0.05)

    def _somebody(self) -> str:
        while not (tokens := list(self.told.active)):
            if self.over.wait(0.01):
                raise ValueError
        return self.rng.choice(tokens)


class Rotator:
    """A process of its own that replaces the site's keys again and again, as `dwarpal keys rotate` does once."""

    def __init__(self, server: Server, log: Path) -> None:
        self._log = log.open("ab")
        self._process = subprocess.Popen(
            [sys.executable, "-c", ROTATOR], env=server.env, stdout=subprocess.PIPE, stderr=self._log, text=True
        )
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == "ready\n", log.read_text()

    def kill(self) -> int:
        """Kill it; return how often it had rotated."""
        assert self._process.poll() is None, Path(self._log.name).read_text()
        self._process.kill()
        said, _ = self._process.communicate()
        self._log.close()
        return said.count("rotated")


@pytest.mark.privacy_row("erasure_is_atomic")
@pytest.mark.timeout(7200)
def test_killed_at_random_moments_nothing_is_half_done(
    tmp_path: Path, astronaut_jpeg: bytes, request: pytest.FixtureRequest
) -> None:
    kills: int = request.config.getoption("--kills")
    rng = random.Random(2026)
    clock = tmp_path / "clock"
    clock.write_text("0")
    offset = timedelta()
    server = Server(
        tmp_path / "data",
        clock_file=clock,
        purge_interval_seconds=0.05,
        lockout_failures=100,
        rate_gate="100000/minute",
        rate_holder="100000/minute",
        database_url=request.config.getoption("--database-url"),
    )
    told = Told()
    server.start()
    keys = server.make_keys()
    first_vkey = verifier_key_of(server)
    try:
        for _ in range(kills):
            with server.site(keys) as site, ThreadPoolExecutor(3) as pool:
                site.now = partial(moved, offset)
                rotator = Rotator(server, tmp_path / "rotator.log") if rng.random() < ROTATED_SHARE else None
                work = Work(site, astronaut_jpeg, told, rng)
                for act in (work.enroll, work.check, work.withdraw):
                    pool.submit(work.keep, act)
                sleep(rng.uniform(0.05, LONGEST_LIFE))
                if rng.random() < PURGED_SHARE:
                    offset += MOVED
                    clock.write_text(str(offset.total_seconds()))
                    site.now = partial(moved, offset)
                    sleep(rng.uniform(0, 0.15))
                if rotator is not None and rng.random() < 0.5:  # before the service, or after it
                    told.answers["rotated"] += rotator.kill()
                    rotator = None
                assert server.signal(signal.SIGKILL) == -signal.SIGKILL
                work.over.set()
                if rotator is not None:
                    told.answers["rotated"] += rotator.kill()
            server.start()
            with server.site(keys) as site:
                site.now = partial(moved, offset)
                nothing_is_half_done(site, server, told, astronaut_jpeg, tmp_path, rng, first_vkey)
        print(f"{kills} kills; clients were told: {dict(told.answers)}")
    finally:
        server.signal(signal.SIGKILL)


def verifier_key_of(server: Server) -> str:
    """Return the key that the site publishes now."""
    return str(httpx2.get(f"{server.url}/v1/audit/keys", trust_env=False).json()["vkey"])


def enrolled_in(server: Server) -> set[str]:
    """Return the ids that stand in the database."""
    engine = create_engine(server.env["DWARPAL_DATABASE_URL"] or f"sqlite:///{server.data_dir / 'dwarpal.db'}")
    try:
        with engine.connect() as connection:
            return {row[0] for row in connection.execute(text("SELECT id FROM enrollment"))}
    finally:
        engine.dispose()


def moved(offset: timedelta) -> datetime:
    """Return the service's time."""
    return datetime.now(UTC) + offset


def nothing_is_half_done(
    site: Site, server: Server, told: Told, image: bytes, folder: Path, rng: random.Random, first_vkey: str
) -> None:
    """Compare log, database and gates with each other, and all of them with what clients were told."""
    bundle = folder / "audit.jsonl"
    bundle.write_bytes(site.export())
    receipts = []
    for place, receipt in enumerate(told.receipts[-5:]):
        receipts.append(folder / f"receipt-{place}.json")
        receipts[-1].write_text(json.dumps(receipt))
    for vkey in (first_vkey, verifier_key_of(server)):
        report = verify_bundle(bundle, vkey=vkey, receipts=receipts, margin_seconds=MOVED.total_seconds())
        assert report.problems == []
    lines = [json.loads(line) for line in bundle.read_text().splitlines()]
    entries = {line["event_id"]: line for line in lines if "event_id" in line}
    for check_id in told.admitted:
        assert entries[check_id]["decision"] == "admit", "an admission that is not in the log"
    rows = enrolled_in(server)
    # Sweeps go on: what the log calls alive and what the database holds may differ by nothing.
    assert report.alive == len(rows)
    for token, enrolled in list(told.active.items()):
        if datetime.fromisoformat(enrolled["expires_at"]) <= site.now():
            told.gone[token] = "expired"
            told.active.pop(token)
    for token in rng.sample(sorted(told.active), min(3, len(told.active))):
        decision = site.decision(image, token)
        certain = token not in told.uncertain
        assert decision == ("admit", "matched") or (not certain and decision == ("deny", "not_enrolled"))
        if decision[0] == "deny":  # the withdrawal whose answer was lost took effect
            told.gone[token] = "withdrawn"
            told.active.pop(token)
    for token in list(told.active):
        if told.active[token]["enrollment_id"] not in rows:
            assert token in told.uncertain, "an enrollment that was told is gone"
            told.gone[token] = "withdrawn"
            told.active.pop(token)
    told.uncertain &= set(told.active)
    for token in rng.sample(sorted(told.gone), min(3, len(told.gone))):
        assert site.decision(image, token) == ("deny", "not_enrolled"), told.gone[token]
