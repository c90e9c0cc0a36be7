"""A clock for drills and rehearsals, which live through days in seconds."""

from __future__ import annotations

from datetime import UTC, datetime


class SimulatedClock:
    """A `Clock` that moves only when it is told to."""

    def __init__(self, time: datetime = datetime(2026, 1, 1, tzinfo=UTC)) -> None:
        self.time = time

    def now(self) -> datetime:
        """Return the time."""
        return self.time
