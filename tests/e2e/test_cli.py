"""The commands: what they print for programs, and their exit codes."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Callable
from itertools import count
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner, Result

from biometrics.types import Pixels
from evaluation.camera import CameraSettings, photograph_jpeg
from evaluation.moving import moved_head, sway
from infra.api_keys import Role
from infra.capture_signing import DeviceSigner
from liveness.injection import base64url
from services.cli.main import app
from tests.e2e.conftest import DWARPAL, Server, environment
from tests.traveller import Site
from tests.unit.liveness.test_motion import LANDMARKS

Run = Callable[..., Result]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Run a command in this process, on a data folder of its own."""
    env = environment(tmp_path / "data")

    def command(*arguments: str | Path, code: int = 0, text: str | None = None, **more: str) -> Result:
        result = CliRunner().invoke(app, [str(a) for a in arguments], env=env | more, input=text)
        assert result.exit_code == code, result.output
        assert "Traceback" not in result.output
        return result

    return command


@pytest.fixture
def photograph(tmp_path: Path, astronaut_jpeg: bytes) -> Path:
    path = tmp_path / "astronaut.jpg"
    path.write_bytes(astronaut_jpeg)
    return path


def test_gates_and_keys(run: Run) -> None:
    made = run("gates", "create", "t3-entry-1", "--purpose", "entry", "--walk-through", "--json")
    expected = {"id": "t3-entry-1", "purpose": "entry", "walk_through": True}
    assert json.loads(made.stdout) == expected | {"liveness": "passive", "signed_captures": False}
    assert json.loads(run("gates", "list", "--json").stdout) == [json.loads(made.stdout)]
    key = json.loads(run("keys", "create", "--role", "gate", "--gate", "t3-entry-1", "--json").stdout)
    assert set(key) == {"id", "key"}
    assert key["key"].startswith(f"dwk_{key['id']}_")
    assert json.loads(run("keys", "revoke", key["id"], "--json").stdout) == {"id": key["id"], "revoked": True}
    (listed,) = json.loads(run("keys", "list", "--json").stdout)
    assert set(listed) == {"id", "role", "gate_id", "created_at", "revoked_at"}
    assert listed["revoked_at"] is not None
    assert key["key"] not in run("keys", "list").stdout


def test_a_gates_policy_and_its_devices(run: Run, tmp_path: Path) -> None:
    run("gates", "create", "t3-entry-1", "--purpose", "entry", "--liveness", "both")
    changed = json.loads(run("gates", "change", "t3-entry-1", "--signed-captures", "--json").stdout)
    assert (changed["liveness"], changed["signed_captures"]) == ("both", True)
    run("gates", "change", "t3-entry-1", code=2)
    run("gates", "change", "nowhere", "--liveness", "active", code=2)
    file = tmp_path / "device.pem"
    made = json.loads(run("gates", "keygen", file, "--json").stdout)
    assert file.stat().st_mode & 0o777 == 0o600
    run("gates", "keygen", file, code=2)
    added = json.loads(run("gates", "devices", "add", "t3-entry-1", made["public_key"], "--json").stdout)
    assert (added["id"], added["public_key"]) == (made["key_id"], made["public_key"])
    run("gates", "devices", "add", "t3-entry-1", made["public_key"], code=1)
    run("gates", "devices", "add", "t3-entry-1", "no key", code=2)
    run("gates", "devices", "revoke", "t3-entry-1", made["key_id"])
    (listed,) = json.loads(run("gates", "devices", "list", "t3-entry-1", "--json").stdout)
    assert listed["revoked_at"] is not None
    assert "PRIVATE" not in run("gates", "devices", "list", "t3-entry-1").stdout


def test_a_public_key_may_begin_with_a_hyphen(run: Run) -> None:
    run("gates", "create", "t3-entry-1", "--purpose", "entry")
    keys = (base64url(DeviceSigner.new().public) for _ in count())
    key = next(key for key in keys if key.startswith("-"))
    added = json.loads(run("gates", "devices", "add", "t3-entry-1", key, "--json").stdout)
    assert added["public_key"] == key
    run("gates", "devices", "add", "t3-entry-1", key, "--jsom", code=2)


@pytest.mark.parametrize("role", [role for role in Role if role is not Role.GATE])
def test_every_role_has_keys(run: Run, role: Role) -> None:
    run("keys", "create", "--role", role.value, "--json")


