"""`dwarpal keys rotate` beside a running service: nobody is turned away, and everything before and after verifies."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Event

import httpx2

from infra.audit.audit_verify import verify_bundle, verify_kept
from tests.e2e.conftest import Server, dwarpal
from tests.traveller import Site

ROTATIONS = 3


def test_a_service_goes_on_while_all_its_keys_are_replaced(
    own_server: Server, astronaut_jpeg: bytes, tmp_path: Path
) -> None:
    own_server.start()
    keys, over = own_server.make_keys(), Event()
    with own_server.site(keys) as site:
        before = str(published(site)["vkey"])
        staying = site.enroll(astronaut_jpeg, departs_in=None).json()
        leaving = site.enroll(astronaut_jpeg, departs_in=None).json()
        early = receipt(tmp_path / "early.json", site.withdraw(leaving))
        with ThreadPoolExecutor(2) as pool:
            checking = pool.submit(keep_checking, site, astronaut_jpeg, staying["travel_token"], over)
            reading = pool.submit(keep_reading, site, over)
            told = [json.loads(dwarpal("keys", "rotate", "--json", env=own_server.env)) for _ in range(ROTATIONS)]
            over.set()
            assert checking.result() > 0
            assert reading.result() > 0
        late = receipt(tmp_path / "late.json", site.withdraw(staying))
        after = str(published(site)["vkey"])
        bundle = tmp_path / "audit.jsonl"
        bundle.write_bytes(site.export())
    chain = [before, *(each["vkey"] for each in told)]
    assert [each["former_vkey"] for each in told] == chain[:-1]
    assert chain[-1] == after
    assert {each["root_key"] for each in told} == {"rotated"}
    for vkey in chain:
        report = verify_bundle(bundle, vkey=vkey, receipts=[early, late])
        assert report.problems == []
        assert (report.rotations, report.post_quantum) == (ROTATIONS, True)
        assert bool(report.warnings) == (vkey != after)
    assert verify_kept(vkey=before, receipts=[early]).ok
    assert verify_kept(vkey=after, receipts=[late]).ok
    assert not verify_kept(vkey=after, receipts=[early]).ok


def published(site: Site) -> dict[str, object]:
    answer: dict[str, object] = site.client.get("/v1/audit/keys").json()
    return answer


def receipt(path: Path, answer: httpx2.Response) -> Path:
    path.write_text(json.dumps(answer.json()["receipt"]))
    return path


def keep_checking(site: Site, image: bytes, token: str, over: Event) -> int:
    """Pass the gate again and again; return how often it opened."""
    admitted = 0
    while not over.is_set():
        assert site.decision(image, token) == ("admit", "matched")
        admitted += 1
    return admitted


def keep_reading(site: Site, over: Event) -> int:
    """Read what auditors read; return how often."""
    read = 0
    while not over.is_set():
        for path in ("/v1/audit/checkpoint", "/v1/audit/keys", "/.well-known/jwt-vc-issuer"):
            assert site.client.get(path).status_code == 200
        read += 1
    return read
