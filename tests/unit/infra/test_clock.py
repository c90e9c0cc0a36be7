"""The clocks: aware UTC, moved only by a file, and never by a broken one."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from biometrics.errors import NotReady
from infra.clock import FileClock, SystemClock, build_clock
from infra.settings import Environment, Settings


def test_system_clock_is_aware_utc() -> None:
    assert SystemClock().now().utcoffset() == timedelta()


def test_file_moves_the_clock(tmp_path: Path) -> None:
    file = tmp_path / "offset"
    file.write_text("90000.5\n")
    clock = FileClock(file)
    assert abs(clock.now() - datetime.now(UTC) - timedelta(seconds=90000.5)) < timedelta(seconds=5)
    file.write_text("")  # a writer that truncated and has not written yet
    assert clock.now() - datetime.now(UTC) > timedelta(hours=24)
    file.write_text("0")
    assert abs(clock.now() - datetime.now(UTC)) < timedelta(seconds=5)


@pytest.mark.parametrize("text", ["tomorrow", "nan", "inf", "1e12", "१२"])
def test_broken_offset_is_refused(tmp_path: Path, text: str) -> None:
    file = tmp_path / "offset"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(NotReady):
        FileClock(file).now()


def test_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(NotReady):
        FileClock(tmp_path / "nothing").now()


def test_settings_choose_the_clock(tmp_path: Path) -> None:
    assert isinstance(build_clock(Settings(clock_file=None)), SystemClock)
    moved = Settings(environment=Environment.DEMO, clock_file=tmp_path / "offset")
    assert isinstance(build_clock(moved), FileClock)
