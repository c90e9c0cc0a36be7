"""`dwarpal credentials` against a running service: issue, present, verify, check, revoke."""

from __future__ import annotations

import json
from pathlib import Path

from typer.testing import CliRunner, Result

from services.cli.main import app
from tests.e2e.conftest import Server
from tests.traveller import Site


def test_issue_present_verify_check_revoke(live: Site, server: Server, tmp_path: Path, astronaut_jpeg: bytes) -> None:
    photograph, whole, shown = tmp_path / "astronaut.jpg", tmp_path / "whole.txt", tmp_path / "shown.txt"
    photograph.write_bytes(astronaut_jpeg)

    def run(*arguments: str | Path, key: str = "none", code: int = 0) -> Result:
        env = server.env | {"DWARPAL_URL": server.url, "DWARPAL_KEY": live.keys.get(key, key)}
        result = CliRunner().invoke(app, [str(a) for a in arguments], env=env)
        assert result.exit_code == code, result.output
        assert "Traceback" not in result.output
        return result

    asked = ("credentials", "issue", photograph, "--flight", "AI302", "--purpose", "entry", "--out", whole)
    assert "--i-consent" in run(*asked, key="enroller", code=2).stderr
    assert not whole.exists()
    qr, receipt = tmp_path / "credential.png", tmp_path / "receipt.json"
    issued = json.loads(run(*asked, "--i-consent", "--qr", qr, "--json", key="enroller").stdout)
    assert whole.read_text().strip() == issued["credential"]
    assert whole.stat().st_mode & 0o777 == qr.stat().st_mode & 0o777 == 0o600

    facts = json.loads(run("credentials", "present", whole, "--out", shown, "--qr", qr, "--json").stdout)
    assert facts["characters"] == len(shown.read_text().strip()) < len(issued["credential"])
    assert facts["qr_version"] <= 31
    verified = json.loads(run("credentials", "verify", shown, "--json").stdout)
    assert (verified["valid"], verified["flight"], verified["purposes"]) == (True, None, ["entry"])
    assert json.loads(run("credentials", "verify", whole, "--json").stdout)["flight"] == "AI302"

    at = ("check", photograph, "--gate")
    assert run(*at, "entry-1", "--credential", shown, key="entry-1").stdout.strip() == "admit: matched"
    denied = run(*at, "boarding-1", "--credential", shown, key="boarding-1", code=1)
    assert denied.stdout.strip() == "deny: purpose_not_consented"

    text = shown.read_text()
    altered = tmp_path / "altered.txt"
    altered.write_text(text[:300] + ("A" if text[300] != "A" else "B") + text[301:])
    assert "credential_invalid" in run("credentials", "verify", altered, code=1).stdout
    run("credentials", "verify", photograph, code=2)

    assert "revoked_at" in run("credentials", "revoke", shown, "--receipt", receipt).stdout
    assert json.loads(receipt.read_text())["kind"] == "deletion"
    revoked = json.loads(run("credentials", "verify", whole, "--json", code=1).stdout)
    assert (revoked["valid"], revoked["reason"]) == (False, "credential_revoked")
    assert "credential_revoked" in run(*at, "entry-1", "--credential", shown, key="entry-1", code=1).stdout
    run("credentials", "revoke", whole, code=2)
