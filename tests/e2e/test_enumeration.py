"""Nobody finds out who is enrolled: a known enrollment without its share answers as one that does not exist.

Fixed against fixed, in random order, on a real server; Welch's t-test with the threshold of ISO/IEC 17825:2016 (TVLA).
As in dudect (Reparaz, Balasch and Verbauwhede, "Dude, is my code constant time?", 2017), the slowest tenth is left out:
those are the machine's interruptions, which hide a difference rather than make one.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from time import perf_counter

import httpx2
import numpy as np
import pytest

from biometrics.decoding import decode_image
from biometrics.records import TravelToken, new_id
from tests.conftest import encode
from tests.e2e.conftest import Server

TVLA = 4.5
KEPT = 0.9
WARM_UP = 20

Ask = Callable[[str], httpx2.Response]


def seen(answer: httpx2.Response) -> object:
    """Return all that a caller sees but the random ids, the time and the length of the numbers in them."""
    random_or_time = {"date", "x-request-id", "content-length"}
    headers = {name: value for name, value in answer.headers.items() if name not in random_or_time}
    changing = {"request_id", "check_id", "checked_at", "audit_index", "duration_ms"}
    body = answer.json()
    return answer.status_code, headers, {name: value for name, value in body.items() if name not in changing}, set(body)


def welch(known: list[float], unknown: list[float]) -> float:
    """Return Welch's t over the quicker part of both."""
    limit = np.quantile(known + unknown, KEPT)
    a, b = (np.array([value for value in part if value <= limit]) for part in (known, unknown))
    return float((a.mean() - b.mean()) / np.sqrt(a.var(ddof=1) / len(a) + b.var(ddof=1) / len(b)))


def timed(ask: Ask, enrollment_id: str, count: int) -> tuple[dict[bool, list[float]], set[str]]:
    """Ask for a known and an unknown enrollment, each time with another share; return seconds and what was seen."""
    order = [True, False] * (count + WARM_UP)
    random.Random(17825).shuffle(order)
    unknown_id, seconds, views = new_id(), {True: [0.0], False: [0.0]}, set()
    for known in order:
        token = TravelToken.new(enrollment_id if known else unknown_id).text
        started = perf_counter()
        answer = ask(token)
        seconds[known].append(perf_counter() - started)
        views.add(repr(seen(answer)))
    return {known: values[1 + WARM_UP :] for known, values in seconds.items()}, views


@pytest.mark.privacy_row("enumeration")
@pytest.mark.parametrize(("what", "count"), [("me", 1000), ("gate", 200)])
def test_known_and_unknown_take_the_same_time(own_server: Server, what: str, count: int, astronaut_jpeg: bytes) -> None:
    own_server.env |= {"DWARPAL_RATE_GATE": "100000/minute", "DWARPAL_RATE_HOLDER": "100000/minute"}
    own_server.start()
    keys = own_server.make_keys()
    small = encode(decode_image(astronaut_jpeg, max_bytes=2**24, max_pixels=2**24)[40:180, 150:300], "PNG")
    with own_server.site(keys) as site:
        enrolled = site.enroll(astronaut_jpeg).json()["enrollment_id"]
        asks: dict[str, Ask] = {
            "me": lambda token: site.client.get("/v1/me/activity", headers=site.auth(token)),
            "gate": lambda token: site.check(small, token),
        }
        seconds, views = timed(asks[what], enrolled, count)
    t = welch(seconds[True], seconds[False])
    gap = np.median(seconds[True]) - np.median(seconds[False])
    print(f"{what}: t = {t:.2f}, medians {1e3 * np.median(seconds[True]):.2f} ms, {1e6 * gap:.0f} us apart")
    assert len(views) == 1, views
    assert ("not_enrolled" if what == "gate" else "not_found") in next(iter(views))
    assert abs(t) < TVLA
