"""The rehearsed theft: it finds what the design says, and it would find more if the design were broken."""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

from biometrics.records import TravelToken
from infra.keys.sealing import EnvelopeSealer
from infra.settings import Settings
from services import privacy_drill
from services.cli.main import app
from services.privacy_drill import Theft, drill


def broken(thefts: list[Theft]) -> list[tuple[str, str, bool]]:
    return [(theft.taken, theft.matched, theft.with_share) for theft in thefts if not theft.as_promised]


@pytest.mark.privacy_row("travellers_share")
def test_database_and_all_server_keys_without_the_share_0_templates_open() -> None:
    result = CliRunner().invoke(app, ["privacy", "drill", "--travellers", "5", "--json"])
    assert result.exit_code == 0, result.output
    thefts = {
        (t["taken"], t["matched"], t["with_share"]): (t["opened"], t["templates"])
        for t in json.loads(result.stdout)["thefts"]
    }
    during, after = "database and keys, during the epoch", "database and keys, after the epoch"
    assert thefts[during, "token", False] == (0, 5)
    assert thefts[during, "token", True] == (5, 5), "the control: the same files do open for those who hold the share"
    assert thefts[during, "walk-through", False] == (5, 5)
    assert {thefts[after, matched, share] for matched in ("token", "walk-through") for share in (True, False)} == {
        (0, 0)
    }


@pytest.mark.privacy_row("epoch_keys_destroyed")
def test_restore_yesterdays_backup_after_expiry_0_of_n_open() -> None:
    thefts = drill(Settings(), travellers=3)
    restored = [theft for theft in thefts if theft.taken.startswith("yesterday")]
    assert [(theft.templates, theft.opened) for theft in restored] == [(3, 0)] * 4


def test_the_drill_sees_keys_that_were_not_destroyed(monkeypatch: pytest.MonkeyPatch) -> None:
    class Idle:
        def purge(self) -> None:
            """Destroy nothing."""

    monkeypatch.setattr(privacy_drill, "build_retention", lambda *args: Idle())
    found = broken(drill(Settings(), travellers=2))
    assert ("yesterday's database, keys after the epoch", "token", True) in found
    assert ("database and keys, after the epoch", "token", True) in found
    assert CliRunner().invoke(app, ["privacy", "drill", "--travellers", "2"]).exit_code == 1


def test_the_drill_sees_a_share_that_is_not_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that wraps the data key without the share: the thief, who reads its code, unwraps it the same way."""
    seal, opened = EnvelopeSealer._wrap, EnvelopeSealer._open

    def wrap(self: EnvelopeSealer, data_key: bytearray, epoch_key: bytes, _: bytes | None, bound: bytes) -> bytes:
        return seal(self, data_key, epoch_key, None, bound)

    def unwrap(self: EnvelopeSealer, record: object, wrapped: bytes, _: bytes | None, role: str) -> object:
        return opened(self, record, wrapped, None, role)  # type: ignore[arg-type]

    monkeypatch.setattr(EnvelopeSealer, "_wrap", wrap)
    monkeypatch.setattr(EnvelopeSealer, "_open", unwrap)
    assert ("database and keys, during the epoch", "token", False) in broken(drill(Settings(), travellers=2))


def test_the_drill_finds_a_share_that_lies_beside_the_template(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(TravelToken, "verifier", property(lambda token: token.share))
    assert ("database and keys, during the epoch", "token", False) in broken(drill(Settings(), travellers=2))
