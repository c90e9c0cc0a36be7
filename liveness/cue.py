"""How many frames a burst has, and what gave an attack away: counted for the operator, never told to the gate."""

from __future__ import annotations

from enum import StrEnum
from typing import Final

FEWEST_FRAMES: Final = 3
MOST_FRAMES: Final = 8
"""Of a burst."""


class Cue(StrEnum):
    """One reason to suspect an attack."""

    PAD = "pad"
    RESOLUTION_CHANGED = "resolution_changed"
    FRAME_REPEATED = "frame_repeated"
    NOISE_CHANGED = "noise_changed"
    NO_MOTION = "no_motion"
    FACE_CHANGED = "face_changed"
    FLAT_SURFACE = "flat_surface"
