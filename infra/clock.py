"""Where the time comes from: the system, or for demonstrations the system plus an offset that a file holds."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta
from pathlib import Path

from biometrics.errors import NotReady
from biometrics.ports import Clock
from infra.settings import Settings

MAX_OFFSET_SECONDS = 10 * 366 * 86400


class SystemClock:
    """The machine's clock."""

    def now(self) -> datetime:
        """Return the time, aware, in UTC."""
        return datetime.now(UTC)


class FileClock:
    """The machine's clock plus the seconds that a file holds, so that a demonstration can live through a day.

    The file is read at every call. An empty file, as another process leaves for a moment while it writes, means the
    offset read last. Settings refuse this clock in production.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._offset = timedelta()

    def now(self) -> datetime:
        """Return the moved time, aware, in UTC; raise `NotReady` if the file holds no number of seconds."""
        try:
            text = self._path.read_text(encoding="ascii").strip()
            if text:
                self._offset = _parse_offset(text)
        except (OSError, ValueError):
            raise NotReady("The clock file cannot be read.", code="clock_unreadable") from None
        return datetime.now(UTC) + self._offset


def _parse_offset(text: str) -> timedelta:
    seconds = float(text)
    if not math.isfinite(seconds) or abs(seconds) > MAX_OFFSET_SECONDS:
        raise ValueError("an offset beyond reason")
    return timedelta(seconds=seconds)


def build_clock(settings: Settings) -> Clock:
    """Return the clock that the settings ask for."""
    return SystemClock() if settings.clock_file is None else FileClock(settings.clock_file)