def test_data_dir_may_stand_before_or_after_the_command(run: Run, tmp_path: Path) -> None:
    before, after = tmp_path / "before", tmp_path / "after"
    run("--data-dir", before, "gates", "create", "a", "--purpose", "entry")
    run("--data-dir", before, "gates", "create", "b", "--purpose", "entry", "--data-dir", after)
    for folder, gate in ((before, "a"), (after, "b")):
        (found,) = json.loads(run("gates", "list", "--data-dir", folder, "--json").stdout)
        assert found["id"] == gate
    assert json.loads(run("gates", "list", "--json").stdout) == []


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("gates", "create", "NOT A GATE", "--purpose", "entry"), 2),
        (("gates", "create", "a", "--purpose", "walk_through"), 2),
        (("gates", "create", "a", "--purpose", "nothing"), 2),
        (("keys", "create", "--role", "king"), 2),
        (("keys", "create", "--role", "gate"), 2),
        (("keys", "create", "--role", "gate", "--gate", "nowhere"), 2),
        (("keys", "revoke", "0" * 32), 2),
        (("audit", "verify", "/nowhere"), 2),
        (("withdraw", "--token", "DWP1.not.one"), 2),
        (("withdraw",), 2),
        (("no-such-command",), 2),
    ],
)
def test_wrong_input_is_told_in_one_line(run: Run, arguments: tuple[str, ...], code: int) -> None:
    assert run(*arguments, code=code).stdout.strip() == ""


def test_a_gate_is_made_once(run: Run) -> None:
    run("gates", "create", "a", "--purpose", "entry")
    assert "dwarpal: " in run("gates", "create", "a", "--purpose", "boarding", code=1).stderr


def test_wrong_settings_are_named_without_their_values(run: Run) -> None:
    told = run("gates", "list", code=2, DWARPAL_FMR="7.125").stderr
    assert "fmr" in told
    assert "7.125" not in told


def test_a_database_out_of_reach(run: Run) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"postgresql://somebody:secret-word@127.0.0.1:{free.getsockname()[1]}/nothing"
        told = run("gates", "list", code=3, DWARPAL_DATABASE_URL=url).stderr
    assert "secret-word" not in told


def test_audit_export_and_verify(run: Run, tmp_path: Path) -> None:
    bundle, forged = tmp_path / "audit.jsonl", tmp_path / "forged.jsonl"
    run("gates", "create", "a", "--purpose", "entry")
    exported = json.loads(run("audit", "export", bundle, "--json").stdout)
    assert exported == {"file": str(bundle), "entries": 1, "vkey": run("audit", "key").stdout.strip()}
    report = json.loads(run("audit", "verify", bundle, "--vkey", exported["vkey"], "--json").stdout)
    assert (report["ok"], report["key_pinned"], report["entries"]) == (True, True, 1)
    forged.write_bytes(bundle.read_bytes().replace(b'"gate":"a"', b'"gate":"b"'))
    assert json.loads(run("audit", "verify", forged, "--json", code=1).stdout)["ok"] is False
    assert not list(tmp_path.glob("*.part"))


def test_an_empty_log_can_be_exported_and_verified(run: Run, tmp_path: Path) -> None:
    run("audit", "export", tmp_path / "audit.jsonl")
    run("audit", "verify", tmp_path / "audit.jsonl")


def test_purge(run: Run) -> None:
    assert json.loads(run("purge", "--json").stdout) == {"templates": 0, "epochs": 0, "nonces": 0}


def test_models(run: Run) -> None:
    cards = json.loads(run("models", "list", "--json").stdout)
    assert {card["task"] for card in cards} == {"embedder", "pad"}
    verified = json.loads(run("models", "verify", "--json").stdout)
    assert verified["ok"] is True
    assert [model["name"] for model in verified["models"]] == [card["name"] for card in cards]


def test_doctor_changes_nothing_and_finds_nothing_wrong(run: Run, tmp_path: Path) -> None:
    report = json.loads(run("doctor", "--json").stdout)
    assert report["ok"] is True
    assert {check["verdict"] for check in report["checks"]} <= {"fine", "warning"}
    assert not (tmp_path / "data").exists()


def test_doctor_finds_a_key_file_that_others_may_read(run: Run, tmp_path: Path) -> None:
    run("gates", "list")
    run("audit", "key")
    run("doctor")
    (tmp_path / "data" / "keys" / "machine.key").chmod(0o644)
    report = json.loads(run("doctor", "--json", code=1).stdout)
    wrong = [check["detail"] for check in report["checks"] if check["verdict"] == "wrong"]
    assert any("machine.key" in detail for detail in wrong)


def test_no_service_at_the_url(run: Run, photograph: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}"
        run("check", photograph, "--gate", "a", "--key", "k", "--url", url, code=3)


