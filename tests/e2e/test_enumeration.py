"""Nobody finds out who is enrolled, or which keys exist: known without its secret answers as what does not exist.

On a real server, with the test of `tests/timing.py`.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable

import httpx2
import numpy as np
import pytest

from biometrics.decoding import decode_image
from biometrics.records import TravelToken, new_id
from tests.conftest import encode
from tests.e2e.conftest import Server
from tests.timing import TVLA, gap_of_medians, timed, welch

Ask = Callable[[str], httpx2.Response]


def seen(answer: httpx2.Response) -> object:
    """Return all that a caller sees but the random ids, the time and the length of the numbers in them."""
    random_or_time = {"date", "x-request-id", "content-length"}
    headers = {name: value for name, value in answer.headers.items() if name not in random_or_time}
    changing = {"request_id", "check_id", "checked_at", "audit_index", "duration_ms"}
    body = answer.json()
    return answer.status_code, headers, {name: value for name, value in body.items() if name not in changing}, set(body)


@pytest.mark.privacy_row("enumeration")
@pytest.mark.parametrize(
    ("what", "count", "answer"),
    [
        ("enrollment, /v1/me/activity", 1000, "not_found"),
        ("enrollment, gate", 200, "not_enrolled"),
        ("key", 1000, "not_authenticated"),
    ],
)
def test_known_and_unknown_take_the_same_time(
    own_server: Server, what: str, count: int, answer: str, astronaut_jpeg: bytes
) -> None:
    rates = ("ADDRESS", "GATE", "HOLDER")
    own_server.env |= {f"DWARPAL_RATE_{name}": "100000/minute" for name in rates}
    own_server.start()
    keys = own_server.make_keys()
    small = encode(decode_image(astronaut_jpeg, max_bytes=2**24, max_pixels=2**24)[40:180, 150:300], "PNG")
    views = set()
    with own_server.site(keys) as site:
        ids = {True: site.enroll(astronaut_jpeg).json()["enrollment_id"], False: new_id()}
        if what == "key":
            ids[True] = keys["auditor"].split("_")[1]
        asks: dict[str, Ask] = {
            "enrollment, /v1/me/activity": lambda id_: site.client.get(
                "/v1/me/activity", headers=site.auth(TravelToken.new(id_).text)
            ),
            "enrollment, gate": lambda id_: site.check(small, TravelToken.new(id_).text),
            "key": lambda id_: site.client.get(
                "/v1/audit/entries", headers=site.auth(f"dwk_{id_}_{secrets.token_urlsafe(32)}")
            ),
        }
        seconds = timed(lambda known: views.add(repr(seen(asks[what](ids[known])))), count)
    t = welch(seconds)
    median, gap = 1e3 * np.median(seconds[True]), 1e6 * gap_of_medians(seconds)
    print(f"{what}: t = {t:.2f}, medians {median:.2f} ms, {gap:.0f} us apart")
    assert len(views) == 1, views
    assert answer in next(iter(views))
    assert abs(t) < TVLA
