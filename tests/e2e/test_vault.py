"""The whole road with the keys in Vault: a service that waits while Vault is sealed, with nothing to steal."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from time import monotonic, sleep

import httpx2
import pytest

from infra.audit.audit_verify import verify_bundle
from tests.e2e.conftest import Server, dwarpal
from tests.vault_server import ROLE, SECRET, Vault, serving


@pytest.fixture
def vault() -> Iterator[Vault]:
    with serving() as vault:
        yield vault


@pytest.fixture
def on_vault(vault: Vault, tmp_path: Path) -> Iterator[Server]:
    secret, clock = tmp_path / "secret-id", tmp_path / "clock"
    secret.write_text(SECRET)
    clock.write_text("0")
    server = Server(
        tmp_path / "data",
        vault_url=vault.url,
        vault_role_id=ROLE,
        vault_secret_id_file=secret,
        clock_file=clock,
        purge_interval_seconds=0.2,
    )
    server.start()
    yield server
    server.signal(9)


def test_the_road_with_the_keys_in_vault(
    on_vault: Server, vault: Vault, astronaut_jpeg: bytes, hopper_jpeg: bytes, tmp_path: Path
) -> None:
    keys = on_vault.make_keys()
    with on_vault.site(keys) as site:
        staying = site.enroll(astronaut_jpeg, departs_in=None).json()
        leaving = site.enroll(astronaut_jpeg, departs_in=None).json()
        token = staying["travel_token"]
        assert site.decision(astronaut_jpeg, token) == ("admit", "matched")
        assert site.decision(hopper_jpeg, token) == ("deny", "not_matched")
        receipt = tmp_path / "receipt.json"
        receipt.write_text(json.dumps(site.withdraw(leaving).json()["receipt"]))
        assert not (on_vault.data_dir / "keys").exists()  # whoever steals the disk has no key at all
        vault.sealed = True
        wait_until(lambda: site.check(astronaut_jpeg, token).status_code == 503)
        ready = site.client.get("/readyz")
        assert (ready.status_code, ready.json()["code"]) == (503, "vault_sealed")
        vault.sealed = False
        wait_until(lambda: site.decision(astronaut_jpeg, token) == ("admit", "matched"))
        before = site.client.get("/v1/audit/keys").json()["vkey"]
        dwarpal("keys", "rotate", "--signing", env=on_vault.env)
        assert site.decision(astronaut_jpeg, token) == ("admit", "matched")
        hours = {name for name in vault.keys if "-epoch-" in name}
        Path(on_vault.env["DWARPAL_CLOCK_FILE"]).write_text(str(timedelta(hours=26).total_seconds()))
        wait_until(lambda: not hours & vault.keys.keys())
        bundle = tmp_path / "audit.jsonl"
        wait_until(lambda: b"epoch_destroyed" in site.export())
        bundle.write_bytes(site.export())
        report = verify_bundle(
            bundle, vkey=before, receipts=[receipt], margin_seconds=timedelta(hours=3).total_seconds()
        )
        assert report.problems == []
        assert report.alive == 0
        assert report.rotations == 1
    doctor = json.loads(dwarpal("doctor", "--json", env=on_vault.env))
    assert next(check for check in doctor["checks"] if check["check"] == "keys")["verdict"] == "fine"


def wait_until(happened: Callable[[], bool], seconds: float = 20) -> None:
    until = monotonic() + seconds
    while not happened():
        assert monotonic() < until, "it did not happen in time"
        sleep(0.2)


def test_a_vault_that_does_not_let_us_in_stops_the_start(vault: Vault, tmp_path: Path) -> None:
    (tmp_path / "token").write_text("hvs.wrong")
    server = Server(tmp_path / "data", vault_url=vault.url, vault_token_file=tmp_path / "token")
    with pytest.raises(AssertionError, match="does not let us in"):
        server.start()
    assert httpx2.get(f"{vault.url}/v1/secret/data/x", trust_env=False).status_code == 403
