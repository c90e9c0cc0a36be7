"""`dwarpal rights list`: what an officer sees of the requests, and the exit code that a watch can use."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path

from typer.testing import CliRunner, Result

from enrollment.rights_request import RightsKind, RightsState
from infra.settings import Settings
from services.bootstrap import build_rights, build_storage
from services.cli.main import app
from tests.e2e.conftest import environment

WORDS = "The officer at the lane was rude to Asha."


def listed(folder: Path, *options: str, days: int = 0, code: int = 0) -> Result:
    clock = folder.parent / "clock"
    clock.write_text(str(timedelta(days=days).total_seconds()))
    env = environment(folder) | {"DWARPAL_CLOCK_FILE": str(clock), "DWARPAL_ENVIRONMENT": "development"}
    result = CliRunner().invoke(app, ["rights", "list", *options], env=env)
    assert result.exit_code == code, result.output
    return result


def test_overdue_requests_are_shown_without_their_words(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    storage = build_storage(Settings(data_dir=folder, site="test.example"))
    rights = build_rights(storage)
    waiting = rights.file(RightsKind.GRIEVANCE, WORDS, enrollment_id=None)
    answered = rights.file(RightsKind.ACCESS, "", enrollment_id=None)
    rights.decide(answered.id, RightsState.DONE, "It was sent to you.")
    storage.engine.dispose()
    (shown,) = json.loads(listed(folder, "--json").stdout)
    assert (shown["id"], shown["kind"], shown["state"]) == (waiting.id, "grievance", "received")
    assert len(json.loads(listed(folder, "--all", "--json").stdout)) == 2
    assert json.loads(listed(folder, "--overdue", "--json").stdout) == []
    late = listed(folder, "--overdue", "--json", days=91, code=1)
    assert [(r["id"], r["state"]) for r in json.loads(late.stdout)] == [(waiting.id, "overdue")]
    table = listed(folder, "--all", days=91).stdout
    assert "overdue" in table
    assert "Asha" not in table
