"""The times that a gate's camera states, in our own clock."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Final

from biometrics.errors import Conflict
from liveness.challenge import Refusal

LONGEST_GAP: Final = timedelta(seconds=1)
"""Between two frames of one call; a longer one hides what happened."""


class Pace:
    """How far the camera's clock is from ours, as well as the arrival of its frames tells.

    No frame arrives before it was captured, so the smallest delay ever seen bounds the difference of the clocks, and a
    time converted with it is never earlier than the true one. A video sent faster than it plays makes that bound fall
    from call to call, and its later frames come to lie before the instructions that they answer.
    """

    def __init__(self, window: timedelta) -> None:
        self._window = window
        self._last: datetime | None = None
        self._delay: timedelta | None = None

    def in_our_clock(self, captured: Sequence[datetime], received: datetime) -> list[datetime] | Refusal:
        """Convert the times of one call's frames, or refuse them.

        Raises `Conflict` (code `stale_capture`) if they are farther from ours than the window; nothing is then noted.
        """
        if any(abs(received - time) > self._window for time in captured):
            raise Conflict("The capture's time is too far from ours: capture again.", code="stale_capture")
        times = list(captured) if self._last is None else [self._last, *captured]
        if any(later <= earlier for earlier, later in pairwise(times)):
            return Refusal.FRAMES_OUT_OF_ORDER
        if any(later - earlier > LONGEST_GAP for earlier, later in pairwise(captured)):
            return Refusal.FRAMES_OUT_OF_ORDER
        self._last = captured[-1]
        delay = received - captured[-1]
        self._delay = delay if self._delay is None else min(self._delay, delay)
        return [time + self._delay for time in captured]
