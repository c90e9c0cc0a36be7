"""The bundles of tests/vectors/audit: an honest log passes, and each way to cheat has its reason and its exit code."""

from __future__ import annotations

import json
import runpy
import subprocess
import sys
from pathlib import Path

import pytest

from infra.audit import audit_verify

VERIFIER = Path(audit_verify.__file__)
VECTORS = Path(__file__).resolve().parents[3] / "vectors" / "audit"
EXPECTED = json.loads((VECTORS / "expected.json").read_text(encoding="utf-8"))
WITHOUT_NETWORK = """
import runpy, socket, sys
def refuse(*args, **kwargs): raise OSError("no network here")
socket.socket.connect = socket.socket.bind = socket.create_connection = socket.getaddrinfo = refuse
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


def verify(name: str, *arguments: str) -> tuple[int, dict]:
    """Run the one file by itself, with nothing of the project on its path, and without network."""
    command = [sys.executable, "-I", "-c", WITHOUT_NETWORK, str(VERIFIER), f"{name}.jsonl", "--json", *arguments]
    done = subprocess.run(command, cwd=VECTORS, capture_output=True, text=True, check=False, timeout=60)
    assert done.stderr == ""
    return done.returncode, json.loads(done.stdout)


@pytest.mark.parametrize("name", EXPECTED["bundles"])
def test_edit_delete_insert_reorder_truncate_fork_each_fail_with_their_reason(name: str) -> None:
    case = EXPECTED["bundles"][name]
    kept = [] if case["against"] is None else ["--old-checkpoint", case["against"]]
    code, report = verify(name, "--vkey", EXPECTED["vkey"], *kept)
    assert sorted({problem["code"] for problem in report["problems"]}) == case["codes"]
    assert code == (1 if case["codes"] else 0)
    assert report["ok"] is (name == "valid")


@pytest.mark.parametrize("name", [name for name, case in EXPECTED["bundles"].items() if case["against"]])
def test_what_only_a_kept_checkpoint_shows(name: str) -> None:
    """Whoever holds the site's key can write another history: that is what a checkpoint kept elsewhere is for."""
    assert verify(name, "--vkey", EXPECTED["vkey"])[0] == 0


def test_a_forger_brings_a_key_along_so_pin_it() -> None:
    code, report = verify("wrong-key")
    assert code == 0
    assert any("NOT PINNED" in warning for warning in report["warnings"])


def test_the_vectors_are_those_that_their_maker_makes(tmp_path: Path) -> None:
    (tmp_path / "make_vectors.py").write_bytes((VECTORS / "make_vectors.py").read_bytes())
    runpy.run_path(str(tmp_path / "make_vectors.py"), run_name="__main__")
    made = {path.name: path.read_bytes() for path in tmp_path.iterdir() if path.is_file()}
    assert made == {path.name: path.read_bytes() for path in VECTORS.iterdir() if path.is_file()}
