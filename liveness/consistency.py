"""Do the frames of one burst or session come from one camera: the same size, the same noise, never twice the same?

What an injected stream tends to get wrong, after the idea of CEN/TS 18099; each finding is a `Cue`. Measured, with the
false alarms: docs/liveness.md. It cannot tell a stream that a virtual camera plays from beginning to end: that is what
signed captures are for. The sensor's fixed pattern is not used: at the strength of common sensors, and with a scene
that stands still, frames of one camera and of two could not be told apart.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from typing import Final

import cv2
import numpy as np

from biometrics.types import FloatArray, Pixels
from liveness.cue import Cue

SAME_FRAME: Final = 0.25
"""Two frames are one when their luma differs by less than this on average, of 255: sensors differ by 0.9 and more."""

NOISE_FACTOR: Final = 1.5
"""By how much the noise may differ within a burst; 1.43 was the most in 359 real bursts."""

LEAST_NOISE: Final = 0.05
"""Below, in levels of luma, compression has left nothing to compare."""

_MEASURED_SIDE: Final = 1024
_COMPARED_SIDE: Final = 512
_LAPLACIAN_DIFFERENCE: Final = np.array([[1, -2, 1], [-2, 4, -2], [1, -2, 1]], np.float32) / 6


def inconsistency(frames: Sequence[Pixels]) -> Cue | None:
    """Return why these frames are not one camera's, or None; one frame is always consistent."""
    if len({frame.shape for frame in frames}) > 1:
        return Cue.RESOLUTION_CHANGED
    lumas = [_luma(frame) for frame in frames]
    if _repeated(lumas):
        return Cue.FRAME_REPEATED
    levels = [max(noise_level(luma), LEAST_NOISE) for luma in lumas]
    return Cue.NOISE_CHANGED if max(levels) > NOISE_FACTOR * min(levels) else None


def repeats(frames: Sequence[Pixels]) -> bool:
    """Say whether two of these frames, all of one size, are the same picture but for a few pixels."""
    return _repeated([_luma(frame) for frame in frames])


def noise_level(luma: Pixels) -> float:
    """Return the mean strength of what smooth surfaces and edges do not explain, in levels of luma.

    With the mask of Immerkaer, "Fast noise variance estimation", 1996. Fine texture counts too; within a burst it is
    the same in all frames.
    """
    residual: FloatArray = np.asarray(cv2.filter2D(luma.astype(np.float32), -1, _LAPLACIAN_DIFFERENCE), np.float32)
    return float(np.abs(residual).mean())


def _luma(frame: Pixels) -> Pixels:
    """Return the luma of the frame's middle, at most `_MEASURED_SIDE` pixels each way, which bounds the work."""
    luma = np.asarray(cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY), np.uint8)
    top, left = (max(0, (side - _MEASURED_SIDE) // 2) for side in luma.shape)
    return np.ascontiguousarray(luma[top : top + _MEASURED_SIDE, left : left + _MEASURED_SIDE])


def _repeated(lumas: Sequence[Pixels]) -> bool:
    return any(_same(one, other) for one, other in combinations(map(_thinned, lumas), 2))


def _thinned(luma: Pixels) -> Pixels:
    return luma[:: -(-luma.shape[0] // _COMPARED_SIDE), :: -(-luma.shape[1] // _COMPARED_SIDE)]


def _same(one: Pixels, other: Pixels) -> bool:
    return float(cv2.absdiff(one, other).mean()) < SAME_FRAME
