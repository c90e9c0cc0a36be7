"""The golden bundles: the standalone file, a process of its own that can reach nothing, finds what each one hides."""

import importlib.util
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from infra.audit import audit_verify

VECTORS = Path(__file__).resolve().parents[3] / "vectors" / "audit"
TOLD = json.loads((VECTORS / "cases.json").read_text())
CASES = {case["name"]: case for case in TOLD["cases"]}

RANDOM = re.compile(rb"\\u2014 airport\.example [A-Za-z0-9+/]{3000,}=*\\n")
"""A line of ML-DSA-44, whose signatures are random."""

# Runs a file as `python -I FILE` would, in an interpreter where no socket, process or written file is possible.
WITHOUT_NETWORK = """
import os, runpy, sys
def refuse(event, arguments):
    writing = event == "open" and isinstance(arguments[2], int) and arguments[2] & (os.O_WRONLY | os.O_RDWR)
    outside = event.split(".")[0] in ("socket", "subprocess", "urllib", "http") or event in ("os.system", "os.exec")
    if writing or outside:
        raise PermissionError(f"the verifier tried {event}")
sys.argv = sys.argv[1:]
sys.dont_write_bytecode = True
sys.addaudithook(refuse)
runpy.run_path(sys.argv[0], run_name="__main__")
"""


def run(
    *arguments: str | Path, file: str | Path = audit_verify.__file__, first: str = ""
) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-I", "-c", first + WITHOUT_NETWORK, str(file), *map(str, arguments)]
    return subprocess.run(command, cwd="/", env={}, capture_output=True, text=True, timeout=60, check=False)


def arguments_of(case: dict) -> list[str | Path]:
    arguments = [VECTORS / case["bundle"]] if case["bundle"] else []
    arguments += ["--vkey", case.get("vkey", TOLD["vkey"])]
    for option in ("receipt", "old_checkpoint", "witness", "pq_vkey"):
        given = case.get(option, [])
        for value in given if isinstance(given, list) else [given]:
            is_file = option in ("receipt", "old_checkpoint")
            arguments += [f"--{option.replace('_', '-')}", VECTORS / value if is_file else value]
    return arguments


@pytest.mark.parametrize("name", CASES)
@pytest.mark.privacy_row("log_cannot_be_rewritten")
@pytest.mark.privacy_row("log_verified_offline")
def test_each_bundle_is_what_its_name_says(name: str) -> None:
    case = CASES[name]
    done = run(*arguments_of(case))
    assert (done.returncode, done.stderr) == (case["exit"], ""), done.stdout
    reasons = [line.split()[1].rstrip(":") for line in done.stdout.splitlines() if line.startswith("FAILED: ")]
    if case["reason"] is None:
        assert reasons == []
        assert done.stdout.endswith("\nVERIFIED\n")
    else:
        assert case["reason"] in reasons
        assert done.stdout.endswith("\nNOT VERIFIED\n")


def test_every_way_to_cheat_has_its_bundle() -> None:
    cheats = {"edit", "delete", "insert", "reorder", "truncate", "fork", "wrong-key", "late-deletion", "purge-gap"}
    cheats |= {"decision-after-expiry", "flipped bit in a receipt"}
    assert cheats < CASES.keys()
    alone = {name for name, case in CASES.items() if not case["bundle"] or "alone" in name}
    good = {name for name, case in CASES.items() if case["exit"] == 0} - alone
    assert good == {"valid", "witnessed", "post-quantum", "by-hand"} | {
        f"rotated, pinned to the {which} key" for which in ("first", "second", "last")
    }
    named = {str(part) for case in CASES.values() for part in arguments_of(case) if isinstance(part, Path)}
    assert {Path(name).name for name in named} == {
        path.name for path in VECTORS.iterdir() if path.suffix not in (".py", "")
    } - {"cases.json"}


def test_each_bundle_fails_for_its_own_reason_alone() -> None:
    """A forged file may break the story it tells as well; what was signed is wrong in exactly one way."""
    one_by_one = ("purge-gap", "key-gap", "decision-after-expiry", "postdated", "post-quantum-stripped")
    for name in (
        *one_by_one,
        "late-deletion",
        "decision-after-deletion",
        "deleted-twice",
        "never-enrolled",
        "kept-too-long",
    ):
        said = json.loads(run(*arguments_of(CASES[name]), "--json").stdout)
        assert {problem["code"] for problem in said["problems"]} == {CASES[name]["reason"]}


def test_the_vectors_are_those_that_the_code_makes(tmp_path: Path) -> None:
    spec = importlib.util.spec_from_file_location("make_audit_vectors", VECTORS / "make_vectors.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    try:
        spec.loader.exec_module(module)
        module.make(tmp_path)
    finally:
        del sys.modules[spec.name]
    made, kept = (
        {path.name: RANDOM.sub(b"", (folder / path.name).read_bytes()).splitlines() for path in tmp_path.iterdir()}
        for folder in (tmp_path, VECTORS)
    )
    assert made == kept


@pytest.mark.privacy_row("log_verified_offline")
def test_the_network_is_really_off(tmp_path: Path) -> None:
    deeds = {
        "net": "import socket; socket.socket()",
        "write": "open('/dev/null', 'w')",
        "run": "import os; os.system('true')",
    }
    for name, deed in deeds.items():
        file = tmp_path / f"{name}.py"
        file.write_text(deed)
        done = run(file=file)
        assert done.returncode == 1
        assert "the verifier tried" in done.stderr


def test_without_a_bundle_a_key_and_something_to_verify_are_needed() -> None:
    receipt = VECTORS / "valid.receipt.json"
    for arguments in ([], ["--vkey", TOLD["vkey"]], ["--receipt", receipt]):
        done = run(*arguments)
        assert (done.returncode, done.stdout) == (2, "")
    assert run("--vkey", "nonsense", "--receipt", receipt).returncode == 2
    assert run("--vkey", TOLD["vkey"], "--receipt", VECTORS / "missing").returncode == 2
    other = json.loads((VECTORS / "wrong-key.jsonl").read_text().splitlines()[0])["vkey"]
    assert run("--vkey", other, "--receipt", receipt).returncode == 1


def test_every_reason_is_in_the_documentation() -> None:
    source = Path(audit_verify.__file__).read_text()
    reasons = set(re.findall(r"fail\(\s*\"([a-z_]+)\"", source))
    page = (VECTORS.parents[2] / "docs" / "audit-log.md").read_text()
    assert len(reasons) > 25
    assert {reason for reason in reasons if f"`{reason}`" not in page} == set()


def test_an_older_library_verifies_all_but_ml_dsa_and_says_so() -> None:
    older = "import sys; sys.modules['cryptography.hazmat.primitives.asymmetric.mldsa'] = None"
    case = CASES["post-quantum"]
    bundle, pins = VECTORS / case["bundle"], ["--vkey", TOLD["vkey"]]
    done = run(bundle, *pins, first=older)
    assert done.returncode == 0
    assert "the ML-DSA-44 signatures were not checked" in done.stdout
    asked = run(bundle, *pins, "--pq-vkey", case["pq_vkey"], first=older)
    assert (asked.returncode, asked.stdout) == (2, "")
    assert "cannot verify ML-DSA-44" in asked.stderr
