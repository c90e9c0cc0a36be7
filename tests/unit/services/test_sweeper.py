"""The sweeper outlives its failures and ends when told."""

from __future__ import annotations

from collections.abc import Callable
from threading import Event
from types import SimpleNamespace

import pytest
import structlog

from infra.telemetry import configure_logging
from services.bootstrap import Dwarpal
from services.sweeper import Sweeper

SOON = 10.0
"""Seconds that a test waits for another thread before it gives up."""


def system(purge: Callable[[], None], *, every: float = 0.001) -> Dwarpal:
    """As much of a system as a sweep that fails at its first step needs."""
    return SimpleNamespace(  # type: ignore[return-value]
        retention=SimpleNamespace(purge=purge), settings=SimpleNamespace(purge_interval_seconds=every)
    )


def test_a_failing_sweep_is_told_without_its_words_and_tried_again(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging("INFO")
    sweeps, enough = 0, Event()

    def purge() -> None:
        nonlocal sweeps
        sweeps += 1
        if sweeps >= 3:
            enough.set()
        raise ValueError("canary")

    sweeper = Sweeper(system(purge))
    assert not sweeper.alive()
    sweeper.start()
    assert enough.wait(SOON)
    assert sweeper.alive()
    sweeper.stop()
    assert not sweeper.alive()
    structlog.reset_defaults()
    told = capsys.readouterr().err
    assert told.count("sweep_failed") >= 3
    assert "ValueError" in told
    assert "canary" not in told


def test_what_else_is_to_be_forgotten_is_forgotten_with_each_sweep() -> None:
    forgotten: list[bool] = []

    def purge() -> None:
        raise ValueError

    with pytest.raises(ValueError):
        Sweeper(system(purge), also=lambda: forgotten.append(True)).sweep()
    assert forgotten == [True]


def test_a_sweeper_that_is_stopped_does_not_wait_for_its_interval() -> None:
    sweeper = Sweeper(system(lambda: None, every=3600))
    sweeper.start()
    sweeper.stop()
    assert not sweeper.alive()
