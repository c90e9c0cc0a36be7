"""Many are forgotten at once: in little memory, without holding up the gates, and with proof of each."""

from __future__ import annotations

from dataclasses import replace

import pytest
from typer.testing import CliRunner

from biometrics.errors import Conflict
from infra.settings import Settings
from services.cli.main import app
from services.purge_benchmark import benchmark_purge

MANY = 4000


@pytest.mark.privacy_row("erased_everywhere")
def test_bulk_expiry_in_bounded_memory_without_stalling_gates(database_url: str) -> None:
    heard: list[tuple[int, int]] = []
    figures = benchmark_purge(
        Settings(),
        templates=MANY,
        database_url=database_url,
        quiet_checks=20,
        progress=lambda done, total: heard.append((done, total)),
    )
    assert (figures.templates, figures.epochs) == (MANY, 4)
    assert figures.nothing_left, figures
    assert heard[-1] == (2 * MANY, 2 * MANY)
    assert sorted(heard) == heard
    assert figures.memory_growth_mib < 32, "4,000 records at once are more"
    gates = figures.gates_beside_the_purge
    assert gates.refused == 0
    # One of many gates waits for a batch or two, some 10 ms. When a purge took the lock again at once it was a second.
    assert gates.checks >= 5
    assert gates.median < 150, gates
    with pytest.raises(Conflict, match="in use"):
        benchmark_purge(Settings(), templates=100, database_url=database_url)
    for left in ({"rows_left": 1}, {"gallery_left": 1}, {"keys_left": 1}, {"log_verifies": False}):
        assert not replace(figures, **left).nothing_left


def test_the_command_says_what_it_measured() -> None:
    shown = CliRunner().invoke(app, ["privacy", "bench", "--templates", "300"])
    assert shown.exit_code == 0, shown.output
    assert "300 templates of 4 epochs erased" in shown.stdout
    assert "Left: 0 rows, 0 in galleries, 0 keys; the log verifies." in shown.stdout
