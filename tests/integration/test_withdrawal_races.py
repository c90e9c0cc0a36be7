"""Withdrawal against check, very often, on both databases: no admission at or after the receipt's time.

`pytest tests/integration/test_withdrawal_races.py --races 1000 -s` is the long form and prints how the races ended.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from threading import Barrier
from time import sleep

import pytest

from tests.conftest import LocalSite

CHECKS = 2
JITTER_SECONDS = 0.06
WITHDRAWAL_JITTER_SECONDS = 0.2
"""A check decides at its end, after 40 to 100 ms: so each side is first in a good part of the races."""


@pytest.mark.privacy_row("erasure_is_atomic")
@pytest.mark.timeout(3600)
def test_no_admission_follows_a_receipt_in_many_races(
    start_site: Callable[..., LocalSite], database_url: str, astronaut_jpeg: bytes, request: pytest.FixtureRequest
) -> None:
    races: int = request.config.getoption("--races")
    site = start_site(database_url=database_url, lockout_failures=100)
    rng = random.Random(2026)
    ended: Counter[str] = Counter()
    with ThreadPoolExecutor(CHECKS + 1) as pool:
        for _ in range(races):
            ended[_race(site, pool, astronaut_jpeg, rng)] += 1
    print(f"{database_url.partition(':')[0]}: {races} races, {dict(ended)}")
    assert ended["admitted first"] > 0
    assert ended["withdrawn first"] > 0


def _race(site: LocalSite, pool: ThreadPoolExecutor, image: bytes, rng: random.Random) -> str:
    """Run one race and say who won; both checks begin at random moments around the withdrawal."""
    enrolled = site.enroll(image).json()
    together = Barrier(CHECKS + 1)

    def after(seconds: float, act: Callable[[], object]) -> object:
        together.wait()
        sleep(seconds)
        return act()

    checks = [
        pool.submit(after, rng.uniform(0, JITTER_SECONDS), lambda: site.check(image, enrolled["travel_token"]).json())
        for _ in range(CHECKS)
    ]
    withdrawal = pool.submit(after, rng.uniform(0, WITHDRAWAL_JITTER_SECONDS), lambda: site.withdraw(enrolled).json())
    receipt = withdrawal.result()["receipt"]  # type: ignore[index]
    answers = [check.result() for check in checks]
    erased_at = datetime.fromisoformat(receipt["time"])
    for answer in answers:
        if answer["decision"] == "admit":  # type: ignore[index]
            assert answer["audit_index"] < receipt["log_index"]  # type: ignore[index]
            assert datetime.fromisoformat(answer["checked_at"]) <= erased_at  # type: ignore[index]
    admitted = sum(answer["decision"] == "admit" for answer in answers)  # type: ignore[index]
    return {0: "withdrawn first", CHECKS: "admitted first"}.get(admitted, "between the two checks")
