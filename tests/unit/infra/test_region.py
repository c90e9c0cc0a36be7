"""Endpoints outside the declared region stop the process at start."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from pydantic import ValidationError

from infra.region import outside, parse_hosts
from infra.settings import Settings

HOSTS = "db.in.example, *.kms.example,10.0.0.0/8,fd00::/8,192.0.2.7"


@pytest.fixture(autouse=True)
def bare_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in os.environ:
        if name.startswith(("DWARPAL_", "PG")):
            monkeypatch.delenv(name)


@pytest.mark.parametrize(
    "url",
    [
        "sqlite:////var/lib/dwarpal/dwarpal.db",
        "postgresql://u:p@db.in.example:5432/x",
        "postgresql+psycopg://u:p%40x@DB.IN.example/x",
        "postgresql:///x",
        "postgresql:///x?host=/run/postgresql",
        "postgresql://localhost/x",
        "postgresql://127.0.0.1/x",
        "postgresql://[::1]/x",
        "postgresql://10.1.2.3/x",
        "postgresql://[fd00::5]/x",
        "postgresql://192.0.2.7/x",
        "https://a.kms.example:8200",
    ],
)
def test_what_lies_in_the_region(url: str) -> None:
    assert not outside(url, parse_hosts(HOSTS))


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://db.us.example/x",
        "postgresql://db.in.example.evil.example/x",
        "postgresql://11.1.2.3/x",
        "postgresql://192.0.2.8/x",
        "postgresql://[fe80::5]/x",
        "postgresql://db.in.example,db.us.example/x",
        "postgresql://db.in.example/x?host=db.us.example",
        "postgresql:///x?host=db.in.example&host=db.us.example:5433",
        "postgresql://db.in.example/x?hostaddr=11.1.2.3",
        "postgresql:///x?service=elsewhere",
        "https://kms.example:8200",
        "https://vault.us.example:8200",
        "no url",
    ],
)
def test_what_does_not_or_cannot_be_known(url: str) -> None:
    assert outside(url, parse_hosts(HOSTS))


@pytest.mark.parametrize(
    ("name", "value"), [("PGHOST", "db.us.example"), ("PGHOSTADDR", "11.1.2.3"), ("PGSERVICE", "s")]
)
def test_what_the_environment_fills_in_counts(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    monkeypatch.setenv(name, value)
    assert outside("postgresql:///x", parse_hosts(HOSTS))


def test_an_endpoint_outside_the_region_is_refused_at_start() -> None:
    inside = Settings(region="IN", region_hosts=HOSTS, database_url="postgresql://u:hunter2@db.in.example/x")
    assert inside.region == "IN"
    with pytest.raises(ValidationError, match="DWARPAL_DATABASE_URL is not known to be in the region") as caught:
        Settings(region="IN", region_hosts=HOSTS, database_url="postgresql://u:hunter2@db.us.example/x")
    assert "hunter2" not in str(caught.value)
    with pytest.raises(ValidationError, match="DWARPAL_DATABASE_URL"):
        Settings(region="IN", database_url="postgresql://db.in.example/x")
    assert Settings(region="IN").effective_database_url.startswith("sqlite")
    assert Settings(database_url="postgresql://db.us.example/x").region == ""


def test_the_key_service_is_held_to_the_region_too() -> None:
    token = Path("token")
    assert Settings(
        region="IN", region_hosts=HOSTS, vault_url="https://a.kms.example", vault_token_file=token
    ).vault_url
    with pytest.raises(ValidationError, match="DWARPAL_VAULT_URL is not known to be in the region"):
        Settings(region="IN", region_hosts=HOSTS, vault_url="https://vault.us.example", vault_token_file=token)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"region_hosts": "db.in.example"}, "DWARPAL_REGION is not"),
        ({"region": "IN", "region_hosts": "*"}, "not a list of hosts"),
        ({"region": "IN", "region_hosts": "*.*"}, "not a list of hosts"),
        ({"region": "IN", "region_hosts": "10.0.0.0/99"}, "not a list of hosts"),
        ({"region": "India"}, "region"),
    ],
)
def test_a_region_must_be_declared_in_full(changes: dict[str, str], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        Settings(**changes)  # type: ignore[arg-type]
