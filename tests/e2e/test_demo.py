"""The demonstration keeps what it promises."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from time import monotonic

from tests.e2e.conftest import DWARPAL

SECONDS = 60


def test_demo_shows_every_outcome_it_promises_within_a_minute(tmp_path: Path) -> None:
    picture, started = tmp_path / "demo.svg", monotonic()
    done = subprocess.run(
        [*DWARPAL, "demo", "--json", "--save-svg", str(picture)],
        env=os.environ | {"TMPDIR": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
        timeout=4 * SECONDS,
    )
    seconds = monotonic() - started
    shown = json.loads(done.stdout)
    assert [step for step in shown["steps"] if not step["ok"]] == []
    assert done.returncode == 0
    assert shown["ok"] is True
    assert len(shown["steps"]) >= 30
    assert seconds < SECONDS
    assert picture.read_text(encoding="utf-8").startswith("<svg")
    assert list(tmp_path.iterdir()) == [picture], "the demo left something behind"
