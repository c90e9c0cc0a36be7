"""The witness's commands against a real service."""

from __future__ import annotations

import json
import shutil
import signal
from pathlib import Path

from typer.testing import CliRunner

from services.cli.main import app
from tests.e2e.conftest import Server, dwarpal, environment


def test_a_witness_watches_cosigns_and_notices_a_rollback(own_server: Server, tmp_path: Path) -> None:
    key_file, memory, bundle = tmp_path / "witness.pem", tmp_path / "seen", tmp_path / "audit.jsonl"
    env = environment(tmp_path / "data")
    made = json.loads(dwarpal("witness", "keygen", str(key_file), "--name", "w.example", "--json", env=env))
    own_server.env["DWARPAL_WITNESSES"] = made["vkey"]
    vkey = dwarpal("audit", "key", env=own_server.env).strip()
    second = dwarpal("audit", "key", "--post-quantum", env=own_server.env).strip()
    auditor = json.loads(dwarpal("keys", "create", "--role", "auditor", "--json", env=own_server.env))["key"]
    yesterday = tmp_path / "yesterday"
    shutil.copytree(own_server.data_dir, yesterday)
    own_server.start()

    def watch(code: int = 0, key: str = auditor, name: str = "w.example") -> str:
        options = ["--name", name, "--vkey", vkey, "--key-file", str(key_file), "--memory", str(memory), "--json"]
        called = env | {"DWARPAL_URL": own_server.url, "DWARPAL_KEY": key}
        result = CliRunner().invoke(app, ["witness", "cosign", *options], env=called)
        assert result.exit_code == code, result.output
        return result.output

    assert json.loads(watch()) == {"site": "test.example", "size": 1, "witness": "w.example"}
    dwarpal("keys", "create", "--role", "officer", env=own_server.env)
    assert json.loads(watch())["size"] == 2
    dwarpal("audit", "export", str(bundle), env=own_server.env)
    pins = ["--vkey", vkey, "--pq-vkey", second, "--witness", made["vkey"], "--json"]
    report = json.loads(dwarpal("audit", "verify", str(bundle), *pins, env=env))
    assert report["post_quantum"]
    assert list(report["witnessed"].values()) == [2]

    assert "no_witness" in watch(1, name="stranger.example")
    assert "not_authenticated" in watch(1, key="dwk_nobody")

    assert own_server.signal(signal.SIGTERM) == 0
    shutil.rmtree(own_server.data_dir)
    yesterday.rename(own_server.data_dir)
    own_server.start()
    assert "smaller than what we saw before" in watch(1)
    assert memory.with_name("seen.contradiction").exists()


def test_a_witness_needs_a_service_and_a_private_key_file(tmp_path: Path) -> None:
    key_file = tmp_path / "witness.pem"
    env = environment(tmp_path / "data") | {"DWARPAL_URL": "http://127.0.0.1:9", "DWARPAL_KEY": "k"}
    vkey = dwarpal("audit", "key", env=env).strip()
    dwarpal("witness", "keygen", str(key_file), "--name", "w.example", env=env)
    command = [
        "witness",
        "cosign",
        "--name",
        "w",
        "--vkey",
        vkey,
        "--key-file",
        str(key_file),
        "--memory",
        str(key_file),
    ]
    assert CliRunner().invoke(app, command, env=env).exit_code == 3
    key_file.chmod(0o644)
    assert CliRunner().invoke(app, command, env=env).exit_code == 2
    assert CliRunner().invoke(app, ["witness", "keygen", str(key_file), "--name", "w"], env=env).exit_code == 2