def test_serve_says_why_it_does_not_start(tmp_path: Path) -> None:
    for settings, code, words in (
        ({"pad": "no-such-network"}, 3, "no-such-network"),
        ({"pad": ""}, 2, "DWARPAL_WITHOUT_PAD"),
        ({"environment": "production", "clock_file": tmp_path / "clock"}, 2, "DWARPAL_CLOCK_FILE"),
    ):
        done = subprocess.run(
            [*DWARPAL, "serve", "--port", "0"],
            env=environment(tmp_path / "data", **({"without_pad": ""} | settings)),
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        assert (done.returncode, done.stdout) == (code, "")
        assert words in done.stderr.splitlines()[-1]
        assert "Traceback" not in done.stderr


def test_enroll_check_withdraw(run: Run, live: Site, server: Server, photograph: Path, tmp_path: Path) -> None:
    def client(*arguments: str | Path, key: str, code: int = 0, text: str | None = None) -> Result:
        return run(*arguments, code=code, text=text, DWARPAL_URL=server.url, DWARPAL_KEY=live.keys.get(key, key))

    asked = ("enroll", photograph, "--flight", "AI302", "--purpose", "entry", "--purpose", "security")
    shown = client(*asked, "--language", "hi", key="enroller", code=2)
    assert "अपने चेहरे से प्रवेश करें" in shown.stderr
    assert "--i-consent" in shown.stderr
    qr, receipt = tmp_path / "token.png", tmp_path / "receipt.json"
    files = ("--qr", qr, "--receipt", receipt)
    made = json.loads(client(*asked, "--i-consent", *files, "--json", key="enroller").stdout)
    token = made["travel_token"]
    assert qr.read_bytes().startswith(b"\x89PNG")
    assert qr.stat().st_mode & 0o777 == 0o600
    assert json.loads(receipt.read_text()) == made["consent_receipt"]

    at = ("check", photograph, "--gate")
    answer = json.loads(client(*at, "entry-1", "--token", token, "--json", key="entry-1").stdout)
    assert (answer["decision"], answer["reason"]) == ("admit", "matched")
    denied = client(*at, "boarding-1", "--token", token, key="boarding-1", code=1)
    assert denied.stdout.strip() == "deny: purpose_not_consented"
    client(*at, "entry-1", "--token", token, key="security-1", code=2)
    client(*at, "entry-1", "--token", token, key="no-key", code=1)
    notes = tmp_path / "notes.jpg"
    notes.write_text("not a photograph")
    client("check", notes, "--gate", "entry-1", key="entry-1", code=2)

    gone = client("withdraw", "--token", "-", "--receipt", receipt, "--json", key="", text=token + "\n")
    assert json.loads(gone.stdout)["receipt"] == json.loads(receipt.read_text())
    client("withdraw", "--token", token, key="", code=2)
    assert client(*at, "entry-1", "--token", token, key="entry-1", code=1).stdout.strip() == "deny: not_enrolled"


def test_a_device_signs_a_burst(run: Run, live: Site, server: Server, tmp_path: Path, astronaut: Pixels) -> None:
    rng = np.random.default_rng(8)
    frames = []
    for number, pose in enumerate(sway(3, yaw=5, right=0.15)):
        frame = moved_head(astronaut, LANDMARKS, pose)
        frames.append(tmp_path / f"{number}.jpg")
        frames[-1].write_bytes(photograph_jpeg(frame, CameraSettings(shot_noise=0.008), rng))
    token = live.enroll(frames[0].read_bytes()).json()["travel_token"]
    file, gate = tmp_path / "device.pem", "security-1"
    public = json.loads(run("gates", "keygen", file, "--json").stdout)["public_key"]
    admin = live.auth("admin")
    live.client.post(f"/v1/gates/{gate}/device-keys", headers=admin, json={"public_key": public})
    live.client.patch(f"/v1/gates/{gate}", headers=admin, json={"signed_captures": True})
    env = {"DWARPAL_URL": server.url, "DWARPAL_KEY": live.keys[gate]}
    at = ("check", *frames, "--gate", gate, "--token", token)
    try:
        assert run(*at, "--device-key", file, **env).stdout.strip() == "admit: matched"
        run(*at, code=1, **env)
        file.chmod(0o644)
        run(*at, "--device-key", file, code=2, **env)
    finally:
        live.client.patch(f"/v1/gates/{gate}", headers=admin, json={"signed_captures": False})


def test_importing_the_command_line_is_quick_and_light() -> None:
    program = (
        "import sys, services.cli.main; "
        "heavy = {'torch', 'onnxruntime', 'numpy', 'cv2', 'faiss', 'sqlalchemy', 'fastapi'} & set(sys.modules); "
        "sys.exit(f'imported: {sorted(heavy)}' if heavy else 0)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], env=dict(os.environ), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_help_tells_the_exit_codes(run: Run) -> None:
    assert "Exit codes: 0" in run("--help").stdout
