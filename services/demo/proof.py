"""What an auditor does: takes the exported log elsewhere and verifies it with one file, apart from the service."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from time import perf_counter

from pydantic import JsonValue, TypeAdapter

REPORT = TypeAdapter(dict[str, JsonValue])


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the verifier said: its report, its exit code, and the milliseconds it took."""

    report: dict[str, JsonValue]
    exit_code: int
    milliseconds: float

    @property
    def words(self) -> str:
        """The verdict in a word."""
        return {0: "verified", 1: "not verified"}.get(self.exit_code, "unreadable")


def verify_apart(bundle: Path, *, vkey: str, receipts: Sequence[Path] = ()) -> Verdict:
    """Run the standalone verifier in an isolated process that imports nothing of this project."""
    spec = find_spec("infra.audit.audit_verify")
    assert spec is not None  # noqa: S101 - it is part of this package
    assert spec.origin is not None  # noqa: S101 - it is a file
    arguments = [str(bundle), "--vkey", vkey, "--json"]
    for receipt in receipts:
        arguments += ["--receipt", str(receipt)]
    started = perf_counter()
    done = subprocess.run(  # noqa: S603 - our own interpreter and file
        [sys.executable, "-I", spec.origin, *arguments], capture_output=True, check=False
    )
    milliseconds = (perf_counter() - started) * 1000
    return Verdict(REPORT.validate_json(done.stdout or b"{}"), done.returncode, milliseconds)


def write_receipt(path: Path, receipt: dict[str, JsonValue]) -> Path:
    """Keep a receipt as the traveller would."""
    path.write_text(json.dumps(receipt), encoding="utf-8")
    return path


def with_a_changed_decision(bundle: Path) -> Path:
    """Write a copy of the log in which one denial became an admission."""
    forged = bundle.with_suffix(".forged")
    forged.write_bytes(bundle.read_bytes().replace(b'"decision":"deny"', b'"decision":"admit"', 1))
    return forged
