"""Settings that contradict themselves stop the process at start."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from limits import parse
from pydantic import ValidationError

from enrollment.retention import NONCE_MEMORY
from infra.settings import WITHOUT_PAD_WORDS, Environment, Settings


@pytest.fixture(autouse=True)
def bare_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in os.environ:
        if name.startswith("DWARPAL_"):
            monkeypatch.delenv(name)


def test_the_defaults_are_safe() -> None:
    settings = Settings()
    assert settings.environment is Environment.PRODUCTION
    assert settings.pad
    assert not settings.without_pad
    assert settings.clock_file is None
    assert settings.cosine_threshold is None


def test_values_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DWARPAL_LOCKOUT_FAILURES", "3")
    monkeypatch.setenv("DWARPAL_EMBEDDER_FLIP", "false")
    settings = Settings()
    assert settings.lockout_failures == 3
    assert settings.embedder_flip is False


@pytest.mark.parametrize("environment", ["demo", "development"])
def test_only_demonstrations_and_development_move_the_clock(environment: str) -> None:
    assert Settings(environment=environment, clock_file=Path("clock")).clock_file == Path("clock")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"clock_file": "clock"}, "refused in production"),
        ({"environment": "production", "clock_file": "clock"}, "refused in production"),
        ({"pad": ""}, "a photograph would open the gate"),
        ({"pad": "", "without_pad": "yes"}, "must be exactly"),
        ({"without_pad": WITHOUT_PAD_WORDS.upper()}, "must be exactly"),
        ({"nearest_face_pixels": 60, "farthest_face_pixels": 60}, "must be larger"),
        ({"nearest_face_pixels": 100, "farthest_face_pixels": 200}, "must be larger"),
        ({"environment": "staging"}, "environment"),
        ({"site": "Name of a Person"}, "site"),
        ({"site": ""}, "site"),
        ({"fmr": 0}, "fmr"),
        ({"fmr": 1}, "fmr"),
        ({"fmr": "nan"}, "fmr"),
        ({"walk_through_fpir": 0}, "walk_through_fpir"),
        ({"cosine_threshold": -1}, "cosine_threshold"),
        ({"cosine_threshold": "nan"}, "cosine_threshold"),
        ({"walk_through_window_hours": 49}, "walk_through_window_hours"),
        ({"check_window_seconds": 0}, "check_window_seconds"),
        ({"check_window_seconds": 601}, "check_window_seconds"),
        ({"lockout_failures": 0}, "lockout_failures"),
        ({"purge_interval_seconds": 0}, "purge_interval_seconds"),
        ({"purge_interval_seconds": 3601}, "purge_interval_seconds"),
        ({"max_images": 0}, "max_images"),
        ({"rate_gate": "often"}, "rate_gate"),
        ({"rate_address": "0/minute"}, "rate_address"),
        ({"rate_holder": ""}, "rate_holder"),
        ({"log_level": "TRACE"}, "log_level"),
    ],
)
def test_what_is_wrong_or_contradictory_is_refused(changes: dict[str, object], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        Settings(**changes)  # type: ignore[arg-type]


def test_without_pad_takes_the_exact_words() -> None:
    assert Settings(pad="", without_pad=WITHOUT_PAD_WORDS).pad == ""


@pytest.mark.parametrize("rate", ["1/second", "240/minute", "100000/hour", "5/day"])
def test_every_rate_that_is_accepted_can_be_counted(rate: str) -> None:
    assert parse(Settings(rate_gate=rate).rate_gate).amount > 0


def test_a_nonce_is_remembered_longer_than_any_capture_is_fresh() -> None:
    longest = max(m.le for m in Settings.model_fields["check_window_seconds"].metadata if hasattr(m, "le"))
    assert NONCE_MEMORY.total_seconds() > 2 * longest


def test_secrets_are_neither_printed_nor_echoed(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = Settings(key_passphrase="open sesame", database_url="postgresql://u:hunter2@db/x")  # type: ignore[arg-type]
    assert "sesame" not in repr(settings)
    assert "hunter2" not in repr(settings)
    monkeypatch.setenv("DWARPAL_KEY_PASSPHRASE", "open sesame")
    monkeypatch.setenv("DWARPAL_LOCKOUT_FAILURES", "hunter2")
    with pytest.raises(ValidationError) as caught:
        Settings()
    assert "sesame" not in str(caught.value)
    assert "hunter2" not in str(caught.value)


def test_the_default_database_lies_in_the_data_folder(tmp_path: Path) -> None:
    assert Settings(data_dir=tmp_path).effective_database_url == f"sqlite:///{tmp_path.resolve()}/dwarpal.db"
    assert Settings(database_url="postgresql://db/x").effective_database_url == "postgresql://db/x"


@pytest.mark.parametrize(("single", "burst", "used"), [(0.07, None, 0.05), (0.01, None, 0.01), (0.07, 0.07, 0.07)])
def test_a_burst_never_stands_under_a_stricter_operating_point(single: float, burst: float | None, used: float) -> None:
    assert Settings(pad_bpcer=single, pad_burst_bpcer=burst).effective_pad_burst_bpcer == used
    with pytest.raises(ValidationError, match="DWARPAL_PAD_BURST_BPCER"):
        Settings(pad_bpcer=single, pad_burst_bpcer=single + 0.01)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"vault_url": "http://vault.example:8200", "vault_token_file": "t"}, "must be https"),
        ({"vault_url": "ftp://127.0.0.1", "vault_token_file": "t"}, "must be https"),
        ({"vault_url": "https://vault.example"}, "set either"),
        ({"vault_url": "https://vault.example", "vault_role_id": "r"}, "set either"),
        (
            {
                "vault_url": "https://vault.example",
                "vault_token_file": "t",
                "vault_role_id": "r",
                "vault_secret_id_file": "s",
            },
            "set either",
        ),
        ({"vault_url": "https://vault.example", "vault_token_file": "t", "vault_kv": "../x"}, "vault_kv"),
    ],
)
def test_a_vault_that_would_be_unsafe_or_unclear_is_refused(changes: dict[str, str], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        Settings(**changes)  # type: ignore[arg-type]


def test_a_vault_by_token_by_role_and_on_this_machine() -> None:
    assert Settings(vault_url="http://127.0.0.1:8200", vault_token_file="t").vault_url  # type: ignore[arg-type]
    assert Settings(vault_url="https://v.example", vault_role_id="r", vault_secret_id_file="s").vault_url  # type: ignore[arg-type]
