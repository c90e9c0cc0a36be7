"""`dwarpal breach draft`: files that only their owner reads, and times that have a zone."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

from typer.testing import CliRunner

from services.cli.main import app
from tests.e2e.conftest import environment


def test_drafts_are_written_for_their_owner_only(tmp_path: Path) -> None:
    now, out = datetime.now(UTC), tmp_path / "drafts"
    span = ["--since", (now - timedelta(hours=5)).isoformat(), "--until", (now - timedelta(hours=1)).isoformat()]
    env = environment(tmp_path / "data")
    command = ["breach", "draft", *span, "--lang", "hi", "--lang", "ur", "--out", str(out), "--json"]
    result = CliRunner().invoke(app, command, env=env)
    assert result.exit_code == 0, result.output
    told = json.loads(result.stdout)
    assert told["facts"]["affected"] == 0
    assert {file.name: file.read_text() for file in out.iterdir()} == told["drafts"]
    assert set(told["drafts"]) == {"notice-hi.md", "notice-ur.md", "report.md"}
    assert {file.stat().st_mode & 0o777 for file in out.iterdir()} == {0o600}
    printed = CliRunner().invoke(app, ["breach", "draft", *span], env=env)
    assert "# A personal data breach" in printed.stdout
    for wrong in (["--aware-at", "yesterday"], ["--aware-at", "2026-01-01T10:00"], ["--lang", "fr"]):
        assert CliRunner().invoke(app, ["breach", "draft", *span, *wrong], env=env).exit_code == 2
